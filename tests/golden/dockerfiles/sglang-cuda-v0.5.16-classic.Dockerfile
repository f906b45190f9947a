FROM lmsysorg/sglang:v0.5.16@sha256:7b6a35df9839fd593a94a1eaee82d7777f472225d9f3ad1f8a2e0cb2bd1785d0
# Some of these images run as another user by default.
USER 0:0
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN groupadd --system --force render && groupadd --system --force video && \
    useradd --create-home --uid 10001 --groups render,video serving && \
    chgrp 0 /home/serving && \
    chmod 0770 /home/serving && \
    { find / -xdev -type d -path "*/flashinfer_cubin/cubins*" -exec chgrp 0 {} + -exec chmod g+w {} + ; }
COPY entrypoint.sh check.sh /opt/xpukit/
ENV HOME=/home/serving \
    HF_HOME=/home/serving/.cache/huggingface \
    XPUKIT_ENVIRONMENT=loaded \
    XPUKIT_EXPECTED_VERSION=0.5.16 \
    XPUKIT_PORT=30000
LABEL org.opencontainers.image.title="sglang-cuda" \
      org.opencontainers.image.description="SGLang on NVIDIA GPUs: upstream's image with a known start, health check and user" \
      org.opencontainers.image.version="1" \
      org.opencontainers.image.source="xpukit recipe sglang-cuda" \
      org.opencontainers.image.revision="test" \
      org.opencontainers.image.base.name="lmsysorg/sglang:v0.5.16@sha256:7b6a35df9839fd593a94a1eaee82d7777f472225d9f3ad1f8a2e0cb2bd1785d0" \
      io.xpukit.recipe="sglang-cuda/v0.5.16" \
      io.xpukit.settings="{\"base_image\":\"lmsysorg/sglang:v0.5.16@sha256:7b6a35df9839fd593a94a1eaee82d7777f472225d9f3ad1f8a2e0cb2bd1785d0\",\"engine_version\":\"0.5.16\",\"port\":30000,\"start_period_s\":900}" \
      io.xpukit.engine="sglang" \
      io.xpukit.engine-version="0.5.16" \
      io.xpukit.era="plain"
EXPOSE 30000
USER 10001:0
WORKDIR /home/serving
HEALTHCHECK --interval=10s --timeout=5s --start-period=900s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['XPUKIT_PORT'] + '/health', timeout=4)"]
ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]

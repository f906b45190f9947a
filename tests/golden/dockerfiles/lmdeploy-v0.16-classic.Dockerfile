FROM openmmlab/lmdeploy:v0.16.0-cu12.8@sha256:0fd7426f76331c3bed844db290ba838a01f3b2e00dcb254a6de83a86c0649576
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
    XPUKIT_EXPECTED_VERSION=0.16.0 \
    XPUKIT_PORT=23333
LABEL org.opencontainers.image.title="lmdeploy" \
      org.opencontainers.image.description="LMDeploy on NVIDIA GPUs: upstream's CUDA 12.8 image with a known start, health check and user" \
      org.opencontainers.image.version="1" \
      org.opencontainers.image.source="xpukit recipe lmdeploy" \
      org.opencontainers.image.revision="test" \
      org.opencontainers.image.base.name="openmmlab/lmdeploy:v0.16.0-cu12.8@sha256:0fd7426f76331c3bed844db290ba838a01f3b2e00dcb254a6de83a86c0649576" \
      io.xpukit.recipe="lmdeploy/v0.16" \
      io.xpukit.settings="{\"base_image\":\"openmmlab/lmdeploy:v0.16.0-cu12.8@sha256:0fd7426f76331c3bed844db290ba838a01f3b2e00dcb254a6de83a86c0649576\",\"engine_version\":\"0.16.0\",\"port\":23333,\"start_period_s\":900}" \
      io.xpukit.engine="lmdeploy" \
      io.xpukit.engine-version="0.16.0" \
      io.xpukit.era="plain"
EXPOSE 23333
USER 10001:0
WORKDIR /home/serving
HEALTHCHECK --interval=10s --timeout=5s --start-period=900s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['XPUKIT_PORT'] + '/health', timeout=4)"]
ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]

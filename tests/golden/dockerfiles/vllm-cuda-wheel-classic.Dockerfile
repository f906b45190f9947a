FROM nvidia/cuda:13.0.2-devel-ubuntu22.04 AS python
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# hadolint ignore=DL3008
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      python3 \
      python3-venv && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb
RUN python3 -m venv /opt/venv && \
    /opt/venv/bin/python -m pip install --disable-pip-version-check --no-compile --no-cache-dir \
      vllm==0.21.0

FROM nvidia/cuda:13.0.2-devel-ubuntu22.04 AS runtime
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Kernels are compiled when the engine starts: that needs Python's headers and a compiler.
# hadolint ignore=DL3008
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      gcc \
      libc6-dev \
      numactl \
      python3 \
      python3-dev && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb
COPY --from=python /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:${PATH}
RUN groupadd --system --force render && groupadd --system --force video && \
    useradd --create-home --uid 10001 --groups render,video serving && \
    chgrp 0 /home/serving && \
    chmod 0770 /home/serving && \
    { find / -xdev -type d -path "*/flashinfer_cubin/cubins*" -exec chgrp 0 {} + -exec chmod g+w {} + ; }
COPY entrypoint.sh check.sh /opt/xpukit/
ENV HOME=/home/serving \
    HF_HOME=/home/serving/.cache/huggingface \
    XPUKIT_ENVIRONMENT=loaded \
    XPUKIT_EXPECTED_VERSION=0.21.0 \
    XPUKIT_PORT=8000
LABEL org.opencontainers.image.title="vllm-cuda" \
      org.opencontainers.image.description="vLLM on NVIDIA GPUs: upstream's image, or its wheel on a CUDA base, with a known start, health check and user" \
      org.opencontainers.image.version="1" \
      org.opencontainers.image.source="xpukit recipe vllm-cuda" \
      org.opencontainers.image.revision="test" \
      org.opencontainers.image.base.name="nvidia/cuda:13.0.2-devel-ubuntu22.04" \
      io.xpukit.recipe="vllm-cuda/wheel" \
      io.xpukit.settings="{\"base_image\":\"nvidia/cuda:13.0.2-devel-ubuntu22.04\",\"engine_version\":\"0.21.0\",\"install\":\"wheel\",\"port\":8000,\"start_period_s\":900,\"wheels\":[]}" \
      io.xpukit.engine="vllm" \
      io.xpukit.engine-version="0.21.0" \
      io.xpukit.era="plain"
EXPOSE 8000
USER 10001:0
WORKDIR /home/serving
HEALTHCHECK --interval=10s --timeout=5s --start-period=900s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['XPUKIT_PORT'] + '/health', timeout=4)"]
ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]

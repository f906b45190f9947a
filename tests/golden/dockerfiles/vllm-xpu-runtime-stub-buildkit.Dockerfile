FROM debian:12-slim@sha256:abd67ffcfa541b485a3dff59865ab629aa048a6c613e639d36e7456b0b229241 AS builder
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean && \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      python3 \
      python3-pip \
      python3-setuptools \
      python3-wheel
COPY stub /src/stub
RUN python3 -m pip wheel --disable-pip-version-check --no-cache-dir --no-deps --no-index --no-build-isolation \
      --wheel-dir /wheels /src/stub

FROM debian:12-slim@sha256:abd67ffcfa541b485a3dff59865ab629aa048a6c613e639d36e7456b0b229241 AS runtime
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean && \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      clinfo \
      intel-opencl-icd \
      libze1 \
      numactl \
      ocl-icd-libopencl1 \
      pciutils \
      python3 \
      python3-venv
RUN groupadd --system --force render && groupadd --system --force video && \
    useradd --create-home --uid 10001 --groups render,video serving
RUN --mount=type=bind,from=builder,source=/wheels,target=/wheels \
    python3 -m venv /opt/venv && \
    /opt/venv/bin/pip install --disable-pip-version-check --no-cache-dir --no-compile --no-index --find-links /wheels \
      /wheels/stub_vllm-*.whl
COPY environment.sh entrypoint.sh healthcheck.py xpukit_environment.py checks.sh check.sh shim.sh store-environment.sh /opt/xpukit/
RUN mkdir -p /opt/xpukit/bin && \
    for program in vllm python3 python pip numactl clinfo; do ln -s ../shim.sh "/opt/xpukit/bin/$program"; done && \
    site=$(/opt/venv/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
    ln -s /opt/xpukit/xpukit_environment.py "$site/xpukit_environment.py" && \
    echo 'import xpukit_environment' >"$site/xpukit_environment.pth" && \
    /opt/xpukit/store-environment.sh /opt/xpukit/oneapi.sh /etc/ld.so.conf.d/xpukit.conf && \
    ldconfig
RUN ln -s /opt/xpukit/environment.sh /etc/profile.d/xpukit.sh && \
    echo '. /opt/xpukit/environment.sh' >>/etc/bash.bashrc
ENV PATH=/opt/xpukit/bin:/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    BASH_ENV=/opt/xpukit/environment.sh \
    XPUKIT_PORT=8000
LABEL org.opencontainers.image.title="vllm-xpu" \
      org.opencontainers.image.description="vLLM for Intel GPUs: wheels made with oneAPI's compilers, a runtime that holds only what they need" \
      org.opencontainers.image.version="1" \
      org.opencontainers.image.source="xpukit recipe vllm-xpu" \
      org.opencontainers.image.revision="test" \
      org.opencontainers.image.base.name="debian:12-slim@sha256:abd67ffcfa541b485a3dff59865ab629aa048a6c613e639d36e7456b0b229241" \
      io.xpukit.recipe="vllm-xpu/runtime-stub" \
      io.xpukit.settings="{\"base_digest\":\"\",\"base_image\":\"debian:12-slim@sha256:abd67ffcfa541b485a3dff59865ab629aa048a6c613e639d36e7456b0b229241\",\"bigdl_core\":\"2.4.0b2\",\"builder\":\"stub\",\"builder_image\":\"intel/omix:0.1.0-devel-ubuntu24.04\",\"custom_kernels\":true,\"driver\":\"base\",\"era\":\"venv\",\"git_host\":\"https://github.com\",\"jobs\":4,\"kernel_targets\":\"bmg-g21\",\"kernels_commit\":\"a6929869587fa6c40dbe393eedc96eeab076bfbb\",\"llm_scaler_commit\":\"023e157fd0ee69ee305edf506c4eabd12967a393\",\"llm_scaler_patches\":true,\"oneccl\":\"none\",\"packages\":[\"clinfo\",\"intel-opencl-icd\",\"libze1\",\"numactl\",\"ocl-icd-libopencl1\",\"pciutils\",\"python3\",\"python3-venv\"],\"port\":8000,\"rust_extensions\":true,\"rust_image\":\"ubuntu:22.04@sha256:3b06811b2afd352be909dd088a004166d665dc76d38b13eada33522a9d915c6f\",\"sym_int4\":false,\"tool_image\":\"ubuntu:24.04@sha256:69cecf4bbf72d2d44a9eef1b71fb98c7fb973d78af11399deccef19beb008ad9\",\"torch\":\"2.12.0+xpu\",\"torch_index\":\"https://download.pytorch.org/whl/xpu\",\"triton\":\"3.7.1\",\"vllm\":\"0.26.0\",\"vllm_commit\":\"\",\"wheels\":[]}" \
      io.xpukit.engine="vllm" \
      io.xpukit.engine-version="0.26.0" \
      io.xpukit.era="venv"
EXPOSE 8000
# serving, by number: what starts the container need not know the name.
USER 10001
WORKDIR /home/serving
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/usr/bin/python3", "/opt/xpukit/healthcheck.py"]
ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]
CMD []

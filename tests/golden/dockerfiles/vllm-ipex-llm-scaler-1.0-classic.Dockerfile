FROM intel/deep-learning-essentials:2025.0.2-0-devel-ubuntu24.04 AS builder
ENV PATH=/opt/build/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    VLLM_TARGET_DEVICE=xpu \
    VLLM_VERSION_OVERRIDE=0.9.0 \
    MAX_JOBS=4
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# hadolint ignore=DL3008
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      build-essential \
      ca-certificates \
      cmake \
      git \
      libaio-dev \
      libfabric-dev \
      ninja-build \
      numactl \
      python3-dev \
      python3-pip \
      python3-venv && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb
RUN git clone --quiet --filter=blob:none --no-checkout "https://github.com/vllm-project/vllm" /src/vllm && \
    git -C /src/vllm checkout --quiet --detach v0.9.0 && \
    git clone --quiet --filter=blob:none --no-checkout "https://github.com/intel/llm-scaler" /src/patches && \
    git -C /src/patches checkout --quiet --detach 2d056a5742af2c983cdaf5000aebf12813c48a8a && \
    git -C /src/patches rev-parse HEAD | grep '^2d056a5742af2c983cdaf5000aebf12813c48a8a' && \
    git clone --quiet --filter=blob:none --no-checkout "https://github.com/oneapi-src/oneCCL" /src/oneCCL && \
    git -C /src/oneCCL checkout --quiet --detach def870543749186b6f38cdc865b44d52174c7492 && \
    git -C /src/oneCCL rev-parse HEAD | grep '^def870543749186b6f38cdc865b44d52174c7492' && \
    git -C /src/vllm apply /src/patches/vllm/patches/vllm_for_multi_arc.patch && \
    git -C /src/oneCCL apply /src/patches/vllm/patches/0001-oneccl-align-global-V0.1.1.patch && \
    mkdir -p /wheels
# hadolint ignore=SC1091
RUN . /opt/intel/oneapi/setvars.sh --force >/dev/null && \
    cmake -S /src/oneCCL -B /build/oneCCL -G Ninja -D CMAKE_BUILD_TYPE=MinSizeRel -D COMPUTE_BACKEND=dpcpp \
      -D CMAKE_C_COMPILER=icx -D CMAKE_CXX_COMPILER=icpx -D CMAKE_CXX_FLAGS=-fsycl \
      -D CCL_ENABLE_ARCB=1 \
      -D CMAKE_INSTALL_PREFIX=/opt/oneccl && \
    cmake --build /build/oneCCL --parallel 4 --target install
# hadolint ignore=SC1091
RUN . /opt/intel/oneapi/setvars.sh --force >/dev/null && \
    python3 -m venv /opt/build && \
    pip install --disable-pip-version-check --no-cache-dir --extra-index-url https://download.pytorch.org/whl/xpu --extra-index-url https://pytorch-extension.intel.com/release-whl/stable/xpu/us/ setuptools==78.1.0 setuptools-scm==8.2.0 && \
    pip install --disable-pip-version-check --no-cache-dir --extra-index-url https://download.pytorch.org/whl/xpu --extra-index-url https://pytorch-extension.intel.com/release-whl/stable/xpu/us/ -r /src/vllm/requirements/xpu.txt && \
    pip wheel --disable-pip-version-check --no-cache-dir --extra-index-url https://download.pytorch.org/whl/xpu --extra-index-url https://pytorch-extension.intel.com/release-whl/stable/xpu/us/ --no-build-isolation --no-deps --wheel-dir /wheels /src/vllm
# All that they need, so that the runtime needs no network.
RUN pip wheel --disable-pip-version-check --no-cache-dir --extra-index-url https://download.pytorch.org/whl/xpu --extra-index-url https://pytorch-extension.intel.com/release-whl/stable/xpu/us/ --find-links /wheels --wheel-dir /wheels \
      /wheels/vllm-*.whl

# Without mounts the wheels would stay in a layer: they are installed in a stage whose result alone is copied.
FROM intel/deep-learning-essentials:2025.0.2-0-devel-ubuntu24.04 AS venv
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      python3 \
      python3-venv && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb
COPY --from=builder /wheels /wheels
RUN python3 -m venv /opt/venv && \
    /opt/venv/bin/pip install --disable-pip-version-check --no-cache-dir --no-compile --no-index --find-links /wheels \
      /wheels/vllm-*.whl && \
    /opt/venv/bin/pip uninstall --disable-pip-version-check --yes oneccl oneccl-devel

FROM intel/deep-learning-essentials:2025.0.2-0-devel-ubuntu24.04 AS runtime
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      ffmpeg \
      g++ \
      libgl1 \
      libsndfile1 \
      numactl \
      python3 \
      python3-dev \
      python3-venv && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb
RUN groupadd --system --force render && groupadd --system --force video && \
    useradd --create-home --uid 10001 --groups render,video serving
COPY --from=builder /opt/oneccl /opt/oneccl
COPY --from=venv /opt/venv /opt/venv
COPY environment.sh entrypoint.sh healthcheck.py xpukit_environment.py checks.sh check.sh shim.sh store-environment.sh /opt/xpukit/
RUN mkdir -p /opt/xpukit/bin && \
    for program in vllm python3 python pip numactl torchrun; do ln -s ../shim.sh "/opt/xpukit/bin/$program"; done && \
    site=$(/opt/venv/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
    ln -s /opt/xpukit/xpukit_environment.py "$site/xpukit_environment.py" && \
    echo 'import xpukit_environment' >"$site/xpukit_environment.pth" && \
    /opt/xpukit/store-environment.sh /opt/xpukit/oneapi.sh /etc/ld.so.conf.d/xpukit.conf && \
    ldconfig
RUN ln -s /opt/xpukit/environment.sh /etc/profile.d/xpukit.sh && \
    echo '. /opt/xpukit/environment.sh' >>/etc/bash.bashrc
# The oneCCL compiled above before the base image's, in every way of starting.
RUN echo "export LD_LIBRARY_PATH=/opt/oneccl/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" >>/opt/xpukit/oneapi.sh && \
    echo /opt/oneccl/lib >/etc/ld.so.conf.d/oneccl.conf && \
    ldconfig
ENV PATH=/opt/xpukit/bin:/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    BASH_ENV=/opt/xpukit/environment.sh \
    XPUKIT_PORT=8000 \
    VLLM_TARGET_DEVICE=xpu \
    VLLM_WORKER_MULTIPROC_METHOD=spawn \
    VLLM_RPC_TIMEOUT=100000
LABEL org.opencontainers.image.title="vllm-ipex" \
      org.opencontainers.image.description="vLLM of the generation that runs through Intel's extension for PyTorch (IPEX)" \
      org.opencontainers.image.version="1" \
      org.opencontainers.image.source="xpukit recipe vllm-ipex" \
      org.opencontainers.image.revision="test" \
      org.opencontainers.image.base.name="intel/deep-learning-essentials:2025.0.2-0-devel-ubuntu24.04" \
      io.xpukit.recipe="vllm-ipex/llm-scaler-1.0" \
      io.xpukit.settings="{\"base_digest\":\"\",\"base_image\":\"intel/deep-learning-essentials:2025.0.2-0-devel-ubuntu24.04\",\"builder_image\":\"intel/deep-learning-essentials:2025.0.2-0-devel-ubuntu24.04\",\"driver\":\"base\",\"era\":\"setvars\",\"git_host\":\"https://github.com\",\"ipex\":\"\",\"ipex_index\":\"https://pytorch-extension.intel.com/release-whl/stable/xpu/us/\",\"jobs\":4,\"oneccl_commit\":\"def870543749186b6f38cdc865b44d52174c7492\",\"oneccl_patch\":\"vllm/patches/0001-oneccl-align-global-V0.1.1.patch\",\"oneccl_repository\":\"oneapi-src/oneCCL\",\"packages\":[\"ffmpeg\",\"g++\",\"libgl1\",\"libsndfile1\",\"numactl\",\"python3\",\"python3-dev\",\"python3-venv\"],\"patch_commit\":\"2d056a5742af2c983cdaf5000aebf12813c48a8a\",\"patch_folder\":\"vllm/patches\",\"patch_repository\":\"intel/llm-scaler\",\"port\":8000,\"tool_image\":\"ubuntu:24.04@sha256:69cecf4bbf72d2d44a9eef1b71fb98c7fb973d78af11399deccef19beb008ad9\",\"torch_ccl\":\"\",\"torch_index\":\"https://download.pytorch.org/whl/xpu\",\"vllm\":\"0.9.0\",\"vllm_commit\":\"\",\"wheels\":[]}" \
      io.xpukit.engine="vllm" \
      io.xpukit.engine-version="0.9.0" \
      io.xpukit.era="setvars"
EXPOSE 8000
# serving, by number: what starts the container need not know the name.
USER 10001
WORKDIR /home/serving
HEALTHCHECK --interval=10s --timeout=5s --start-period=30m --retries=3 CMD ["/usr/bin/python3", "/opt/xpukit/healthcheck.py"]
ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]
CMD ["--help"]

FROM ubuntu:24.04@sha256:69cecf4bbf72d2d44a9eef1b71fb98c7fb973d78af11399deccef19beb008ad9 AS fetched
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# hadolint ignore=DL3008
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      curl && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb
WORKDIR /fetched
RUN curl -fsSL --retry 3 -o /fetched/intel-igc-core-2_2.5.6+18417_amd64.deb "https://github.com/intel/intel-graphics-compiler/releases/download/v2.5.6/intel-igc-core-2_2.5.6+18417_amd64.deb" && \
    echo "unknown-checksum  /fetched/intel-igc-core-2_2.5.6+18417_amd64.deb" | sha256sum -c -
RUN curl -fsSL --retry 3 -o /fetched/intel-igc-opencl-2_2.5.6+18417_amd64.deb "https://github.com/intel/intel-graphics-compiler/releases/download/v2.5.6/intel-igc-opencl-2_2.5.6+18417_amd64.deb" && \
    echo "unknown-checksum  /fetched/intel-igc-opencl-2_2.5.6+18417_amd64.deb" | sha256sum -c -
RUN curl -fsSL --retry 3 -o /fetched/intel-level-zero-gpu_1.6.32224.5_amd64.deb "https://github.com/intel/compute-runtime/releases/download/24.52.32224.5/intel-level-zero-gpu_1.6.32224.5_amd64.deb" && \
    echo "unknown-checksum  /fetched/intel-level-zero-gpu_1.6.32224.5_amd64.deb" | sha256sum -c -
RUN curl -fsSL --retry 3 -o /fetched/intel-opencl-icd_24.52.32224.5_amd64.deb "https://github.com/intel/compute-runtime/releases/download/24.52.32224.5/intel-opencl-icd_24.52.32224.5_amd64.deb" && \
    echo "unknown-checksum  /fetched/intel-opencl-icd_24.52.32224.5_amd64.deb" | sha256sum -c -
RUN curl -fsSL --retry 3 -o /fetched/libigdgmm12_22.5.5_amd64.deb "https://github.com/intel/compute-runtime/releases/download/24.52.32224.5/libigdgmm12_22.5.5_amd64.deb" && \
    echo "unknown-checksum  /fetched/libigdgmm12_22.5.5_amd64.deb" | sha256sum -c -

FROM intel/oneapi-basekit:2025.0.1-0-devel-ubuntu22.04 AS builder
ENV PATH=/opt/build/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    VLLM_TARGET_DEVICE=xpu \
    VLLM_VERSION_OVERRIDE=0.8.3 \
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
    git -C /src/vllm checkout --quiet --detach v0.8.3 && \
    git clone --quiet --filter=blob:none --no-checkout "https://github.com/intel/ipex-llm" /src/patches && \
    git -C /src/patches checkout --quiet --detach c9a146cb9d178146931c56c29f98f183a54f1d50 && \
    git -C /src/patches rev-parse HEAD | grep '^c9a146cb9d178146931c56c29f98f183a54f1d50' && \
    git clone --quiet --filter=blob:none --no-checkout "https://github.com/analytics-zoo/oneCCL" /src/oneCCL && \
    git -C /src/oneCCL checkout --quiet --detach 3afa1bb7936f57683a2503c34b29c0daca6a9ccb && \
    git -C /src/oneCCL rev-parse HEAD | grep '^3afa1bb7936f57683a2503c34b29c0daca6a9ccb' && \
    git -C /src/vllm apply /src/patches/docker/llm/serving/xpu/docker/vllm_for_multi_arc.patch && \
    git -C /src/oneCCL apply /src/patches/docker/llm/serving/xpu/docker/1ccl_for_multi_arc.patch && \
    mkdir -p /wheels
# hadolint ignore=SC1091
RUN . /opt/intel/oneapi/setvars.sh --force >/dev/null && \
    cmake -S /src/oneCCL -B /build/oneCCL -G Ninja -D CMAKE_BUILD_TYPE=MinSizeRel -D COMPUTE_BACKEND=dpcpp \
      -D CMAKE_C_COMPILER=icx -D CMAKE_CXX_COMPILER=icpx -D CMAKE_CXX_FLAGS=-fsycl \
      -D CMAKE_INSTALL_PREFIX=/opt/oneccl && \
    cmake --build /build/oneCCL --parallel 4 --target install
# hadolint ignore=SC1091
RUN . /opt/intel/oneapi/setvars.sh --force >/dev/null && \
    python3 -m venv /opt/build && \
    pip install --disable-pip-version-check --no-cache-dir --extra-index-url https://download.pytorch.org/whl/xpu --extra-index-url https://pytorch-extension.intel.com/release-whl/stable/xpu/us/ setuptools==78.1.0 setuptools-scm==8.2.0 && \
    pip install --disable-pip-version-check --no-cache-dir --extra-index-url https://download.pytorch.org/whl/xpu --extra-index-url https://pytorch-extension.intel.com/release-whl/stable/xpu/us/ -r /src/vllm/requirements/xpu.txt && \
    pip wheel --disable-pip-version-check --no-cache-dir --extra-index-url https://download.pytorch.org/whl/xpu --extra-index-url https://pytorch-extension.intel.com/release-whl/stable/xpu/us/ --no-build-isolation --no-deps --wheel-dir /wheels /src/vllm
# hadolint ignore=SC1091
RUN . /opt/intel/oneapi/setvars.sh --force >/dev/null && \
    git clone --quiet --filter=blob:none --no-checkout "https://github.com/intel/torch-ccl" /src/torch-ccl && \
    git -C /src/torch-ccl checkout --quiet --detach ccl_torch2.6.0+xpu && \
    git -C /src/torch-ccl submodule update --quiet --init --recursive --depth 1 && \
    USE_SYSTEM_ONECCL=ON COMPUTE_BACKEND=dpcpp pip wheel --disable-pip-version-check --no-cache-dir --extra-index-url https://download.pytorch.org/whl/xpu --extra-index-url https://pytorch-extension.intel.com/release-whl/stable/xpu/us/ --no-build-isolation --no-deps \
      --wheel-dir /wheels /src/torch-ccl
# All that they need, so that the runtime needs no network.
RUN pip wheel --disable-pip-version-check --no-cache-dir --extra-index-url https://download.pytorch.org/whl/xpu --extra-index-url https://pytorch-extension.intel.com/release-whl/stable/xpu/us/ --find-links /wheels --wheel-dir /wheels \
      /wheels/vllm-*.whl \
      intel-extension-for-pytorch==2.6.10+xpu

# Without mounts the wheels would stay in a layer: they are installed in a stage whose result alone is copied.
FROM intel/oneapi-basekit:2025.0.1-0-devel-ubuntu22.04 AS venv
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
      /wheels/vllm-*.whl \
      intel-extension-for-pytorch==2.6.10+xpu && \
    /opt/venv/bin/pip uninstall --disable-pip-version-check --yes oneccl oneccl-devel && \
    /opt/venv/bin/pip install --disable-pip-version-check --no-cache-dir --no-compile --no-index --find-links /wheels \
      --no-deps --force-reinstall /wheels/oneccl_bind_pt-*.whl

FROM intel/oneapi-basekit:2025.0.1-0-devel-ubuntu22.04 AS runtime
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
COPY --from=fetched /fetched/*.deb /tmp/debs/
# hadolint ignore=DL3008
RUN apt-get update && \
    { dpkg-query -W -f '${Package}\n' libze-dev libze-intel-gpu1 2>/dev/null || true; } | \
      xargs -r apt-get remove -y && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --allow-downgrades \
      /tmp/debs/*.deb && \
    rm -rf /tmp/debs && \
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
      org.opencontainers.image.base.name="intel/oneapi-basekit:2025.0.1-0-devel-ubuntu22.04" \
      io.xpukit.recipe="vllm-ipex/arc-a770" \
      io.xpukit.settings="{\"base_digest\":\"\",\"base_image\":\"intel/oneapi-basekit:2025.0.1-0-devel-ubuntu22.04\",\"builder_image\":\"intel/oneapi-basekit:2025.0.1-0-devel-ubuntu22.04\",\"driver\":\"release\",\"era\":\"setvars\",\"git_host\":\"https://github.com\",\"ipex\":\"2.6.10+xpu\",\"ipex_index\":\"https://pytorch-extension.intel.com/release-whl/stable/xpu/us/\",\"jobs\":4,\"oneccl_commit\":\"3afa1bb7936f57683a2503c34b29c0daca6a9ccb\",\"oneccl_patch\":\"docker/llm/serving/xpu/docker/1ccl_for_multi_arc.patch\",\"oneccl_repository\":\"analytics-zoo/oneCCL\",\"packages\":[\"ffmpeg\",\"g++\",\"libgl1\",\"libsndfile1\",\"numactl\",\"python3\",\"python3-dev\",\"python3-venv\"],\"patch_commit\":\"c9a146cb9d178146931c56c29f98f183a54f1d50\",\"patch_folder\":\"docker/llm/serving/xpu/docker\",\"patch_repository\":\"intel/ipex-llm\",\"port\":8000,\"tool_image\":\"ubuntu:24.04@sha256:69cecf4bbf72d2d44a9eef1b71fb98c7fb973d78af11399deccef19beb008ad9\",\"torch_ccl\":\"ccl_torch2.6.0+xpu\",\"torch_index\":\"https://download.pytorch.org/whl/xpu\",\"vllm\":\"0.8.3\",\"vllm_commit\":\"\",\"wheels\":[]}" \
      io.xpukit.engine="vllm" \
      io.xpukit.engine-version="0.8.3" \
      io.xpukit.era="setvars"
EXPOSE 8000
# serving, by number: what starts the container need not know the name.
USER 10001
WORKDIR /home/serving
HEALTHCHECK --interval=10s --timeout=5s --start-period=30m --retries=3 CMD ["/usr/bin/python3", "/opt/xpukit/healthcheck.py"]
ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]
CMD ["--help"]

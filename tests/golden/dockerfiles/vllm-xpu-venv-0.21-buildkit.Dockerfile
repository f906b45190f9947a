FROM ubuntu:24.04@sha256:69cecf4bbf72d2d44a9eef1b71fb98c7fb973d78af11399deccef19beb008ad9 AS fetched
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean && \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      curl
WORKDIR /fetched
RUN curl -fsSL --retry 3 -o /fetched/intel-oneccl-2021.15.9.14_offline.sh "https://github.com/uxlfoundation/oneCCL/releases/download/2021.15.9/intel-oneccl-2021.15.9.14_offline.sh" && \
    echo "f7ab81b6ed1b10dd35fadec366a78046d8af214888dfd625047ce8953d5aa4ef  /fetched/intel-oneccl-2021.15.9.14_offline.sh" | sha256sum -c -

FROM fetched AS oneccl
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN bash /fetched/intel-oneccl-2021.15.9.14_offline.sh -a --silent --eula accept && \
    test -e /opt/intel/oneapi/ccl/2021.15/lib/libccl.so.1

FROM intel/omix:0.1.0-devel-ubuntu24.04 AS builder
ENV PATH=/opt/build/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    VLLM_TARGET_DEVICE=xpu \
    VLLM_VERSION_OVERRIDE=0.21.0 \
    MAX_JOBS=4
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean && \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      cmake \
      git \
      ninja-build \
      pkg-config \
      python3-dev \
      python3-pip \
      python3-venv
# The kernels link to this PyTorch: the runtime gets the same. The tools beside it have no version of their own: they
# stay in this stage, and a wheelhouse holds them still.
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/build && \
    pip install --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu "torch==2.11.0+xpu" wheel setuptools setuptools-scm ninja cmake
RUN --mount=type=cache,target=/root/.cache/pip \
    git clone --quiet --filter=blob:none --no-checkout "https://github.com/vllm-project/vllm" /src/vllm && \
    git -C /src/vllm checkout --quiet --detach v0.21.0 && \
    git clone --quiet --filter=blob:none --no-checkout "https://github.com/vllm-project/vllm-xpu-kernels" /src/vllm-xpu-kernels && \
    git -C /src/vllm-xpu-kernels checkout --quiet --detach 3cab97a && \
    git -C /src/vllm-xpu-kernels rev-parse HEAD | grep '^3cab97a' && \
    git clone --quiet --filter=blob:none --no-checkout "https://github.com/intel/llm-scaler" /src/llm-scaler && \
    git -C /src/llm-scaler checkout --quiet --detach 046beaee058e47985e197f025f7e74ced66d94d9 && \
    git -C /src/llm-scaler rev-parse HEAD | grep '^046beaee058e47985e197f025f7e74ced66d94d9'
COPY patches /src/patches
RUN git -C /src/vllm apply /src/llm-scaler/vllm/patches/vllm_for_multi_arc.patch && \
    if [ -e /src/llm-scaler/vllm/patches/vllm_xpu_kernels.patch ]; then \
      git -C /src/vllm-xpu-kernels apply /src/llm-scaler/vllm/patches/vllm_xpu_kernels.patch; fi && \
    for tree in vllm vllm-xpu-kernels; do for patch in "/src/patches/$tree"/*.patch; do \
      if [ -e "$patch" ]; then git -C "/src/$tree" apply --verbose "$patch" || exit 1; fi; done; done && \
    mkdir -p /wheels
# vLLM's list names kernels made elsewhere: they are those built below.
# hadolint ignore=SC1091,DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    . /opt/intel/oneapi/setvars.sh --force >/dev/null && \
    sed -i -E '/^vllm[_-]xpu[_-]kernels/d' /src/vllm/requirements/xpu.txt && \
    pip install --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu -r /src/vllm/requirements/xpu.txt && \
    pip install --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu grpcio-tools protobuf nanobind && \
    CMAKE_PREFIX_PATH="$(python3 -c 'import site; print(site.getsitepackages()[0])'):${CMAKE_PREFIX_PATH:-}" \
      pip wheel --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu --no-build-isolation --no-deps --wheel-dir /wheels /src/vllm
# The kernels' list of requirements names a PyTorch of its own: theirs is the one above.
# hadolint ignore=SC1091
RUN --mount=type=cache,target=/root/.cache/pip \
    . /opt/intel/oneapi/setvars.sh --force >/dev/null && \
    sed -i -E '/^(torch|triton-xpu|transformers)([=<> ]|$)/d; /^--extra-index-url/d' /src/vllm-xpu-kernels/requirements.txt && \
    pip install --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu -r /src/vllm-xpu-kernels/requirements.txt && \
    CMAKE_PREFIX_PATH="$(python3 -c 'import site; print(site.getsitepackages()[0])'):${CMAKE_PREFIX_PATH:-}" \
      pip wheel --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu --no-build-isolation --no-deps --wheel-dir /wheels /src/vllm-xpu-kernels
# hadolint ignore=SC1091
RUN --mount=type=cache,target=/root/.cache/pip \
    . /opt/intel/oneapi/setvars.sh --force >/dev/null && \
    TORCH_XPU_ARCH_LIST=bmg-g21 MAX_JOBS=1 \
      pip wheel --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu --no-build-isolation --no-deps --wheel-dir /wheels \
      /src/llm-scaler/vllm/custom-esimd-kernels-vllm
# All that they need, so that the runtime needs no network.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu --find-links /wheels --wheel-dir /wheels \
      /wheels/vllm-*.whl \
      torch==2.11.0+xpu \
      transformers==5.8.0 \
      bigdl-core==2.4.0b2 && \
    pip wheel --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu --no-deps --wheel-dir /wheels "triton-xpu==3.7.0"

FROM intel/omix:0.1.0-devel-ubuntu24.04 AS runtime
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean && \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      ffmpeg \
      g++ \
      libgl1 \
      libsm6 \
      libsndfile1 \
      libxext6 \
      numactl \
      python3 \
      python3-dev \
      python3-venv
RUN groupadd --system --force render && groupadd --system --force video && \
    useradd --create-home --uid 10001 --groups render,video serving
# One oneCCL only: what the base image has would be found as well.
RUN rm -rf /opt/intel/oneapi/ccl
COPY --from=oneccl /opt/intel/oneapi/ccl /opt/intel/oneapi/ccl
RUN --mount=type=bind,from=builder,source=/wheels,target=/wheels \
    python3 -m venv /opt/venv && \
    /opt/venv/bin/pip install --disable-pip-version-check --no-cache-dir --no-compile --no-index --find-links /wheels \
      /wheels/vllm-*.whl \
      torch==2.11.0+xpu \
      transformers==5.8.0 \
      bigdl-core==2.4.0b2 && \
    /opt/venv/bin/pip uninstall --disable-pip-version-check --yes triton triton-xpu oneccl oneccl-devel && \
    /opt/venv/bin/pip install --disable-pip-version-check --no-cache-dir --no-compile --no-index --find-links /wheels \
      --no-deps --force-reinstall /wheels/vllm_xpu_kernels-*.whl triton-xpu==3.7.0 /wheels/custom_esimd_kernels_vllm-*.whl
RUN ln -sfn 2021.15 /opt/intel/oneapi/ccl/latest && \
    ln -sf /opt/intel/oneapi/ccl/2021.15/lib/libccl.so.1 /opt/venv/lib/libccl.so.1 && \
    ln -sf libccl.so.1 /opt/venv/lib/libccl.so
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
ENV PATH=/opt/xpukit/bin:/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    BASH_ENV=/opt/xpukit/environment.sh \
    XPUKIT_PORT=8000 \
    VLLM_TARGET_DEVICE=xpu \
    VLLM_WORKER_MULTIPROC_METHOD=spawn \
    VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 \
    VLLM_QUANTIZE_Q40_LIB=/opt/venv/lib/python3.12/site-packages/vllm_int4_for_multi_arc.so
LABEL org.opencontainers.image.title="vllm-xpu" \
      org.opencontainers.image.description="vLLM for Intel GPUs: wheels made with oneAPI's compilers, a runtime that holds only what they need" \
      org.opencontainers.image.version="1" \
      org.opencontainers.image.source="xpukit recipe vllm-xpu" \
      org.opencontainers.image.revision="test" \
      org.opencontainers.image.base.name="intel/omix:0.1.0-devel-ubuntu24.04" \
      io.xpukit.recipe="vllm-xpu/venv-0.21" \
      io.xpukit.settings="{\"base_digest\":\"\",\"base_image\":\"intel/omix:0.1.0-devel-ubuntu24.04\",\"bigdl_core\":\"2.4.0b2\",\"builder\":\"oneapi\",\"builder_image\":\"intel/omix:0.1.0-devel-ubuntu24.04\",\"custom_kernels\":true,\"driver\":\"base\",\"era\":\"venv\",\"git_host\":\"https://github.com\",\"jobs\":4,\"kernel_targets\":\"bmg-g21\",\"kernels_commit\":\"3cab97a\",\"llm_scaler_commit\":\"046beaee058e47985e197f025f7e74ced66d94d9\",\"llm_scaler_patches\":true,\"oneccl\":\"2021.15.9.14\",\"packages\":[\"ffmpeg\",\"g++\",\"libgl1\",\"libsm6\",\"libsndfile1\",\"libxext6\",\"numactl\",\"python3\",\"python3-dev\",\"python3-venv\"],\"port\":8000,\"rust_extensions\":false,\"rust_image\":\"ubuntu:22.04@sha256:3b06811b2afd352be909dd088a004166d665dc76d38b13eada33522a9d915c6f\",\"sym_int4\":true,\"tool_image\":\"ubuntu:24.04@sha256:69cecf4bbf72d2d44a9eef1b71fb98c7fb973d78af11399deccef19beb008ad9\",\"torch\":\"2.11.0+xpu\",\"torch_index\":\"https://download.pytorch.org/whl/xpu\",\"triton\":\"3.7.0\",\"vllm\":\"0.21.0\",\"vllm_commit\":\"\",\"wheels\":[\"transformers==5.8.0\"]}" \
      io.xpukit.engine="vllm" \
      io.xpukit.engine-version="0.21.0" \
      io.xpukit.era="venv"
EXPOSE 8000
# serving, by number: what starts the container need not know the name.
USER 10001
WORKDIR /home/serving
HEALTHCHECK --interval=10s --timeout=5s --start-period=30m --retries=3 CMD ["/usr/bin/python3", "/opt/xpukit/healthcheck.py"]
ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]
CMD ["--help"]

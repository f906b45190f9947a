FROM ubuntu:22.04@sha256:3b06811b2afd352be909dd088a004166d665dc76d38b13eada33522a9d915c6f AS fetched
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
RUN curl -fsSL --retry 3 -o /fetched/vllm.tar.gz "https://github.com/zhuyuhua-v/vllm/archive/refs/heads/yuhua/deepseek.tar.gz" && \
    echo "unknown-checksum  /fetched/vllm.tar.gz" | sha256sum -c -
RUN curl -fsSL --retry 3 -o /fetched/sglang.tar.gz "https://github.com/cboss6/sglang/archive/refs/heads/deepseek-xpu-distribute.tar.gz" && \
    echo "unknown-checksum  /fetched/sglang.tar.gz" | sha256sum -c -
RUN curl -fsSL --retry 3 -o /fetched/sqlite-autoconf-3480000.tar.gz "https://www.sqlite.org/2025/sqlite-autoconf-3480000.tar.gz" && \
    echo "ac992f7fca3989de7ed1fe99c16363f848794c8c32a158dafd4eb927a2e02fd5  /fetched/sqlite-autoconf-3480000.tar.gz" | sha256sum -c -

FROM intel/oneapi-basekit:2025.0.1-0-devel-ubuntu22.04 AS sqlite
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean && \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      build-essential
COPY --from=fetched /fetched/sqlite-autoconf-3480000.tar.gz /src/
WORKDIR /src
RUN tar -xf sqlite-autoconf-3480000.tar.gz --strip-components=1 && \
    ./configure --prefix=/opt/sqlite --disable-static && \
    make --jobs=8 install

FROM intel/oneapi-basekit:2025.0.1-0-devel-ubuntu22.04 AS builder
ENV PATH=/opt/build/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    MAX_JOBS=8
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean && \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      build-essential \
      ca-certificates \
      cmake \
      git \
      ninja-build \
      python3-dev \
      python3-pip \
      python3-venv
# Triton first: its tree holds the patch that lets PyTorch use fp64 on these GPUs. Its own build fetches the LLVM that
# it names by commit.
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/build && \
    pip install --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu setuptools==75.6.0 packaging==24.2 && \
    git clone --quiet --filter=blob:none --no-checkout "https://github.com/intel/intel-xpu-backend-for-triton" /src/triton && \
    git -C /src/triton checkout --quiet --detach 6fa2562b && \
    git -C /src/triton rev-parse HEAD | grep '^6fa2562b' && \
    pip wheel --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu --no-deps --wheel-dir /wheels /src/triton/python
# hadolint ignore=SC1091
RUN --mount=type=cache,target=/root/.cache/pip \
    git clone --quiet --filter=blob:none --no-checkout "https://github.com/pytorch/pytorch" /src/pytorch && \
    git -C /src/pytorch checkout --quiet --detach c21dc11 && \
    git -C /src/pytorch rev-parse HEAD | grep '^c21dc11' && \
    git -C /src/pytorch submodule update --quiet --init --recursive && \
    git -C /src/pytorch apply /src/triton/scripts/pytorch_fp64.patch && \
    pip install --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu -r /src/pytorch/requirements.txt && \
    . /opt/intel/oneapi/setvars.sh --force >/dev/null && \
    USE_XCCL=ON USE_STATIC_MKL=1 pip wheel --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu --no-deps --no-build-isolation \
      --wheel-dir /wheels /src/pytorch && \
    pip install --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu --no-deps /wheels/torch-*.whl /wheels/triton-*.whl
# An archive knows the commit that it was made from: the image says which it was. Versions come from git's tags, which
# an archive does not have.
COPY --from=fetched /fetched/vllm.tar.gz /fetched/sglang.tar.gz /fetched/
RUN mkdir -p /src/vllm /src/sglang && \
    for name in vllm sglang; do \
      tar -xf "/fetched/$name.tar.gz" -C "/src/$name" --strip-components=1 && \
      echo "$name $(gzip -dc "/fetched/$name.tar.gz" | git get-tar-commit-id)" >>/src/commits.txt || exit 1; done && \
    echo "triton $(git -C /src/triton rev-parse HEAD)" >>/src/commits.txt && \
    echo "pytorch $(git -C /src/pytorch rev-parse HEAD)" >>/src/commits.txt
# hadolint ignore=SC1091,DL3013
RUN --mount=type=cache,target=/root/.cache/pip \
    . /opt/intel/oneapi/setvars.sh --force >/dev/null && \
    pip install --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu setuptools-scm && \
    VLLM_TARGET_DEVICE=xpu SETUPTOOLS_SCM_PRETEND_VERSION=0.0.0+deepseek \
      pip wheel --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu --no-deps --no-build-isolation --wheel-dir /wheels /src/vllm && \
    pip wheel --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu --no-deps --wheel-dir /wheels /src/sglang/python
# All that they need, with SGLang's list for XPU, so that the runtime needs no network. torch and triton are those above.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu --find-links /wheels --wheel-dir /wheels \
      /wheels/torch-*.whl \
      /wheels/vllm-*.whl \
      /wheels/sglang-*.whl \
      msgspec \
      blake3 \
      py-cpuinfo \
      compressed_tensors \
      gguf \
      partial_json_parser \
      "sglang[all_xpu] @ file://$(compgen -G '/wheels/sglang-*.whl')" && \
    pip wheel --disable-pip-version-check --extra-index-url https://download.pytorch.org/whl/xpu --no-deps --wheel-dir /wheels \
      setuptools==75.6.0 packaging==24.2

FROM intel/oneapi-basekit:2025.0.1-0-devel-ubuntu22.04 AS runtime
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean && \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      g++ \
      libgl1 \
      numactl \
      python3 \
      python3-dev \
      python3-venv
RUN groupadd --system --force render && groupadd --system --force video && \
    useradd --create-home --uid 10001 --groups render,video serving
COPY --from=sqlite /opt/sqlite /opt/sqlite
RUN echo /opt/sqlite/lib >/etc/ld.so.conf.d/sqlite.conf
RUN --mount=type=bind,from=builder,source=/wheels,target=/wheels \
    python3 -m venv /opt/venv && \
    /opt/venv/bin/pip install --disable-pip-version-check --no-cache-dir --no-compile --no-index --find-links /wheels \
      /wheels/torch-*.whl \
      /wheels/vllm-*.whl \
      /wheels/sglang-*.whl \
      msgspec \
      blake3 \
      py-cpuinfo \
      compressed_tensors \
      gguf \
      partial_json_parser \
      'sglang[all_xpu]' && \
    /opt/venv/bin/pip install --disable-pip-version-check --no-cache-dir --no-compile --no-index --find-links /wheels \
      --no-deps --force-reinstall /wheels/torch-*.whl /wheels/triton-*.whl setuptools==75.6.0 packaging==24.2
COPY --from=builder /src/commits.txt /opt/xpukit/commits.txt
COPY environment.sh entrypoint.sh healthcheck.py xpukit_environment.py checks.sh check.sh shim.sh store-environment.sh /opt/xpukit/
RUN mkdir -p /opt/xpukit/bin && \
    for program in python3 python pip numactl torchrun vllm; do ln -s ../shim.sh "/opt/xpukit/bin/$program"; done && \
    site=$(/opt/venv/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
    ln -s /opt/xpukit/xpukit_environment.py "$site/xpukit_environment.py" && \
    echo 'import xpukit_environment' >"$site/xpukit_environment.pth" && \
    /opt/xpukit/store-environment.sh /opt/xpukit/oneapi.sh /etc/ld.so.conf.d/xpukit.conf && \
    ldconfig
RUN ln -s /opt/xpukit/environment.sh /etc/profile.d/xpukit.sh && \
    echo '. /opt/xpukit/environment.sh' >>/etc/bash.bashrc
ENV PATH=/opt/xpukit/bin:/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    BASH_ENV=/opt/xpukit/environment.sh \
    XPUKIT_PORT=30000
LABEL org.opencontainers.image.title="deepseek-max" \
      org.opencontainers.image.description="DeepSeek-R1 671B on Intel Data Center Max GPUs: SGLang and vLLM on a PyTorch rebuilt with XCCL" \
      org.opencontainers.image.version="1" \
      org.opencontainers.image.source="xpukit recipe deepseek-max" \
      org.opencontainers.image.revision="test" \
      org.opencontainers.image.base.name="intel/oneapi-basekit:2025.0.1-0-devel-ubuntu22.04" \
      io.xpukit.recipe="deepseek-max/sglang-vllm" \
      io.xpukit.settings="{\"base_digest\":\"\",\"base_image\":\"intel/oneapi-basekit:2025.0.1-0-devel-ubuntu22.04\",\"builder_image\":\"intel/oneapi-basekit:2025.0.1-0-devel-ubuntu22.04\",\"driver\":\"base\",\"era\":\"setvars\",\"git_host\":\"https://github.com\",\"jobs\":8,\"packages\":[\"g++\",\"libgl1\",\"numactl\",\"python3\",\"python3-dev\",\"python3-venv\"],\"port\":30000,\"sglang_commit\":\"refs/heads/deepseek-xpu-distribute\",\"sqlite\":\"3.48.0\",\"tool_image\":\"ubuntu:22.04@sha256:3b06811b2afd352be909dd088a004166d665dc76d38b13eada33522a9d915c6f\",\"torch_commit\":\"c21dc11\",\"torch_index\":\"https://download.pytorch.org/whl/xpu\",\"triton_commit\":\"6fa2562b\",\"vllm_commit\":\"refs/heads/yuhua/deepseek\",\"wheels\":[\"msgspec\",\"blake3\",\"py-cpuinfo\",\"compressed_tensors\",\"gguf\",\"partial_json_parser\"]}" \
      io.xpukit.engine="sglang" \
      io.xpukit.engine-version="deepseek-xpu-distribute" \
      io.xpukit.era="setvars"
EXPOSE 30000
# serving, by number: what starts the container need not know the name.
USER 10001
WORKDIR /home/serving
HEALTHCHECK --interval=10s --timeout=5s --start-period=2h --retries=3 CMD ["/usr/bin/python3", "/opt/xpukit/healthcheck.py"]
ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]
CMD ["--help"]

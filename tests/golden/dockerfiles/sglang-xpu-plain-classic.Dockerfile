FROM ubuntu:24.04@sha256:69cecf4bbf72d2d44a9eef1b71fb98c7fb973d78af11399deccef19beb008ad9 AS fetched
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# hadolint ignore=DL3008
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      curl && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb
WORKDIR /fetched
RUN curl -fsSL --retry 3 -o /fetched/intel-igc-core-2_2.24.8+20344_amd64.deb "https://github.com/intel/intel-graphics-compiler/releases/download/v2.24.8/intel-igc-core-2_2.24.8+20344_amd64.deb" && \
    echo "unknown-checksum  /fetched/intel-igc-core-2_2.24.8+20344_amd64.deb" | sha256sum -c -
RUN curl -fsSL --retry 3 -o /fetched/intel-igc-opencl-2_2.24.8+20344_amd64.deb "https://github.com/intel/intel-graphics-compiler/releases/download/v2.24.8/intel-igc-opencl-2_2.24.8+20344_amd64.deb" && \
    echo "unknown-checksum  /fetched/intel-igc-opencl-2_2.24.8+20344_amd64.deb" | sha256sum -c -
RUN curl -fsSL --retry 3 -o /fetched/intel-ocloc_25.48.36300.8-0_amd64.deb "https://github.com/intel/compute-runtime/releases/download/25.48.36300.8/intel-ocloc_25.48.36300.8-0_amd64.deb" && \
    echo "unknown-checksum  /fetched/intel-ocloc_25.48.36300.8-0_amd64.deb" | sha256sum -c -
RUN curl -fsSL --retry 3 -o /fetched/intel-opencl-icd_25.48.36300.8-0_amd64.deb "https://github.com/intel/compute-runtime/releases/download/25.48.36300.8/intel-opencl-icd_25.48.36300.8-0_amd64.deb" && \
    echo "unknown-checksum  /fetched/intel-opencl-icd_25.48.36300.8-0_amd64.deb" | sha256sum -c -
RUN curl -fsSL --retry 3 -o /fetched/libigdgmm12_22.8.2_amd64.deb "https://github.com/intel/compute-runtime/releases/download/25.48.36300.8/libigdgmm12_22.8.2_amd64.deb" && \
    echo "unknown-checksum  /fetched/libigdgmm12_22.8.2_amd64.deb" | sha256sum -c -
RUN curl -fsSL --retry 3 -o /fetched/libze-intel-gpu1_25.48.36300.8-0_amd64.deb "https://github.com/intel/compute-runtime/releases/download/25.48.36300.8/libze-intel-gpu1_25.48.36300.8-0_amd64.deb" && \
    echo "unknown-checksum  /fetched/libze-intel-gpu1_25.48.36300.8-0_amd64.deb" | sha256sum -c -
RUN curl -fsSL --retry 3 -o /fetched/level-zero_1.26.0+u24.04_amd64.deb "https://github.com/oneapi-src/level-zero/releases/download/v1.26.0/level-zero_1.26.0+u24.04_amd64.deb" && \
    echo "unknown-checksum  /fetched/level-zero_1.26.0+u24.04_amd64.deb" | sha256sum -c -

FROM intel/omix:0.1.0-devel-ubuntu24.04 AS builder
ENV PATH=/opt/build/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    TORCH_XPU_ARCH_LIST=bmg \
    OMNI_XPU_DEVICE=bmg \
    MAX_JOBS=4
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# hadolint ignore=DL3008
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      build-essential \
      ca-certificates \
      cmake \
      git \
      ninja-build \
      python3-dev \
      python3-pip \
      python3-venv && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb
# The kernels link to this PyTorch: the runtime gets the same. The tools beside it stay in this stage.
# hadolint ignore=DL3013
RUN python3 -m venv /opt/build && \
    pip install --disable-pip-version-check --no-cache-dir --extra-index-url https://download.pytorch.org/whl/xpu "torch==2.11.0+xpu" wheel setuptools ninja
RUN git clone --quiet --filter=blob:none --no-checkout "https://github.com/sgl-project/sglang" /src/sglang && \
    git -C /src/sglang checkout --quiet --detach v0.5.13 && \
    git clone --quiet --filter=blob:none --no-checkout "https://github.com/sgl-project/sgl-kernel-xpu" /src/sgl-kernel-xpu && \
    git -C /src/sgl-kernel-xpu checkout --quiet --detach ea5c70f0909bcd55ceaf1803302651fc0593b64d && \
    git -C /src/sgl-kernel-xpu rev-parse HEAD | grep '^ea5c70f0909bcd55ceaf1803302651fc0593b64d'
# hadolint ignore=SC1091
RUN . /opt/intel/oneapi/setvars.sh --force >/dev/null && \
    pip wheel --disable-pip-version-check --no-cache-dir --extra-index-url https://download.pytorch.org/whl/xpu --no-deps --wheel-dir /wheels \
      --config-settings=cmake.define.DPCPP_SYCL_TARGET=bmg /src/sgl-kernel-xpu
# SGLang has a project file for XPU; what we give versions for is taken out of it, and what must fit PyTorch's version
# is left to PyTorch.
RUN cp /src/sglang/python/pyproject_xpu.toml /src/sglang/python/pyproject.toml && \
    sed -i -E -e '/^ *"(sgl-kernel|sglang-kernel|xgrammar|torch==)/d' \
      -e 's/^( *"torch(audio|vision|ao))==[^"]*"/\1"/' /src/sglang/python/pyproject.toml && \
    pip wheel --disable-pip-version-check --no-cache-dir --extra-index-url https://download.pytorch.org/whl/xpu --no-deps --wheel-dir /wheels /src/sglang/python
# All that they need, so that the runtime needs no network.
RUN pip wheel --disable-pip-version-check --no-cache-dir --extra-index-url https://download.pytorch.org/whl/xpu --find-links /wheels --wheel-dir /wheels \
      /wheels/sglang-*.whl \
      torch==2.11.0+xpu && \
    pip wheel --disable-pip-version-check --no-cache-dir --extra-index-url https://download.pytorch.org/whl/xpu --no-deps --wheel-dir /wheels "xgrammar==0.1.33"

# Without mounts the wheels would stay in a layer: they are installed in a stage whose result alone is copied.
FROM ubuntu:24.04@sha256:69cecf4bbf72d2d44a9eef1b71fb98c7fb973d78af11399deccef19beb008ad9 AS venv
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
      /wheels/sglang-*.whl \
      torch==2.11.0+xpu && \
    /opt/venv/bin/pip install --disable-pip-version-check --no-cache-dir --no-compile --no-index --find-links /wheels \
      --no-deps --force-reinstall /wheels/sgl_kernel*.whl xgrammar==0.1.33

FROM ubuntu:24.04@sha256:69cecf4bbf72d2d44a9eef1b71fb98c7fb973d78af11399deccef19beb008ad9 AS runtime
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
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --allow-downgrades \
      /tmp/debs/*.deb && \
    rm -rf /tmp/debs && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb
RUN groupadd --system --force render && groupadd --system --force video && \
    useradd --create-home --uid 10001 --groups render,video serving
COPY --from=venv /opt/venv /opt/venv
COPY environment.sh entrypoint.sh healthcheck.py xpukit_environment.py checks.sh check.sh shim.sh store-environment.sh /opt/xpukit/
RUN mkdir -p /opt/xpukit/bin && \
    for program in python3 python pip numactl torchrun; do ln -s ../shim.sh "/opt/xpukit/bin/$program"; done && \
    site=$(/opt/venv/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
    ln -s /opt/xpukit/xpukit_environment.py "$site/xpukit_environment.py" && \
    echo 'import xpukit_environment' >"$site/xpukit_environment.pth" && \
    /opt/xpukit/store-environment.sh /opt/xpukit/oneapi.sh /etc/ld.so.conf.d/xpukit.conf && \
    ldconfig
RUN ln -s /opt/xpukit/environment.sh /etc/profile.d/xpukit.sh && \
    echo '. /opt/xpukit/environment.sh' >>/etc/bash.bashrc
ENV PATH=/opt/xpukit/bin:/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    BASH_ENV=/opt/xpukit/environment.sh \
    XPUKIT_PORT=30000 \
    TORCH_XPU_ARCH_LIST=bmg \
    OMNI_XPU_DEVICE=bmg
LABEL org.opencontainers.image.title="sglang-xpu" \
      org.opencontainers.image.description="SGLang for Intel GPUs, with its kernels compiled for Battlemage" \
      org.opencontainers.image.version="1" \
      org.opencontainers.image.source="xpukit recipe sglang-xpu" \
      org.opencontainers.image.revision="test" \
      org.opencontainers.image.base.name="ubuntu:24.04@sha256:69cecf4bbf72d2d44a9eef1b71fb98c7fb973d78af11399deccef19beb008ad9" \
      io.xpukit.recipe="sglang-xpu/plain" \
      io.xpukit.settings="{\"base_digest\":\"\",\"base_image\":\"ubuntu:24.04@sha256:69cecf4bbf72d2d44a9eef1b71fb98c7fb973d78af11399deccef19beb008ad9\",\"builder_image\":\"intel/omix:0.1.0-devel-ubuntu24.04\",\"driver\":\"release\",\"git_host\":\"https://github.com\",\"jobs\":4,\"kernel_commit\":\"ea5c70f0909bcd55ceaf1803302651fc0593b64d\",\"kernel_target\":\"bmg\",\"llm_scaler_commit\":\"09a95fea40d1b4177940a591767ebf9f7d34a341\",\"llm_scaler_patches\":false,\"packages\":[\"ffmpeg\",\"g++\",\"libgl1\",\"libsndfile1\",\"numactl\",\"python3\",\"python3-dev\",\"python3-venv\"],\"port\":30000,\"sglang\":\"0.5.13\",\"sglang_commit\":\"\",\"tool_image\":\"ubuntu:24.04@sha256:69cecf4bbf72d2d44a9eef1b71fb98c7fb973d78af11399deccef19beb008ad9\",\"torch\":\"2.11.0+xpu\",\"torch_index\":\"https://download.pytorch.org/whl/xpu\",\"wheels\":[],\"xgrammar\":\"0.1.33\"}" \
      io.xpukit.engine="sglang" \
      io.xpukit.engine-version="0.5.13" \
      io.xpukit.era="venv"
EXPOSE 30000
# serving, by number: what starts the container need not know the name.
USER 10001
WORKDIR /home/serving
HEALTHCHECK --interval=10s --timeout=5s --start-period=30m --retries=3 CMD ["/usr/bin/python3", "/opt/xpukit/healthcheck.py"]
ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]
CMD ["--help"]

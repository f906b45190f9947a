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
RUN curl -fsSL --retry 3 -o /fetched/xpu-smi_1.3.6_20260206.143628.1004f6cb.u24.04_amd64.deb "https://github.com/intel/xpumanager/releases/download/v1.3.6/xpu-smi_1.3.6_20260206.143628.1004f6cb.u24.04_amd64.deb" && \
    echo "f60e802b6f41350393e34b24793db888a8be514054769bd17e7a6e9c0c058b87  /fetched/xpu-smi_1.3.6_20260206.143628.1004f6cb.u24.04_amd64.deb" | sha256sum -c -
RUN curl -fsSL --retry 3 -o /fetched/intel-graphics.asc "https://keyserver.ubuntu.com/pks/lookup?op=get&search=0x0C0E6AF955CE463C03FC51574D098D70AFBE5E1F" && \
    echo "unknown-checksum  /fetched/intel-graphics.asc" | sha256sum -c -

FROM fetched AS oneccl
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN bash /fetched/intel-oneccl-2021.15.9.14_offline.sh -a --silent --eula accept && \
    test -e /opt/intel/oneapi/ccl/2021.15/lib/libccl.so.1

FROM ubuntu:24.04@sha256:69cecf4bbf72d2d44a9eef1b71fb98c7fb973d78af11399deccef19beb008ad9 AS level-zero-tests
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
      libboost-all-dev \
      libpng-dev \
      libva-dev \
      libze-dev \
      ocl-icd-opencl-dev \
      opencl-headers
RUN --mount=type=cache,target=/root/.cache/pip \
    git clone --quiet --filter=blob:none --no-checkout "https://github.com/oneapi-src/level-zero-tests" /src && \
    git -C /src checkout --quiet --detach 6f4258713c57ed1668671e5c016633624602184d && \
    git -C /src rev-parse HEAD | grep '^6f4258713c57ed1668671e5c016633624602184d' && \
    git -C /src submodule update --quiet --init --recursive --depth 1 && \
    cmake -S /src -B /build -D GROUP=/perf_tests -D CMAKE_BUILD_TYPE=Release -D CMAKE_INSTALL_PREFIX=/opt/level-zero-tests && \
    cmake --build /build --parallel "$(nproc)" --target install

FROM intel/deep-learning-essentials:2025.3.2-0-devel-ubuntu24.04 AS benchmarks
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean && \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      cmake \
      git
COPY --from=oneccl /opt/intel/oneapi/ccl/2021.15 /opt/intel/oneapi/ccl/2021.15
# The package brings the sources of its benchmark.
# hadolint ignore=SC1091
RUN . /opt/intel/oneapi/setvars.sh --force >/dev/null && \
    . /opt/intel/oneapi/ccl/2021.15/env/vars.sh --force && \
    cmake -S /opt/intel/oneapi/ccl/2021.15/share/doc/ccl/examples -B /build/ccl \
      -D CMAKE_C_COMPILER=icx -D CMAKE_CXX_COMPILER=icpx -D COMPUTE_BACKEND=dpcpp && \
    cmake --build /build/ccl --parallel "$(nproc)" --target benchmark && \
    mkdir -p /opt/benchmarks/bin && \
    find /build/ccl -type f -name benchmark -perm -u+x -exec cp {} /opt/benchmarks/bin/oneccl_benchmark ';' && \
    test -x /opt/benchmarks/bin/oneccl_benchmark
# hadolint ignore=SC1091
RUN --mount=type=cache,target=/root/.cache/pip \
    git clone --quiet --filter=blob:none --no-checkout "https://github.com/oneapi-src/oneAPI-samples" /src && \
    git -C /src checkout --quiet --detach 5d5ee1e41518d38df1094620761092a3bb4a0eb9 && \
    git -C /src rev-parse HEAD | grep '^5d5ee1e41518d38df1094620761092a3bb4a0eb9' && \
    . /opt/intel/oneapi/setvars.sh --force >/dev/null && \
    mkdir -p /opt/benchmarks/bin && \
    icpx -O3 -fsycl -fsycl-device-code-split=per_kernel -qmkl \
      -o /opt/benchmarks/bin/matrix_mul_mkl /src/Libraries/oneMKL/matrix_mul_mkl/matrix_mul_mkl.cpp
# What the two link to, so that the image needs no compiler. The driver comes with the image itself.
# hadolint ignore=SC1091
RUN . /opt/intel/oneapi/setvars.sh --force >/dev/null && \
    mkdir -p /opt/benchmarks/lib && \
    for program in /opt/benchmarks/bin/*; do ldd "$program"; done | \
      awk '$3 ~ "^/opt/intel/" { print $3 }' | sort -u | xargs -r cp -L -t /opt/benchmarks/lib

FROM ubuntu:24.04@sha256:69cecf4bbf72d2d44a9eef1b71fb98c7fb973d78af11399deccef19beb008ad9 AS runtime
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean && \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      clinfo \
      hwloc-nox \
      numactl \
      ocl-icd-libopencl1 \
      pciutils
COPY --from=fetched /fetched/intel-graphics.asc /usr/share/keyrings/intel-graphics.asc
RUN echo "deb [signed-by=/usr/share/keyrings/intel-graphics.asc] https://ppa.launchpadcontent.net/kobuk-team/intel-graphics/ubuntu noble main" \
      >/etc/apt/sources.list.d/intel-graphics.list
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean && \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      libze1 \
      libze-intel-gpu1 \
      intel-opencl-icd \
      intel-ocloc \
      intel-metrics-discovery \
      intel-gsc \
      intel-media-va-driver-non-free \
      libmfx-gen1 \
      libvpl2 \
      vainfo
# hadolint ignore=DL3008
RUN --mount=type=bind,from=fetched,source=/fetched,target=/fetched \
    --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean && \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --allow-downgrades \
      /fetched/*.deb
RUN groupadd --system --force render && groupadd --system --force video && \
    useradd --create-home --uid 10001 --groups render,video bench
COPY --from=oneccl /opt/intel/oneapi/ccl/2021.15 /opt/intel/oneapi/ccl/2021.15
COPY --from=level-zero-tests /opt/level-zero-tests /opt/level-zero-tests
COPY --from=benchmarks /opt/benchmarks /opt/benchmarks
COPY environment.sh entrypoint.sh checks.sh check.sh shim.sh store-environment.sh /opt/xpukit/
RUN mkdir -p /opt/xpukit/bin && \
    for program in clinfo vainfo xpu-smi oneccl_benchmark matrix_mul_mkl; do \
      ln -s ../shim.sh "/opt/xpukit/bin/$program"; done && \
    /opt/xpukit/store-environment.sh /opt/xpukit/oneapi.sh /etc/ld.so.conf.d/xpukit.conf && \
    echo /opt/benchmarks/lib >>/etc/ld.so.conf.d/xpukit.conf && \
    ldconfig
RUN ln -s /opt/xpukit/environment.sh /etc/profile.d/xpukit.sh && \
    echo '. /opt/xpukit/environment.sh' >>/etc/bash.bashrc
ENV PATH=/opt/xpukit/bin:/opt/benchmarks/bin:/opt/level-zero-tests:/opt/level-zero-tests/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    BASH_ENV=/opt/xpukit/environment.sh
LABEL org.opencontainers.image.title="platform" \
      org.opencontainers.image.description="Driver user space, Level Zero, oneCCL, level-zero-tests and benchmark tools: what an engine image stands on" \
      org.opencontainers.image.version="1" \
      org.opencontainers.image.source="xpukit recipe platform" \
      org.opencontainers.image.revision="test" \
      org.opencontainers.image.base.name="ubuntu:24.04@sha256:69cecf4bbf72d2d44a9eef1b71fb98c7fb973d78af11399deccef19beb008ad9" \
      io.xpukit.recipe="platform/ubuntu" \
      io.xpukit.settings="{\"base_digest\":\"\",\"base_image\":\"ubuntu:24.04@sha256:69cecf4bbf72d2d44a9eef1b71fb98c7fb973d78af11399deccef19beb008ad9\",\"benchmarks\":true,\"builder_image\":\"intel/deep-learning-essentials:2025.3.2-0-devel-ubuntu24.04\",\"driver\":\"ppa\",\"driver_packages\":[\"libze1\",\"libze-intel-gpu1\",\"intel-opencl-icd\",\"intel-ocloc\",\"intel-metrics-discovery\",\"intel-gsc\",\"intel-media-va-driver-non-free\",\"libmfx-gen1\",\"libvpl2\",\"vainfo\"],\"git_host\":\"https://github.com\",\"level_zero_tests\":true,\"oneccl\":\"2021.15.9.14\",\"packages\":[\"clinfo\",\"hwloc-nox\",\"numactl\",\"ocl-icd-libopencl1\",\"pciutils\"],\"ubuntu_release\":\"noble\",\"xpu_smi\":\"1.3.6\"}" \
      io.xpukit.engine="none" \
      io.xpukit.era="plain"
# bench, by number: what starts the container need not know the name.
USER 10001
WORKDIR /home/bench
# Nothing listens here: there is no health to ask for.
HEALTHCHECK NONE
ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]

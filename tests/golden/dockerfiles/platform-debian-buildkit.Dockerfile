FROM debian:12-slim@sha256:abd67ffcfa541b485a3dff59865ab629aa048a6c613e639d36e7456b0b229241 AS runtime
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean && \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      intel-media-va-driver \
      intel-opencl-icd \
      libze1 \
      vainfo \
      clinfo \
      hwloc-nox \
      numactl \
      ocl-icd-libopencl1 \
      pciutils
RUN groupadd --system --force render && groupadd --system --force video && \
    useradd --create-home --uid 10001 --groups render,video bench
COPY environment.sh entrypoint.sh checks.sh check.sh shim.sh store-environment.sh /opt/xpukit/
RUN mkdir -p /opt/xpukit/bin && \
    for program in clinfo vainfo; do \
      ln -s ../shim.sh "/opt/xpukit/bin/$program"; done && \
    /opt/xpukit/store-environment.sh /opt/xpukit/oneapi.sh /etc/ld.so.conf.d/xpukit.conf && \
    ldconfig
RUN ln -s /opt/xpukit/environment.sh /etc/profile.d/xpukit.sh && \
    echo '. /opt/xpukit/environment.sh' >>/etc/bash.bashrc
ENV PATH=/opt/xpukit/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    BASH_ENV=/opt/xpukit/environment.sh
LABEL org.opencontainers.image.title="platform" \
      org.opencontainers.image.description="Driver user space, Level Zero, oneCCL, level-zero-tests and benchmark tools: what an engine image stands on" \
      org.opencontainers.image.version="1" \
      org.opencontainers.image.source="xpukit recipe platform" \
      org.opencontainers.image.revision="test" \
      org.opencontainers.image.base.name="debian:12-slim@sha256:abd67ffcfa541b485a3dff59865ab629aa048a6c613e639d36e7456b0b229241" \
      io.xpukit.recipe="platform/debian" \
      io.xpukit.settings="{\"base_digest\":\"\",\"base_image\":\"debian:12-slim@sha256:abd67ffcfa541b485a3dff59865ab629aa048a6c613e639d36e7456b0b229241\",\"benchmarks\":false,\"builder_image\":\"intel/deep-learning-essentials:2025.3.2-0-devel-ubuntu24.04\",\"driver\":\"distribution\",\"driver_packages\":[\"intel-media-va-driver\",\"intel-opencl-icd\",\"libze1\",\"vainfo\"],\"git_host\":\"https://github.com\",\"level_zero_tests\":false,\"oneccl\":\"none\",\"packages\":[\"clinfo\",\"hwloc-nox\",\"numactl\",\"ocl-icd-libopencl1\",\"pciutils\"],\"ubuntu_release\":\"noble\",\"xpu_smi\":\"none\"}" \
      io.xpukit.engine="none" \
      io.xpukit.era="plain"
# bench, by number: what starts the container need not know the name.
USER 10001
WORKDIR /home/bench
# Nothing listens here: there is no health to ask for.
HEALTHCHECK NONE
ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]

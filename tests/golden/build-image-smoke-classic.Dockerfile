FROM debian:12-slim AS python
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
      six==1.16.0

FROM debian:12-slim AS runtime
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      numactl \
      python3 && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb
RUN groupadd --system --force render && groupadd --system --force video && \
    useradd --create-home --uid 10001 --groups render,video serving
COPY --from=python /opt/venv /opt/venv
COPY stub_engine.py stub_answers.py environment.sh entrypoint.sh healthcheck.py check.sh /opt/xpukit/
# First in PATH, however the container is started: each shim loads the environment, then runs the real program.
COPY shim.sh /opt/xpukit/bin/stub-engine
RUN ln -s /opt/xpukit/environment.sh /etc/profile.d/xpukit.sh && \
    echo '. /opt/xpukit/environment.sh' >>/etc/bash.bashrc
ENV PATH=/opt/xpukit/bin:/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    BASH_ENV=/opt/xpukit/environment.sh \
    XPUKIT_PORT=8000
LABEL org.opencontainers.image.title="smoke" \
      org.opencontainers.image.description="A stub OpenAI-compatible server on any Debian or Ubuntu base: builds in a minute, answers like an engine" \
      org.opencontainers.image.version="1" \
      org.opencontainers.image.source="xpukit recipe smoke" \
      org.opencontainers.image.revision="xpukit-VERSION" \
      org.opencontainers.image.base.name="debian:12-slim" \
      io.xpukit.recipe="smoke" \
      io.xpukit.settings="{\"base_image\":\"debian:12-slim\",\"packages\":[],\"port\":8000,\"python\":\"3.11\",\"wheels\":[\"six==1.16.0\"]}" \
      io.xpukit.engine="stub" \
      io.xpukit.engine-version="1" \
      io.xpukit.era="venv"
EXPOSE 8000
USER 10001
WORKDIR /home/serving
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["python3", "/opt/xpukit/healthcheck.py"]
ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]
CMD ["stub-engine", "serve"]

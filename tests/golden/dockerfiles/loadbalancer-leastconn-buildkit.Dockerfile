FROM debian:12-slim
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean && \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      gawk \
      haproxy \
      socat
# A user of its own, who alone may reach the control socket.
RUN useradd --create-home --uid 10001 balancer && \
    install -d -m 0700 -o 10001 -g 10001 /run/balancer
COPY haproxy.cfg /etc/haproxy/haproxy.cfg
COPY entrypoint.sh healthcheck.sh check.sh /opt/xpukit/
COPY backend.sh /usr/local/bin/backend
ENV XPUKIT_LISTEN=0.0.0.0 \
    XPUKIT_PORT=8080
LABEL org.opencontainers.image.title="loadbalancer" \
      org.opencontainers.image.description="HAProxy from Debian's package in front of several engines: health checks, draining, streaming, one endpoint" \
      org.opencontainers.image.version="1" \
      org.opencontainers.image.source="xpukit recipe loadbalancer" \
      org.opencontainers.image.revision="test" \
      org.opencontainers.image.base.name="debian:12-slim" \
      io.xpukit.recipe="loadbalancer/leastconn" \
      io.xpukit.settings="{\"answer_timeout_s\":1800,\"backends\":[\"engine1=engine1:8000\",\"engine2=engine2:8000\"],\"balance\":\"leastconn\",\"base_image\":\"debian:12-slim\",\"connect_timeout_s\":5,\"health_interval_ms\":1000,\"health_path\":\"/health\",\"listen\":\"0.0.0.0\",\"max_connections\":2000,\"max_per_backend\":0,\"metrics_port\":0,\"names_at_start\":true,\"port\":8080,\"prefix_bytes\":1024,\"queue_timeout_s\":120,\"session_header\":\"x-session-id\",\"stop_after_s\":60}" \
      io.xpukit.engine="none" \
      io.xpukit.era="plain"
EXPOSE 8080
USER 10001:10001
WORKDIR /home/balancer
# Requests that run may end; SIGTERM would cut them off.
STOPSIGNAL SIGUSR1
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["/opt/xpukit/healthcheck.sh"]
ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]

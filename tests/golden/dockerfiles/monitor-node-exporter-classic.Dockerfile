FROM debian:12-slim
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates \
      prometheus-node-exporter && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb
# A user of its own, and a place for data that it owns: a volume mounted there takes over the owner.
RUN useradd --create-home --uid 10001 monitor && \
    mkdir -p /data /etc/prometheus/rules.d && \
    chown 10001:10001 /data
COPY entrypoint.sh healthcheck.sh check.sh /opt/xpukit/
ENV XPUKIT_COMPONENT=node-exporter \
    XPUKIT_LISTEN=127.0.0.1 \
    XPUKIT_PORT=9100
LABEL org.opencontainers.image.title="monitor" \
      org.opencontainers.image.description="Prometheus, Alertmanager or node exporter from Debian's packages, configured by settings, on loopback by default" \
      org.opencontainers.image.version="1" \
      org.opencontainers.image.source="xpukit recipe monitor" \
      org.opencontainers.image.revision="test" \
      org.opencontainers.image.base.name="debian:12-slim" \
      io.xpukit.recipe="monitor/node-exporter" \
      io.xpukit.settings="{\"alertmanagers\":[],\"base_image\":\"debian:12-slim\",\"component\":\"node-exporter\",\"down_after_s\":60,\"listen\":\"127.0.0.1\",\"metrics_path\":\"/metrics\",\"port\":9100,\"retention_days\":15,\"retention_gb\":10,\"scrape_interval_s\":15,\"targets\":[],\"webhook_url\":\"\"}" \
      io.xpukit.engine="none" \
      io.xpukit.era="plain"
EXPOSE 9100
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["/opt/xpukit/healthcheck.sh"]
ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]

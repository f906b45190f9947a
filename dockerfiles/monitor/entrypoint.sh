#!/bin/bash
# Runs this image's program with its configuration and what is appended, or another program that is named.
set -euo pipefail
if [[ -n "${1:-}" && "$1" != -* ]]; then
  exec "$@"
fi
listen="$XPUKIT_LISTEN:$XPUKIT_PORT"
case "$XPUKIT_COMPONENT" in
  prometheus)
    # Neither lifecycle nor admin requests: who reaches the port could stop it or delete what it holds.
    exec prometheus --config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/data \
      --storage.tsdb.retention.time="${XPUKIT_RETENTION_DAYS}d" --storage.tsdb.retention.size="${XPUKIT_RETENTION_GB}GB" \
      --web.listen-address="$listen" "$@"
    ;;
  alertmanager)
    # No cluster: it would listen on another port of every address.
    exec prometheus-alertmanager --config.file=/etc/prometheus/alertmanager.yml --storage.path=/data \
      --cluster.listen-address= --web.listen-address="$listen" "$@"
    ;;
  node-exporter) exec prometheus-node-exporter --web.listen-address="$listen" "$@" ;;
  *)
    echo "XPUKIT_COMPONENT is '$XPUKIT_COMPONENT': not prometheus, alertmanager or node-exporter" >&2
    exit 2
    ;;
esac

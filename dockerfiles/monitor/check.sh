#!/bin/bash
# Runs inside the built image: what must be true of it. One line each, "ok NAME" or "failed NAME: why"; exit 1 if any.
set -uo pipefail
failed=0
check() {
  local name=$1 said
  shift
  if said=$("$@" 2>&1); then echo "ok $name"; else
    echo "failed $name: ${said##*$'\n'}"
    failed=1
  fi
}
check not-root test "$(id -u)" -ne 0
check data-writable test -w /data
check version /opt/xpukit/entrypoint.sh --version
case "$XPUKIT_COMPONENT" in
  prometheus)
    check config promtool check config /etc/prometheus/prometheus.yml
    check rules promtool check rules /opt/xpukit/rules/targets.yml
    ;;
  alertmanager) check config amtool check-config /etc/prometheus/alertmanager.yml ;;
  *) ;;
esac
exit "$failed"

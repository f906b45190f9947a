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
reads_this_machine() {
  xpukit exporter --once --no-level-zero --no-xpu-smi | grep -q '^xpukit_exporter_info{'
}
check not-root test "$(id -u)" -ne 0
check version xpukit --version
check reads-this-machine reads_this_machine
exit "$failed"

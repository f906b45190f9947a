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
refuses() { ! "$@"; }
check not-root test "$(id -u)" -ne 0
check uploads-writable test -w "$GRADIO_TEMP_DIR"
check version /opt/xpukit/entrypoint.sh --version
check closed-without-password refuses env XPUKIT_UI_URL=http://127.0.0.1:1/v1 XPUKIT_UI_PUBLISHED= timeout 60 /opt/xpukit/entrypoint.sh
exit "$failed"

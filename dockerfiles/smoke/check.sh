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
check environment test "${XPUKIT_ENVIRONMENT:-}" = loaded
check not-root test "$(id -u)" -ne 0
check engine stub-engine --version
check numactl numactl --show
check python /opt/venv/bin/python -c "import json, ssl, sqlite3"
exit "$failed"

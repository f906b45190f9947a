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
# Started as it would be alone: nobody said where it is published, and nobody set a password.
asks_for_password() (
  limit=$((SECONDS + 90)) status=""
  XPUKIT_UI_PUBLISHED='' XPUKIT_UI_PASSWORD='' /opt/xpukit/entrypoint.sh >/dev/null 2>&1 &
  page=$!
  trap 'kill "$page" 2>/dev/null' EXIT
  until { exec 3<>"/dev/tcp/127.0.0.1/$XPUKIT_PORT"; } 2>/dev/null; do
    ((SECONDS < limit)) || { echo "nothing listens on port $XPUKIT_PORT"; exit 1; }
    sleep 0.3
  done
  printf 'GET /config HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3
  read -r -t 30 _ status _ <&3
  [[ "$status" == 401 ]] || { echo "GET /config: ${status:-no answer}"; exit 1; }
)
check not-root test "$(id -u)" -ne 0
check uploads-writable test -w "$GRADIO_TEMP_DIR"
check version /opt/xpukit/entrypoint.sh --version
check asks-for-password asks_for_password
exit "$failed"

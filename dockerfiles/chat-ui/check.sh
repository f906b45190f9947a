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
asks_for_password() {
  local status=""
  exec 3<>"/dev/tcp/127.0.0.1/$XPUKIT_PORT" || return 1
  printf 'GET /config HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3
  # Its first answer may take long on a busy machine.
  read -r -t 60 _ status _ <&3
  [[ "$status" == 401 ]] || { echo "GET /config: ${status:-no answer}"; return 1; }
}
check not-root test "$(id -u)" -ne 0
check uploads-writable test -w "$GRADIO_TEMP_DIR"
check version /opt/xpukit/entrypoint.sh --version
# Tried as it starts alone: nobody said where it is published.
check asks-for-password asks_for_password
exit "$failed"

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
check socket-folder test -w /run/balancer
check version haproxy -v
check config haproxy -c -f /etc/haproxy/haproxy.cfg
# An admin socket on an address would let anyone who reaches it take engines out.
check no-network-socket bash -c '! grep -Eq "^[[:space:]]*stats socket [^/]" /etc/haproxy/haproxy.cfg'
exit "$failed"

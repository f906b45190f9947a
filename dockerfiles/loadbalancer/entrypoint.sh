#!/bin/bash
# Checks the configuration, then runs HAProxy with it and what is appended, or another program that is named.
set -euo pipefail
if [[ -n "${1:-}" && "$1" != -* ]]; then
  exec "$@"
fi
haproxy -c -q -f /etc/haproxy/haproxy.cfg
exec haproxy -db -f /etc/haproxy/haproxy.cfg "$@"

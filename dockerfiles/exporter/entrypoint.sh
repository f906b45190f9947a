#!/bin/bash
# Runs the exporter with what is appended, or another program that is named.
set -euo pipefail
if [[ -n "${1:-}" && "$1" != -* ]]; then
  exec "$@"
fi
exec xpukit exporter --listen "$XPUKIT_LISTEN" --port "$XPUKIT_PORT" "$@"

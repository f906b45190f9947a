#!/bin/bash
# Runs the page with what is appended, or another program that is named.
set -euo pipefail
if [[ -n "${1:-}" && "$1" != -* ]]; then
  exec "$@"
fi
exec /opt/venv/bin/python /opt/xpukit/chat_page.py "$@"

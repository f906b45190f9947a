#!/bin/bash
# Loads the environment, then runs what was asked: a program with its arguments, or only arguments for the engine
# (options, or a model's name first).
set -euo pipefail
# shellcheck source=/dev/null
. /opt/xpukit/environment.sh
if [[ "${1:-}" == serve ]]; then
  exec stub-engine "$@"
elif [[ -n "${1:-}" && "$1" != -* ]] && command -v -- "$1" >/dev/null; then
  exec "$@"
fi
exec stub-engine serve "$@"

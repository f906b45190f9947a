#!/bin/bash
# Runs the program of this file's name with the engine's environment, also where no entry point ran (docker exec, an
# overridden entry point, compose).
set -euo pipefail
# shellcheck source=/dev/null
. /opt/xpukit/environment.sh
exec python3 "/opt/xpukit/$(basename "$0" | tr - _).py" "$@"

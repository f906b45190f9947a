#!/bin/bash
# Runs the program of this file's name with the image's environment, also where no entry point ran (docker exec, an
# overridden entry point, compose).
set -euo pipefail
# shellcheck source=/dev/null
. /opt/xpukit/environment.sh
name=${0##*/}
others=":$PATH:"
others=${others//:\/opt\/xpukit\/bin:/:}
if ! real=$(PATH=${others//::/:} type -P -- "$name"); then
  echo "$name: not in this image" >&2
  exit 127
fi
exec "$real" "$@"

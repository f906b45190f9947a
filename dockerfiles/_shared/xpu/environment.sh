#!/bin/bash
# The environment of this image. Sourced by the entry point, by every shim, by interactive shells and, through BASH_ENV,
# by every other bash; harmless when sourced twice.
if [ "${XPUKIT_ENVIRONMENT:-}" != loaded ]; then
  if [ -r /opt/xpukit/oneapi.sh ]; then
    # shellcheck source=/dev/null
    . /opt/xpukit/oneapi.sh
  fi
  export XPUKIT_ENVIRONMENT=loaded
fi
# A login shell starts PATH anew, also where all the rest is loaded: what of the image is missing is put back.
for xpukit_place in /opt/level-zero-tests/bin /opt/level-zero-tests /opt/benchmarks/bin /opt/venv/bin; do
  case ":$PATH:" in *":$xpukit_place:"*) continue ;; esac
  if [ -d "$xpukit_place" ]; then PATH="$xpukit_place:$PATH"; fi
done
case "$PATH:" in
  /opt/xpukit/bin:*) ;;
  *) PATH="/opt/xpukit/bin:$PATH" ;;
esac
if [ -r /opt/xpukit/oneapi.path ]; then
  xpukit_place=$(</opt/xpukit/oneapi.path)
  case ":$PATH:" in
    *":$xpukit_place:"*) ;;
    *) PATH="$PATH:$xpukit_place" ;;
  esac
fi
export PATH
unset xpukit_place

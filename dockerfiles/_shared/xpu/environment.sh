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
case "$PATH:" in
  /opt/xpukit/bin:*) ;;
  *) export PATH="/opt/xpukit/bin:$PATH" ;;
esac

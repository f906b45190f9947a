#!/bin/bash
# The environment of the engine in this image. Sourced by the entry point, by every shim and, through BASH_ENV, by every
# bash; it must be harmless when sourced twice.
export XPUKIT_ENVIRONMENT=loaded
export STUB_ENGINE_HOME=${STUB_ENGINE_HOME:-/opt/xpukit}
# A login shell has set PATH anew before it comes here.
case ":$PATH:" in
  *:/opt/xpukit/bin:*) ;;
  *) export PATH="/opt/xpukit/bin:/opt/venv/bin:$PATH" ;;
esac

#!/bin/bash
# Runs inside the built image: what must be true of it. Without a GPU it says what it could not see. Exit 1 if any failed.
set -uo pipefail
# shellcheck source=/dev/null
. /opt/xpukit/checks.sh
check environment bare_start
check not-root test "$(id -u)" -ne 0
check level-zero-loader has_library libze_loader.so.1
check opencl-loader has_library libOpenCL.so.1
check opencl-icd compgen -G "/etc/OpenCL/vendors/*.icd"
check clinfo clinfo --version
check numactl numactl --show
check lspci lspci --version
if compgen -G "/opt/intel/oneapi/ccl/*/lib/libccl.so.1" >/dev/null; then check oneccl has_library libccl.so.1; fi
if [ -d /opt/level-zero-tests ]; then check level-zero-tests type -P ze_peer; fi
if type -P xpu-smi >/dev/null; then check xpu-smi xpu-smi --version; fi
if has_gpu; then
  check opencl-devices clinfo --list
  if [ -d /opt/level-zero-tests ]; then check level-zero-devices ze_peer -q; fi
else
  skip devices "no /dev/dri/renderD* in this container: whether the driver opens a GPU was not seen"
fi
finish

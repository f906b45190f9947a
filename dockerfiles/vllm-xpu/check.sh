#!/bin/bash
# Runs inside the built image: what must be true of it. Without a GPU it says what it could not see. Exit 1 if any failed.
set -uo pipefail
# shellcheck source=/dev/null
. /opt/xpukit/checks.sh
check environment bare_start
check environment-by-path path_start
check not-root test "$(id -u)" -ne 0
check venv in_venv
check engine-version vllm --version
check engine-help vllm serve --help
check import python3 -c "import vllm"
check no-wheels no_wheels
check numactl numactl --show
check level-zero-loader has_library libze_loader.so.1
if [ -n "${VLLM_QUANTIZE_Q40_LIB:-}" ]; then check sym-int4 test -r "$VLLM_QUANTIZE_Q40_LIB"; fi
if [ -d /opt/intel/oneapi/ccl/2021.15 ]; then check oneccl has_library libccl.so.1; fi
if [ "$(python3 -c 'import vllm; print(vllm.__version__)')" = stub ]; then
  check dependencies pip check
  skip kernels "a stub stands in vLLM's place"
else
  check torch-xpu python3 -c "import torch; assert torch.version.xpu or torch.xpu._is_compiled(), torch.__version__"
  check kernels python3 -c "import vllm_xpu_kernels"
fi
if has_gpu; then
  if type -P clinfo >/dev/null; then check devices clinfo --list; fi
  if python3 -c "import torch" 2>/dev/null; then
    check torch-devices python3 -c "import torch; assert torch.xpu.device_count() > 0"
  fi
else
  skip devices "no /dev/dri/renderD* in this container: whether vLLM runs on a GPU was not seen"
fi
finish

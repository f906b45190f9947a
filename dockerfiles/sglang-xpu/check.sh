#!/bin/bash
# Runs inside the built image: what must be true of it. Without a GPU it says what it could not see. Exit 1 if any failed.
set -uo pipefail
# shellcheck source=/dev/null
. /opt/xpukit/checks.sh
check environment bare_start
check environment-by-path path_start
check not-root test "$(id -u)" -ne 0
check venv in_venv
check engine-version python3 -c "import sglang; print(sglang.__version__)"
check engine-help python3 -m sglang.launch_server --help
check kernels python3 -c "import sgl_kernel"
check no-wheels no_wheels
check level-zero-loader has_library libze_loader.so.1
if has_gpu; then
  check torch-devices python3 -c "import torch; assert torch.xpu.device_count() > 0"
else
  skip devices "no /dev/dri/renderD* in this container: whether the engine runs on a GPU was not seen"
fi
finish

#!/usr/bin/env bash
# Sets up ComfyUI with a node and a workflow that ask @URL@; written by `xpukit serve --with-ui comfyui`.
#
#   bash install.sh [DIRECTORY]     installs into DIRECTORY (./ComfyUI), or brings it up to date; then says how to start it
#
# Nothing is changed outside DIRECTORY. The model runs in the engine, so that ComfyUI's own PyTorch needs no GPU.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
to=${1:-$PWD/ComfyUI}
for program in git python3; do
  command -v "$program" >/dev/null || { echo "install.sh: $program is missing" >&2; exit 127; }
done
if [ ! -e "$to/.git" ]; then
  git clone --branch @TAG@ --depth 1 @REPOSITORY@ "$to"
fi
[ -x "$to/.venv/bin/python" ] || python3 -m venv "$to/.venv"
"$to/.venv/bin/python" -m pip install -r "$to/requirements.txt"
mkdir -p "$to/custom_nodes/xpukit_endpoint" "$to/user/default/workflows"
cp "$here/xpukit_endpoint/__init__.py" "$to/custom_nodes/xpukit_endpoint/__init__.py"
cp "$here/workflow.json" "$to/user/default/workflows/xpukit-endpoint.json"
cat <<END
ComfyUI is in $to. Start it:
  cd $to && @KEY_HINT@.venv/bin/python main.py --cpu --listen 127.0.0.1 --port @PORT@
Open http://127.0.0.1:@PORT@ and the workflow xpukit-endpoint. ComfyUI knows no users: from another machine, use
  ssh -L @PORT@:127.0.0.1:@PORT@ $(hostname)
END

#!/bin/bash
# Runs oneAPI's scripts once, at build, and writes what they export: store-environment.sh SHELL_FILE LINKER_FILE.
# Later starts read the file: no start is slower for it, and none can forget it. Lists of directories are put before
# what the container was started with, but for PATH: it goes to a file of its own (SHELL_FILE with .path for .sh) and
# behind the image's own programs.
set -euo pipefail
shell_file=$1 linker_file=$2
: >"$shell_file"
: >"$linker_file"
rm -f "${shell_file%.sh}.path"
scripts=()
for script in /opt/intel/oneapi/setvars.sh /opt/intel/oneapi/ccl/2021.15/env/vars.sh; do
  if [ -r "$script" ]; then scripts+=("$script"); fi
done
if [ -z "${scripts[*]-}" ]; then exit 0; fi
# shellcheck disable=SC2016 # expanded by the inner shell, which starts with nothing set
loader='for script in "$@"; do source "$script" --force >/dev/null || exit 1; done; env -0'
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
said=$(mktemp)
env -i HOME=/root PATH="$path" bash --norc --noprofile -c "$loader" loader "${scripts[@]}" >"$said"
while IFS= read -r -d '' line; do
  name=${line%%=*} value=${line#*=}
  case "$name" in
    HOME | PWD | OLDPWD | SHLVL | _ | SETVARS_*) continue ;;
    PATH)
      value=${value%"$path"} value=${value%:}
      if [ -n "$value" ]; then echo "$value" >"${shell_file%.sh}.path"; fi
      ;;
    *PATH) printf 'export %s=%q$%s\n' "$name" "${value%:}" "{$name:+:\$$name}" ;;
    *) printf 'export %s=%q\n' "$name" "$value" ;;
  esac
  if [ "$name" = LD_LIBRARY_PATH ]; then tr ':' '\n' <<<"$value" | sed '/^$/d' >"$linker_file"; fi
done <"$said" >"$shell_file"
rm -f "$said"

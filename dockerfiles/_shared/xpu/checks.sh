#!/bin/bash
# For check.sh: one line a check, "ok NAME", "failed NAME: why", or "skipped NAME: why" for what cannot be seen here.
{% include "check_function.sh" %}
skip() { echo "skipped $1: $2"; }
# The last line of check.sh.
finish() { exit "$failed"; }
has_gpu() { compgen -G "/dev/dri/renderD*" >/dev/null; }
# The dynamic linker finds the library by this name in its own configuration, without LD_LIBRARY_PATH.
has_library() { env -u LD_LIBRARY_PATH /sbin/ldconfig -p | grep -F "$1 " >/dev/null; }
in_venv() { [ "$(type -P python3)" = /opt/xpukit/bin/python3 ] && [ "$(python3 -c 'import sys; print(sys.prefix)')" = /opt/venv ]; }
# What was set up without any script having run: an empty environment but for what the image itself sets.
# shellcheck disable=SC2016 # expanded by the inner shell
bare_start() { [ "$(env -u XPUKIT_ENVIRONMENT bash -c 'echo "$XPUKIT_ENVIRONMENT"')" = loaded ]; }
# Debian's python3-venv brings its own, below /usr.
no_wheels() { [ -z "$(find / -xdev -name '*.whl' -not -path '/usr/*' -print -quit 2>/dev/null)" ]; }
# A program of /opt/venv named by its path, where neither shell nor shim ran.
# shellcheck disable=SC2016 # a program for Python
path_start() { env -u XPUKIT_ENVIRONMENT -u BASH_ENV /opt/venv/bin/python3 -c 'import os; assert os.environ["XPUKIT_ENVIRONMENT"] == "loaded"'; }

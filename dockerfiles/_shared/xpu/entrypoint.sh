#!/bin/bash
# Loads the environment, then runs what was asked: a program with its arguments, or the engine with these arguments
# (options, or a model's name first).
set -euo pipefail
# shellcheck source=/dev/null
. /opt/xpukit/environment.sh
engine=({{ recipe.answers.engine_argv | join(" ") }})
{% if recipe.answers.engine_argv[-1] == "serve" %}
# With or without the engine's own word: `IMAGE serve MODEL` and `IMAGE MODEL` are the same.
if [ "${1:-}" = serve ]; then
  shift
elif [ "$#" -gt 0 ] && [ ! -d "$1" ] && type -P -- "$1" >/dev/null; then
{% else %}
if [ "$#" -gt 0 ] && [ ! -d "$1" ] && type -P -- "$1" >/dev/null; then
{% endif %}
  exec "$@"
fi
{% if recipe.answers.port %}
has() {
  local flag=$1 given
  shift
  for given in "$@"; do
    # A configuration file may hold the flag: what the command line adds would win over it.
    case "$given" in "$flag" | "$flag"=* | --config | --config=*) return 0 ;; esac
  done
  return 1
}
# On the container's addresses and on XPUKIT_PORT, unless the arguments say otherwise.
listen=()
has --host "$@" || listen+=(--host 0.0.0.0)
has --port "$@" || listen+=(--port "${XPUKIT_PORT}")
exec "${engine[@]}" "$@" "${listen[@]}"
{% else %}
exec "${engine[@]}" "$@"
{% endif %}

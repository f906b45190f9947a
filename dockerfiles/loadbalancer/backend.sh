#!/bin/bash
# Shows and controls the engines behind the balancer, through its socket:
#   backend list                  name, state, requests that run, requests that wait
#   backend drain NAME            no new requests; those that run may end
#   backend enable NAME           new requests again
#   backend disable NAME          out at once, without health checks (maintenance)
#   backend wait NAME SECONDS     until none of its requests runs; exit 1 when the time is over
set -euo pipefail
ask() {
  local said
  said=$(echo "$1" | socat -t 2 - UNIX-CONNECT:/run/balancer/admin.sock)
  # HAProxy says nothing when a command succeeded.
  echo "$said"
}
list() {
  ask "show stat engines 4 -1" | awk -F, '/^#/ { sub(/^# /, ""); for (i = 1; i <= NF; i++) column[$i] = i; next }
    NF { print $column["svname"], $column["status"], $column["scur"], $column["qcur"] }'
}
set_state() {
  local said
  said=$(ask "set server engines/$1 state $2")
  [[ -z "${said//[[:space:]]/}" ]] || {
    echo "$1: $said" >&2
    exit 1
  }
}
await_idle() {
  local name=$1 until=$((SECONDS + $2)) row
  while row=$(list | awk -v name="$name" '$1 == name { print $3 + $4 }'); do
    [[ -n "$row" ]] || {
      echo "$name: no such engine" >&2
      exit 2
    }
    [[ "$row" -gt 0 ]] || return 0
    [[ "$SECONDS" -lt "$until" ]] || {
      echo "$name: $row requests still run" >&2
      exit 1
    }
    sleep 0.2
  done
}
case "${1:-}:$#" in
  list:1) list ;;
  drain:2) set_state "$2" drain ;;
  enable:2) set_state "$2" ready ;;
  disable:2) set_state "$2" maint ;;
  wait:3) await_idle "$2" "$3" ;;
  *)
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac

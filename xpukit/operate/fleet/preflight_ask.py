"""What each host is asked before a launch: one POSIX script over ssh, and what it said."""

from __future__ import annotations

import time

import msgspec

from xpukit.host import Host
from xpukit.operate.fleet.hosts import FleetHost
from xpukit.operate.fleet.reach import read_pairs
from xpukit.operate.fleet.ssh import SshSettings, explain_ssh

# A large model is read for minutes with --full-hash.
_ASK_S = 120.0
_FULL_S = 3600.0

# $1 image, $2 model's folder, $3 "full" or "", the rest: the other hosts' addresses or names.
_SCRIPT = r"""
image=$1 model=$2 full=$3
shift 3
others=$*
set -- $SSH_CONNECTION
echo "address=$3"
device=$(ip -o addr show 2>/dev/null | awk -v a="$3" '{split($4, p, "/"); if (p[1] == a) print $2}' | head -n 1)
echo "device=$device"
mtu=$([ -z "$device" ] || ip -o link show dev "${device%%@*}" 2>/dev/null | sed 's/.* mtu \([0-9]*\) .*/\1/')
echo "mtu=$mtu"
if command -v ping >/dev/null && [ -n "$mtu" ]; then
  for other in $others; do
    if ping -n -c 1 -W 2 -M do -s $((mtu - 28)) "$other" >/dev/null 2>&1; then echo "path=ok $other"
    elif ping -n -c 1 -W 2 "$other" >/dev/null 2>&1; then echo "path=short $other"
    else echo "path=silent $other"; fi
  done | tr '\n' ';' | sed 's/path=//g; s/^/paths=/'
  echo
fi
if command -v docker >/dev/null; then
  said=$(docker info --format '{{.Swarm.LocalNodeState}}' 2>&1) && echo "swarm=$said" ||
    echo "docker_problem=$(printf %s "$said" | tail -n 1)"
  if [ -n "$image" ]; then
    said=$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null) && echo "image=$said"
  fi
else
  echo "docker_problem=docker is not installed"
fi
if [ -n "$model" ]; then
  if cd "$model" 2>/dev/null; then
    find -L . -type f ! -path '*/.*' | LC_ALL=C sort | while IFS= read -r file; do
      size=$(wc -c <"$file")
      if [ -n "$full" ] || [ "$size" -le 16777216 ]; then sum=$(sha256sum <"$file")
      else sum=$( (head -c 1048576 "$file"; tail -c 1048576 "$file") | sha256sum); fi
      echo "$file $size $sum"
    done | sha256sum | sed 's/ .*//; s/^/model=/'
    echo "model_bytes=$(find -L . -type f ! -path '*/.*' -exec wc -c {} \; | awk '{n += $1} END {printf "%.0f", n}')"
  else
    echo "model_problem=$model: no such folder here"
  fi
fi
command -v timedatectl >/dev/null && echo "synchronised=$(timedatectl show -p NTPSynchronized --value 2>/dev/null)"
for n in 1 2 3; do echo "clock=$(date +%s.%N)"; sleep 0.05; done
"""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a host said. `clock_s`: its clock minus ours, late by no more than the network's delay; `methods`: what its
    sshd takes; `said`: the script's pairs."""

    host: FleetHost
    problem: str = ""
    clock_s: float | None = None
    methods: tuple[str, ...] = ()
    said: dict[str, str] = {}


def ask_before(
    host: Host, settings: SshSettings, target: FleetHost, others: tuple[FleetHost, ...], *, image: str, model: str,
    full_hash: bool,
) -> Answer:  # fmt: skip
    """Ask one host everything."""
    clocks: list[float] = []

    def read(line: str) -> None:
        name, _, value = line.partition("=")
        if name == "clock":
            try:
                clocks.append(float(value) - time.time())
            except ValueError:  # a date without %N
                return

    import shlex

    words = (image, model, "full" if full_hash else "", *(one.name for one in others))
    argv = (*settings.argv, "-T", target.ssh, shlex.join(("sh", "-s", "--", *words)))
    ran = host.run(argv, timeout_s=_FULL_S if full_hash else _ASK_S, input=_SCRIPT.encode(), on_line=read)
    if not ran.ok:
        return Answer(host=target, problem=explain_ssh(ran))
    return Answer(
        host=target,
        # Each is late by the way here: the greatest is the least late.
        clock_s=max(clocks, default=None),
        methods=_ask_methods(host, settings, target),
        said=read_pairs(ran.text),
    )


def _ask_methods(host: Host, settings: SshSettings, target: FleetHost) -> tuple[str, ...]:
    """The ways to log in that the host's sshd offers: asked for none, it names them."""
    none = SshSettings(config=settings.config, strict=settings.strict)
    argv = (*none.argv, "-o", "PreferredAuthentications=none", "-T", target.ssh, "true")
    said = host.run(argv, timeout_s=30).err_text
    start, end = said.rfind("("), said.rfind(")")
    return tuple(word.strip() for word in said[start + 1 : end].split(",")) if 0 <= start < end else ()

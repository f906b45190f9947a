"""Shell lines around `ray start`: its token, and waiting with a limit for the head and for all machines."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from xpukit.facts.launch_forms import load_launch_forms
from xpukit.serve.forms.quoting import REFERENCE
from xpukit.serve.plan_types import Launch
from xpukit.serve.ray_token import MODE, TOKEN

_COUNT = (
    'import ray; ray.init(address="auto", logging_level="ERROR"); '
    'raise SystemExit(sum(node["Alive"] for node in ray.nodes()) < {count})'
)
_ADDRESS = "--address="


def export_token(ray: Launch) -> list[str]:
    """What the plan says of Ray's token, for all that a script starts."""
    lines = require_token(ray)
    return [*lines, f"export {MODE}=token {TOKEN}"] if lines else []


def require_token(ray: Launch) -> list[str]:
    """A line that ends a script where the token that is to be passed on is not there."""
    tokens = [one for one in ray.variables if one.name == TOKEN and REFERENCE.fullmatch(one.value)]
    return [f': "${{{TOKEN}:?is not set: {one.why}}}"' for one in tokens]


def warn_of_old_ray() -> list[str]:
    """Says so where this machine's Ray knows no token: it leaves the variables unread, and its ports open."""
    fact = load_launch_forms().ray
    said = f"knows no token ({fact.token_since} does): whoever reaches this machine's ports can run programs here"
    return [
        # `ray --version` takes seconds on a busy machine; where this finds none, `ray start` will say so.
        "have=$(python3 -c 'import importlib.metadata as m; print(m.version(\"ray\"))' 2>/dev/null)",
        f"oldest=$(printf '%s\\n' {fact.token_since} \"$have\" | sort -V | head -n 1)",
        f'if [ -n "$have" ] && [ "$oldest" != {fact.token_since} ]; then',
        f'  echo "warning: Ray $have {said}. Let only the machines of this plan reach them" >&2',
        "fi",
    ]


def wait_for_machines(count: int, *, watch: bool = False) -> list[str]:
    """Until so many machines have joined; shows Ray's state and ends with 1 otherwise.

    `watch`: this machine's part of Ray was started just before in the background, and its end is the end.
    """
    fact = load_launch_forms().ray
    check = f"python3 -c {shlex.quote(_COUNT.format(count=count))}"
    said = f"not all {count} machines joined Ray within {fact.join_s} s; these did:"
    return [
        f"limit=$((SECONDS + {fact.join_s}))",
        f"until {check}; do",
        f"  if ((SECONDS > limit)); then echo {shlex.quote(said)} >&2; ray status >&2; exit 1; fi",
        *(["  kill -0 $! 2>/dev/null || { echo 'Ray ended on this machine' >&2; exit 1; }"] if watch else []),
        f"  sleep {fact.poll_s}",
        "done",
    ]


def wait_for_head(ray: Launch) -> list[str]:
    """Until the head's port answers (nothing for the head itself)."""
    found = find_head(ray)
    if not found:
        return []
    fact = load_launch_forms().ray
    host, _, port = found.rpartition(":")
    said = f"no answer from Ray at {found} within {fact.join_s} s: is it started there, is its port open?"
    return [
        f"limit=$((SECONDS + {fact.join_s}))",
        f"until timeout 5 bash -c {shlex.quote(f': </dev/tcp/{host}/{port}')} 2>/dev/null; do",
        f"  if ((SECONDS > limit)); then echo {shlex.quote(said)} >&2; exit 1; fi",
        f"  sleep {fact.poll_s}",
        "done",
    ]


def find_head(ray: Launch) -> str:
    """HOST:PORT of the head that a worker joins, "" for the head."""
    return next((word.removeprefix(_ADDRESS) for word in ray.argv if word.startswith(_ADDRESS)), "")


def list_detached(ray: Launch) -> Sequence[str]:
    """`ray start` that returns once the machine's part runs."""
    return [word for word in ray.argv if word != "--block"]

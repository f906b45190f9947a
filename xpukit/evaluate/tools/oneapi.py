"""oneAPI's environment as values: its script is run once, and what it changed is handed to every command."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from xpukit.evaluate.tools.locate import Found, expand
from xpukit.facts.tools import load_tools
from xpukit.host import Host

TIMEOUT_S = 60.0
# The path is an argument, never part of the program text. With none, the environment as a shell sees it before.
_CAPTURE = 'script=$1; shift; if [ -n "$script" ]; then source "$script" >/dev/null 2>&1; fi; env -0'
_SHELLS_OWN = frozenset({"_", "SHLVL", "PWD", "OLDPWD"})


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """Variables that the script sets or changes. `problem`: why there are none although there is a script."""

    values: dict[str, str] = {}
    script: str = ""
    problem: str = ""


@lru_cache(maxsize=4)
def capture_oneapi(host: Host) -> Captured:
    """What the first of oneAPI's scripts that is here sets; empty where there is none. Asked once for each host."""
    script = next((path for pattern in load_tools().oneapi.scripts for path in expand(host, pattern)), "")
    return capture_script(host, script) if script else Captured()


def build_environment(host: Host, found: Found) -> dict[str, str]:
    """What the tool must be given of oneAPI's environment; nothing for one that is not here or needs none."""
    return capture_oneapi(host).values if found.path and found.tool.needs_oneapi else {}


def capture_script(host: Host, script: str) -> Captured:
    """The difference that sourcing `script` makes."""
    before, _ = _read_environment(host, "")
    after, problem = _read_environment(host, script)
    if not after:
        return Captured(script=script, problem=problem or f"{script}: ended the shell before its environment was read")
    changed = {name: value for name, value in after.items() if before.get(name) != value and name not in _SHELLS_OWN}
    return Captured(values=dict(sorted(changed.items())), script=script)


def _read_environment(host: Host, script: str) -> tuple[dict[str, str], str]:
    ran = host.run(["bash", "-c", _CAPTURE, "bash", script], timeout_s=TIMEOUT_S)
    values: dict[str, str] = {}
    for entry in ran.text.split("\0"):
        name, equals, value = entry.partition("=")
        if equals and name and not name.startswith("BASH_FUNC_"):
            values[name] = value
    return values, "" if ran.ok else f"{script}: {ran.describe_failure()}"

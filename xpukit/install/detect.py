"""Which distribution and release a machine has, and which stack is for it."""

from __future__ import annotations

import msgspec

from xpukit.core.errors import CouldNotJudgeError
from xpukit.facts.stacks import StackFacts, find_stack, load_stacks
from xpukit.install.site import Site

_FILES = ("/etc/os-release", "/usr/lib/os-release")


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """os-release(5): ID, VERSION_ID, PRETTY_NAME; "" for what it does not say."""

    id: str = ""
    version: str = ""
    name: str = ""


def read_release(site: Site) -> Release:
    """The release of a machine; empty when it has no os-release."""
    for path in _FILES:
        answer = site.read(path)
        if answer.error:
            continue
        fields = dict(line.partition("=")[::2] for line in answer.text.splitlines() if "=" in line)
        clean = {key.strip(): value.strip().strip("\"'") for key, value in fields.items()}
        return Release(id=clean.get("ID", ""), version=clean.get("VERSION_ID", ""), name=clean.get("PRETTY_NAME", ""))
    return Release()


def detect_stack(site: Site) -> StackFacts:
    """The stack for a machine. Raises CouldNotJudgeError where there is none."""
    release = read_release(site)
    stack = find_stack(release.id, release.version)
    if stack is None:
        known = ", ".join(stack.name for stack in load_stacks())
        raise CouldNotJudgeError(
            f"no stack is made for {release.name or 'this machine'} (ID={release.id} VERSION_ID={release.version})",
            hint=f"name one with --stack: {known}; container works wherever apt is",
        )
    return stack

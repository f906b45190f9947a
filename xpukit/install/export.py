"""Export: the versions that are installed here, to be applied again elsewhere."""

from __future__ import annotations

from typing import Any

import msgspec

from xpukit.core.errors import BadFactsError, CouldNotJudgeError
from xpukit.core.json_document import BAD_JSON, build_document
from xpukit.install.step import Scene
from xpukit.install.steps.packages import list_versions

SCHEMA = "xpukit.install-set/1"


class InstallSet(msgspec.Struct, frozen=True, kw_only=True):
    """What an export holds: a stack, its options and exact versions."""

    stack: str
    options: tuple[str, ...]
    packages: dict[str, str]


def export_set(scene: Scene) -> dict[str, Any]:
    """The document. Raises CouldNotJudgeError when nothing of the stack is installed."""
    versions = list_versions(scene)
    if not versions:
        raise CouldNotJudgeError(
            f"no package of stack {scene.stack.name} is installed here", hint="first: xpukit install apply"
        )
    found = InstallSet(stack=scene.stack.name, options=tuple(sorted(scene.options.chosen)), packages=versions)
    return build_document(SCHEMA, scene.site.host.identity().hostname, found)


def read_set(data: bytes, *, source: str) -> InstallSet:
    """An export read back. Raises BadFactsError."""
    try:
        raw = msgspec.json.decode(data)
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
            raise BadFactsError(f"{source}: not an export of xpukit install ({SCHEMA})", hint="xpukit install export")
        return msgspec.convert({key: raw.get(key) for key in ("stack", "options", "packages")}, InstallSet)
    except BAD_JSON as err:
        raise BadFactsError(f"{source}: {err}", hint="make it with: xpukit install export") from err

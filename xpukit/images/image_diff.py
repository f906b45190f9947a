"""What changed between two images: packages, engine flags, labels, environment, entry point, size per layer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.images.build import LABEL_SETTINGS
from xpukit.images.engine_flags import EngineFlags, list_flag_names
from xpukit.images.inventory import Inventory

Change = Literal["added", "removed", "changed"]
Area = Literal["package", "flag", "setting", "label", "environment", "start", "layer", "system"]


class ImageChange(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. `before` is "" for what was added, `after` for what was removed."""

    area: Area
    change: Change
    name: str
    before: str = ""
    after: str = ""


class ImageDiff(msgspec.Struct, frozen=True, kw_only=True):
    """All differences of `after` against `before`, by area and name. `notes` say what could not be compared."""

    before: str
    after: str
    size_before_bytes: int
    size_after_bytes: int
    changes: tuple[ImageChange, ...]
    notes: tuple[str, ...] = ()


def diff_images(
    before: Inventory, after: Inventory, *, flags_before: EngineFlags | None, flags_after: EngineFlags | None
) -> ImageDiff:
    """Compare two inventories and, where both are known, the engines' flags. Pure."""
    changes = compare_packages(before, after)
    notes = [*before.notes, *(note for note in after.notes if note not in before.notes)]
    if flags_before is not None and flags_after is not None:
        if flags_before.method != flags_after.method:
            notes.append("the flags of one image come from its parser, of the other from its help text")
        changes += compare_flags(flags_before, flags_after)
    elif (flags_before is None) != (flags_after is None):
        notes.append("the engine's flags are known of one of the two only")
    if before.image_id and after.image_id:
        old_labels, old_settings = _split_labels(before.labels)
        new_labels, new_settings = _split_labels(after.labels)
        changes += _compare_maps("setting", old_settings, new_settings)
        changes += _compare_maps("label", old_labels, new_labels)
        changes += _compare_maps("environment", before.env, after.env)
        changes += _compare_maps("start", _describe_start(before), _describe_start(after))
        changes += _compare_layers(before, after)
        changes += _compare_maps(
            "system",
            {"os": f"{before.os_id} {before.os_version}", "architecture": before.architecture},
            {"os": f"{after.os_id} {after.os_version}", "architecture": after.architecture},
        )
    return ImageDiff(
        before=before.image,
        after=after.image,
        size_before_bytes=before.size_bytes,
        size_after_bytes=after.size_bytes,
        changes=tuple(changes),
        notes=tuple(notes),
    )


def compare_packages(before: Inventory, after: Inventory) -> list[ImageChange]:
    """Packages by kind and name. Several versions of one (in several places) count together."""
    return _compare_maps("package", _index_packages(before), _index_packages(after))


def _index_packages(inventory: Inventory) -> dict[str, str]:
    versions: dict[str, set[str]] = {}
    for package in inventory.packages:
        name = package.name.lower().replace("_", "-") if package.kind == "pypi" else package.name
        versions.setdefault(f"{package.kind} {name}", set()).add(package.version)
    return {name: ", ".join(sorted(found)) for name, found in sorted(versions.items())}


def compare_flags(before: EngineFlags, after: EngineFlags) -> list[ImageChange]:
    """Flags by spelling; a changed one names what changed of default, choices, type and the like."""
    old, new = list_flag_names(before), list_flag_names(after)
    changes = []
    for name in sorted({*old, *new}):
        if name not in new:
            changes.append(ImageChange(area="flag", change="removed", name=name, before=_describe_flag(old[name])))
        elif name not in old:
            changes.append(ImageChange(area="flag", change="added", name=name, after=_describe_flag(new[name])))
        else:
            keys = [key for key in _COMPARED if old[name].get(key) != new[name].get(key)]
            if keys:
                changes.append(
                    ImageChange(
                        area="flag",
                        change="changed",
                        name=name,
                        before=_describe_flag(old[name], keys),
                        after=_describe_flag(new[name], keys),
                    )
                )
    return changes


_COMPARED = ("default", "choices", "type", "action", "nargs", "const", "required", "deprecated")


def _describe_flag(entry: Mapping[str, Any], keys: Sequence[str] = ()) -> str:
    """Those keys, or type and default where there are any."""
    chosen = keys or [key for key in ("type", "default") if key in entry]
    return "; ".join(f"{key} {_say(entry.get(key))}" for key in chosen)


def _say(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(str(item) for item in value)
    return "none" if value is None else str(value)


def _split_labels(labels: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The labels, and the recipe's settings that one of them holds: each is a difference of its own."""
    try:
        settings = json.loads(labels.get(LABEL_SETTINGS, ""))
    except BAD_JSON:
        settings = None
    if not isinstance(settings, dict):
        return dict(labels), {}
    rest = {name: value for name, value in labels.items() if name != LABEL_SETTINGS}
    return rest, {name: _say(value) for name, value in settings.items()}


def _describe_start(inventory: Inventory) -> dict[str, str]:
    return {
        "entrypoint": " ".join(inventory.entrypoint),
        "command": " ".join(inventory.command),
        "user": inventory.user or "root",
    }


def _compare_layers(before: Inventory, after: Inventory) -> list[ImageChange]:
    """Instructions that add bytes, those with the same text together: an unchanged one may change its size."""
    sums: list[dict[str, int]] = []
    for inventory in (before, after):
        total: dict[str, int] = {}
        for layer in inventory.layers:
            total[layer.instruction] = total.get(layer.instruction, 0) + layer.size_bytes
        sums.append({name: size for name, size in total.items() if size})
    old, new = sums
    return _compare_maps(
        "layer", {name: str(size) for name, size in old.items()}, {name: str(size) for name, size in new.items()}
    )


def _compare_maps(area: Area, before: Mapping[str, str], after: Mapping[str, str]) -> list[ImageChange]:
    changes = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        change: Change = "changed" if old is not None and new is not None else "added" if old is None else "removed"
        changes.append(ImageChange(area=area, change=change, name=name, before=old or "", after=new or ""))
    return changes

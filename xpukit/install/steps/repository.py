"""A source of packages besides those that apt has: its key, its file of sources, its lists."""

from __future__ import annotations

from xpukit.install.apt_view import key_path, render_source
from xpukit.install.change import Change, FileChange, ListsChange, hash_bytes, make_file_change
from xpukit.install.handlers.lists import LISTS
from xpukit.install.site import Site
from xpukit.install.step import Scene, Step, StepPlan

_WHY = "the source given with --source"


def plan_repository(scene: Scene) -> StepPlan:
    """Nothing without --source: apt is used as it is."""
    source, site = scene.options.source, scene.site
    key = key_path(source)
    path, content = render_source(source, key=key)
    if not path:
        return StepPlan(satisfied=("no source was given: apt is used as it is",))
    if source.directory and not (source.key or source.trusted):
        return StepPlan(
            blocked=f"{source.directory}: unsigned, or no key was given: give --source-key FILE, or --trust-source"
        )
    if source.directory and not (
        site.exists(f"{source.directory}/Packages") or site.exists(f"{source.directory}/Packages.gz")
    ):
        return StepPlan(blocked=f"{source.directory}: no Packages in it: not a flat apt repository")
    changes: list[Change] = []
    satisfied = []
    if source.key:
        answer = site.read(source.key)
        if answer.error:
            return StepPlan(blocked=f"{source.key}: {answer.error}")
        digest = hash_bytes(answer.data)
        if _hash(site, key) != digest:
            changes.append(FileChange(path=key, why=_WHY, sha256=digest, copy_from=source.key, mode=0o644))
        else:
            satisfied.append(f"{key} is there")
    change = make_file_change(path, content, _WHY, mode=0o644)
    if _hash(site, path) != change.sha256:
        changes.append(change)
    else:
        satisfied.append(f"{path} is there")
    if changes or not _has_lists(site, content):
        changes.append(ListsChange(source_file=path, why=_WHY))
    return StepPlan(changes=tuple(changes), satisfied=tuple(satisfied))


def _hash(site: Site, path: str) -> str:
    answer = site.read(path)
    return "" if answer.error else hash_bytes(answer.data)


def _has_lists(site: Site, content: str) -> bool:
    """Whether apt has lists of every address of the file (it names them after it), and they are not out of date."""
    names = site.list(LISTS).names
    for address in _list_addresses(content):
        place = address.partition(":")[2].lstrip("/")
        stem = place.rstrip("/").replace("/", "_")
        found = [name for name in names if stem in name and "Packages" in name]
        if not found:
            return False
        if address.startswith("file:") and not _is_current(site, "/" + place.rstrip("/"), found):
            return False
    return True


def _is_current(site: Site, directory: str, names: list[str]) -> bool:
    there = site.read(f"{directory}/Packages")
    if there.error:
        return True
    return any(site.read(f"{LISTS}/{name}").data == there.data for name in names)


def _list_addresses(content: str) -> list[str]:
    found: list[str] = []
    for line in content.splitlines():
        words = line.split()
        if line.lower().startswith("uris:"):
            found.extend(words[1:])
        elif words[:1] == ["deb"]:
            found.extend([word for word in words[1:] if ":/" in word][:1])
    return found


STEP = Step(
    name="repository",
    summary="a further source of packages, with its key",
    order=100,
    plan=plan_repository,
)

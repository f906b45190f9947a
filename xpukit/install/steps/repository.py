"""A source of packages besides those that apt has: its key, its file of sources, its lists."""

from __future__ import annotations

from xpukit.install.apt_sources import has_lists, key_path, render_source
from xpukit.install.change import Change, FileChange, ListsChange, hash_bytes, make_file_change
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
        return StepPlan(
            blocked=f"{source.directory}: no Packages in it: not a flat apt repository; "
            f"for an unpacked offline installer: xpukit install index {source.directory}"
        )
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
    if changes or not has_lists(site, path):
        changes.append(ListsChange(source_file=path, why=_WHY))
    return StepPlan(changes=tuple(changes), satisfied=tuple(satisfied))


def _hash(site: Site, path: str) -> str:
    answer = site.read(path)
    return "" if answer.error else hash_bytes(answer.data)


STEP = Step(
    name="repository",
    summary="a further source of packages, with its key",
    order=100,
    plan=plan_repository,
)

"""Programs that come without a package: copied from the source directory to where xpukit and others look for them."""

from __future__ import annotations

from pathlib import PurePosixPath

from xpukit.core.errors import ExternalError
from xpukit.core.finding import Unchecked
from xpukit.facts.stacks import CopyFacts
from xpukit.install.change import FileChange, hash_bytes
from xpukit.install.source_index import list_directories
from xpukit.install.step import Scene, Step, StepPlan

# Programs and scripts; what lies beside them is data.
_PROGRAMS = (b"\x7fELF", b"#!")


def plan_copies(scene: Scene) -> StepPlan:
    """Each file of the source that is not there yet as it is there. Raises ExternalError for one that is no file."""
    changes: list[FileChange] = []
    satisfied: list[str] = []
    unchecked: list[Unchecked] = []
    for row in scene.stack.copies:
        if not scene.wants(row.option):
            continue
        paths = [path for place in list_directories(scene.options.source) for path in _list_files(scene, place, row)]
        if not paths and scene.site.list(row.directory).names:
            satisfied.append(f"{row.name}: {row.directory} is there")
            continue
        if not paths:
            unchecked.append(_explain_missing(scene, row))
            continue
        plans = [_plan_file(scene, row, path) for path in paths]
        found = [change for change in plans if change is not None]
        changes.extend(found)
        if len(found) < len(plans):
            satisfied.append(f"{row.name}: {len(plans) - len(found)} files are in {row.directory}")
    return StepPlan(changes=tuple(changes), satisfied=tuple(satisfied), unchecked=tuple(unchecked))


def _list_files(scene: Scene, directory: str, row: CopyFacts) -> list[str]:
    """The paths of a pattern, whose last part alone has wildcards; folders are left out."""
    folder, _, wanted = f"{directory}/{row.pattern}".rpartition("/")
    names = [name for name in scene.site.list(folder).names if PurePosixPath(name).match(wanted)]
    paths = [f"{folder}/{name}" for name in sorted(names)]
    return [path for path in paths if scene.site.stat(path).kind != "dir"]


def _explain_missing(scene: Scene, row: CopyFacts) -> Unchecked:
    remedies = [source.remedy for source in scene.stack.sources if source.kind == "directory" and source.remedy]
    return Unchecked(
        check="copies",
        why=f"{row.name}: no source has {row.pattern}: left out",
        remedy=remedies[0] if remedies else "give a directory that has it: --source DIR",
    )


def _plan_file(scene: Scene, row: CopyFacts, path: str) -> FileChange | None:
    site = scene.site
    kind, answer = site.stat(path).kind, site.read(path)
    if kind != "file" or answer.error or answer.truncated:
        why = answer.error or ("is too large" if answer.truncated else f"is no file ({kind})")
        raise ExternalError(f"{path}: cannot be copied: {why}", hint="check the source directory")
    target = f"{row.directory}/{path.rpartition('/')[2]}"
    digest = hash_bytes(answer.data)
    mode = 0o755 if answer.data.startswith(_PROGRAMS) else 0o644
    there = site.read(target)
    if not there.error and hash_bytes(there.data) == digest and site.stat(target).mode == mode:
        return None
    return FileChange(path=target, why=row.why or row.name, sha256=digest, copy_from=path, mode=mode)


STEP = Step(
    name="copies",
    summary="programs that come without a package",
    order=250,
    plan=plan_copies,
)

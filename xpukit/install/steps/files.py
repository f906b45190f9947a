"""Small files of settings: udev rules, tmpfiles."""

from __future__ import annotations

from xpukit.core.finding import Unchecked
from xpukit.install.change import FileChange, hash_bytes, make_file_change
from xpukit.install.step import Scene, Step, StepPlan


def plan_files(scene: Scene) -> StepPlan:
    """The stack's files as they shall be."""
    changes: list[FileChange] = []
    satisfied, reboots = [], []
    unchecked: list[Unchecked] = []
    for row in scene.stack.files:
        if not scene.wants(row.option):
            continue
        change = make_file_change(row.path, row.content.lstrip("\n"), row.why, mode=row.mode)
        answer = scene.site.read(row.path)
        if answer.error == "UNRECORDED":
            unchecked.append(Unchecked(check="files", why=f"{row.path} is not in the recording"))
            continue
        if not answer.error and hash_bytes(answer.data) == change.sha256 and scene.site.stat(row.path).mode == row.mode:
            satisfied.append(f"{row.path} is as it shall be")
            continue
        changes.append(change)
        if row.reboot:
            reboots.append(row.path)
    return StepPlan(
        changes=tuple(changes),
        satisfied=tuple(satisfied),
        unchecked=tuple(unchecked),
        reboot=f"takes effect at boot: {', '.join(reboots)}" if reboots else "",
    )


STEP = Step(
    name="files",
    summary="udev rules and boot-time settings",
    order=400,
    plan=plan_files,
    scopes=("machine",),
    refreshes=("udev",),
)

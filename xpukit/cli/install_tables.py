"""A plan, a status and what was done, for people."""

from __future__ import annotations

from xpukit.cli.render import make_console, print_findings, print_table
from xpukit.facts.stacks import load_stacks
from xpukit.install.documents import ChangeView, PlanDocument
from xpukit.install.status import Status

_STYLES = {"change": "bold", "blocked": "bold red", "unknown": "yellow", "satisfied": ""}


def print_plan(document: PlanDocument, *, color: bool, verbose: bool) -> None:
    """Step by step, then findings and what comes at the end."""
    console = make_console(color=color)
    place = "" if document.root == "/" else f" in {document.root}"
    options = f" with {', '.join(document.options)}" if document.options else ""
    console.print(f"stack {document.stack}{options}{place}", style="bold" if color else None)
    for step in document.steps:
        if step.state == "satisfied" and not step.satisfied:
            continue
        console.print(f"\n{step.name}: {step.summary}: {step.state}", style=_STYLES[step.state] if color else None)
        for line in step.satisfied if verbose or step.state == "satisfied" else ():
            console.print(f"  = {line}")
        if step.satisfied and step.state != "satisfied" and not verbose:
            console.print(f"  = {len(step.satisfied)} already so (-v lists them)")
        for change in step.changes:
            _print_change(change, color=color)
        if step.blocked:
            console.print(f"  ! {step.blocked}")
    console.print()
    print_findings("Findings", document.findings, color=color)
    for item in document.unchecked:
        console.print(f"not known: {item.check}: {item.why}" + (f"; {item.remedy}" if item.remedy else ""))
    for note in document.notes:
        console.print(f"note: {note}")
    for name in document.refreshes:
        console.print(f"at the end: {name} made anew")
    for why in document.reboot:
        console.print(f"reboot needed: {why}")
    if document.changes and not document.reboot and not document.blocked:
        console.print("no reboot needed")
    console.print(_sum_up(document))


def _sum_up(document: PlanDocument) -> str:
    if document.blocked:
        return f"cannot be applied: {'; '.join(document.blocked)}"
    if not document.changes:
        return "nothing to change"
    sizes = f": {_megabytes(document.download_bytes)} to fetch, {_megabytes(document.disk_bytes)} on the disk"
    return f"{count_changes(document.changes)}{sizes if document.disk_bytes or document.download_bytes else ''}"


def count_changes(count: int) -> str:
    """ "1 change", "2 changes"."""
    return f"{count} change{'s' if count != 1 else ''}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _print_change(change: ChangeView, *, color: bool) -> None:
    console = make_console(color=color)
    console.print(f"  + {change.what}" + (f" ({change.why})" if change.why else ""))
    if change.packages:
        rows = [
            (
                action.name + ("" if action.asked_for else " *"),
                action.before or "-",
                action.after or "not known",
                action.origin,
                _size(action.download_bytes),
            )
            for action in sorted(change.packages, key=lambda action: (not action.asked_for, action.name))
        ]
        print_table("", ("package", "now", "then", "origin", "to fetch"), rows, color=color, right=(4,))
        if any(not action.asked_for for action in change.packages):
            console.print("  * comes along as a dependency")
    for line in change.diff.splitlines():
        style = {"+": "green", "-": "red"}.get(line[:1]) if color else None
        console.print(f"    {line}", style=style)


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "not known"
    return f"{size_bytes / 1000:.0f} kB" if size_bytes else "at hand"


def print_status(status: Status, *, color: bool) -> None:
    """What is in force, and how it stands."""
    console = make_console(color=color)
    if not status.runs:
        console.print("xpukit has installed nothing here")
        return
    rows = [(run.id, run.mode, run.stack, run.begun, run.result or "cut short") for run in status.runs]
    print_table("Runs", ("run", "what", "stack", "begun", "result"), rows, color=color)
    words = {"after": "in force", "both": "in force (was so before)", "before": "gone", "drifted": "changed since"}
    entries = [
        (
            str(entry.seq),
            entry.step,
            entry.what,
            words.get(entry.standing, entry.standing) + ("" if entry.finished else ", not finished"),
            entry.note,
        )
        for entry in status.entries
    ]
    if entries:
        print_table("Changes in force", ("no", "step", "change", "stands", "note"), entries, color=color)
    for name in status.stale:
        console.print(f"still to be made anew: {name}")
    if status.damaged_lines:
        console.print(f"{status.damaged_lines} lines of the journal are damaged and were passed over")
    if status.interrupted:
        console.print("the last run did not come to its end: run `install apply` again, or `install undo`")
    console.print(
        f"{count_changes(len(entries))} in force, {status.drift} drifted" if entries else "nothing is in force"
    )


def print_stacks() -> None:
    """The stacks and their options."""
    for stack in load_stacks():
        print(f"{stack.name}: {stack.summary}")
        for option in stack.options:
            print(f"    --with {option.name}: {option.summary}")
        if stack.kernel:
            print(f"    --with kernel: the kernel too ({stack.kernel.package}): {stack.kernel.why}")

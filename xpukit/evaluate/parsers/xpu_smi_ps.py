"""What `xpu-smi ps` prints: processes that use a GPU, in columns divided by spaces (1.x) or bars (2.x)."""

from __future__ import annotations

import re

import msgspec

from xpukit.evaluate.parsers.lines import Diary, Note, Problem, split_lines
from xpukit.evaluate.parsers.xpu_smi_names import find_smi_problem


class PsRow(msgspec.Struct, frozen=True, kw_only=True):
    """A process on a device. `memory` is the column MEM as printed: the tool does not say its unit."""

    line: int
    pid: int
    command: str
    device: int
    memory: int | None = None


class PsTable(msgspec.Struct, frozen=True, kw_only=True):
    """What `ps` shows, in the order printed."""

    readings: tuple[PsRow, ...] = ()
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()


_ROW = re.compile(r"([0-9]{1,10})\s+(\S.{0,200}?)\s+([0-9]{1,4})(?:\s+[0-9]{1,18})?(?:\s+([0-9]{1,18}))?")


def parse_ps(text: str, err: str = "") -> PsTable:
    """Readings come from `text` only, problems from both. Never raises."""
    diary = Diary()
    rows: list[PsRow] = []
    has_head = is_help = False
    for line in split_lines(text):
        bare = line.text.strip().strip("|").replace("|", " ").strip()
        if not bare or not set(bare) - set("+-= "):
            continue
        if bare.startswith("PID") and "Command" in bare:
            has_head = True
            continue
        match = _ROW.fullmatch(bare)
        if has_head and match and line.is_whole:
            memory = int(match[4]) if match[4] else None
            rows.append(
                PsRow(line=line.number, pid=int(match[1]), command=match[2], device=int(match[3]), memory=memory)
            )
            continue
        problem = find_smi_problem(line)
        diary.add_problem(problem)
        is_help = is_help or (problem is not None and problem.kind == "usage")
        if problem is None and not is_help:
            diary.note_unread(line)
    if not has_head:
        diary.note(0, "no list of processes")
    for line in split_lines(err):
        diary.add_problem(find_smi_problem(line, "err"))
    return PsTable(readings=tuple(rows), notes=diary.notes, problems=diary.problems)

"""The matrix that `xpu-smi topology -m` prints, 1.0 to 1.3.7 and 2.x."""

from __future__ import annotations

import re

import msgspec

from xpukit.evaluate.parsers.lines import Diary, Line, Note, Problem, split_lines
from xpukit.evaluate.parsers.xpu_smi_names import find_smi_problem


class TopologyLink(msgspec.Struct, frozen=True, kw_only=True):
    """How `a` reaches `b`: S, MDF, PIX, PXB, PHB, NODE, SYS, XL<lanes> or XL*. Names: "gpu0/1" (tile), "nic0"."""

    line: int
    a: str
    b: str
    kind: str


class TopologyMatrix(msgspec.Struct, frozen=True, kw_only=True):
    """What `topology -m` shows. `cpus` gives each name's CPU list as printed."""

    readings: tuple[TopologyLink, ...] = ()
    cpus: tuple[tuple[str, str], ...] = ()
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()


_NODE = re.compile(r"GPU ([0-9]{1,4})/([0-9]{1,3})|NIC ?([0-9]{1,4})")
_LINK = re.compile(r"S|MDF|PIX|PXB|PHB|NODE|SYS|XL(?:[0-9]{1,3}|\*)")
_CPU_LIST = re.compile(r"[0-9,\-]{0,2000}")


def parse_topology(text: str, err: str = "") -> TopologyMatrix:
    """`xpu-smi topology -m`, columns divided by bars or by spaces, in one block or several."""
    diary = Diary()
    links: list[TopologyLink] = []
    cpus: dict[str, str] = {}
    columns: list[str] = []
    is_help = False
    for line in split_lines(text):
        bare = line.text.replace("|", " ").strip()
        first = _NODE.match(bare)
        if not bare or not set(bare) - set("+-= "):
            continue
        if first and bare.endswith("CPU Affinity"):
            columns = _read_head(line, bare, diary)
        elif first and columns:
            links.extend(_read_links(line, bare, first, columns, cpus, diary))
        else:
            problem = find_smi_problem(line)
            diary.add_problem(problem)
            is_help = is_help or (problem is not None and problem.kind == "usage")
            if problem is None and not is_help:
                diary.note_unread(line)
    if not links:
        diary.note(0, "no matrix")
    for line in split_lines(err):
        diary.add_problem(find_smi_problem(line, "err"))
    return TopologyMatrix(readings=tuple(links), cpus=tuple(cpus.items()), notes=diary.notes, problems=diary.problems)


def _read_head(line: Line, bare: str, diary: Diary) -> list[str]:
    names = [_name_node(match) for match in _NODE.finditer(bare)]
    if not line.is_whole or _NODE.sub("", bare).split() != ["CPU", "Affinity"] or len(set(names)) != len(names):
        diary.note_unread(line, "not a head of a matrix")
        return []
    return names


def _read_links(
    line: Line, bare: str, first: re.Match[str], columns: list[str], cpus: dict[str, str], diary: Diary
) -> list[TopologyLink]:
    cells = bare[first.end() :].split()
    kinds, rest = cells[: len(columns)], cells[len(columns) :]
    is_read = len(kinds) == len(columns) and all(_LINK.fullmatch(kind) for kind in kinds)
    if not line.is_whole or not is_read or len(rest) > 1 or (rest and not _CPU_LIST.fullmatch(rest[0])):
        diary.note_unread(line, "not a row of the matrix, or cut off")
        return []
    name = _name_node(first)
    if rest:
        cpus.setdefault(name, rest[0])
    return [TopologyLink(line=line.number, a=name, b=b, kind=kind) for b, kind in zip(columns, kinds, strict=True)]


def _name_node(match: re.Match[str]) -> str:
    return f"nic{match[3]}" if match[3] else f"gpu{match[1]}/{match[2]}"

"""Columns of serial numbers and world-wide names in tables: nvme list, lsblk, smartctl --scan, lshw -short."""

from __future__ import annotations

import re

from xpukit.host.redaction.identifiers import is_serial
from xpukit.host.redaction.rule import Rule, Scene
from xpukit.host.redaction.stand_ins import render_hex, render_serial

# A table of this many rows is a log.
_MOST_ROWS = 512
_COLUMN = re.compile(r"(?<![^\s|])(?:SN|SERIAL#?|Serial|WWN|Serial ?(?:Number|No\.?)|PTUUID)(?![^\s|])")
_HEADER = re.compile(r"(?m)^(?=[^\n]*[ \t|](?:SN|SERIAL#?|Serial|WWN|Serial ?(?:Number|No\.?))(?:[ \t|]|$))[^\n:=]+$")
_WWN = re.compile(r"(?:0x)?[0-9a-fA-F]{16,33}")


def _replace_columns(text: str, scene: Scene) -> str:
    parts: list[str] = []
    done = 0
    for header in _HEADER.finditer(text):
        if header.start() < done or len(header.group().split()) < 2:
            continue
        columns = [match.start() for match in _COLUMN.finditer(header.group())]
        end = header.end() + 1
        rows: list[str] = []
        while end < len(text) and len(rows) < _MOST_ROWS:
            stop = text.find("\n", end)
            stop = len(text) if stop < 0 else stop
            row = text[end:stop]
            if not row.strip():
                break
            rows.append(_replace_cells(row, columns, scene))
            end = stop + 1
        if rows:
            parts += (text[done : header.end() + 1], "\n".join(rows))
            done = min(end - 1, len(text)) if end <= len(text) + 1 else len(text)
    return "".join((*parts, text[done:])) if parts else text


def _replace_cells(row: str, columns: list[int], scene: Scene) -> str:
    for column in columns:
        # Left-aligned, but for what a tree of disks or a wide letter moved.
        found = re.compile(r"[^\s|]+").search(row, max(0, column - 1), column + 3)
        if found is None:
            continue
        found = re.compile(r"[^\s|]+").match(row, found.start())
        if found is None or (found.start() and row[found.start() - 1] not in " \t|"):
            continue
        cell = found.group()
        if _WWN.fullmatch(cell):
            shown = scene.stand_in("wwn", "wwn", cell, render_hex, re.sub("^0x", "", cell.lower()))
        elif len(cell) >= 6 and is_serial(cell) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._\-]+", cell):
            scene.learn("serial", cell)
            shown = scene.stand_in("serial", "serial", cell, render_serial)
        else:
            continue
        row = row[: found.start()] + shown + row[found.end() :]
    return row


RULES: tuple[Rule, ...] = (
    Rule(
        name="serial",
        removes="name",
        what="serial numbers and asset tags",
        hints=("serial", " sn ", "\tsn\t", "|sn", "| sn", "wwn"),
        probe=_HEADER,
        apply=_replace_columns,
        whole=True,
    ),
)

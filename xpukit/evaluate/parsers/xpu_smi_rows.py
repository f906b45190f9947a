"""The two-column tables of xpu-smi as rows: with borders (1.x) or aligned by spaces (2.x)."""

from __future__ import annotations

import re

import msgspec

from xpukit.evaluate.parsers.lines import Diary, Line, split_lines
from xpukit.evaluate.parsers.xpu_smi_names import find_smi_problem


class SmiRow(msgspec.Struct, frozen=True, kw_only=True):
    """`key` is "" in a row that goes on with the value of the one above. `block` counts what rules divide.

    `is_indented`: the value stands further in than its column begins, as a wrapped text does.
    """

    line: int
    key: str
    value: str
    block: int
    is_indented: bool = False


# A wrapped key goes on in small letters or with its unit; a key of its own begins with a capital or a digit.
_KEY_REST = re.compile(r"[a-z(]")
_PLAIN = re.compile(r"( {0,8}\S(?:.{0,60}?\S)?)\s{2,}(\S.*)")
_HEADS = (("Device ID", "Device Information"), ("Metric", "Value"), ("Component", "Value"), ("Property", "Value"))


class _RowReader:
    def __init__(self, diary: Diary) -> None:
        self._diary = diary
        self.rows: list[SmiRow] = []
        self._block = 0
        self._bordered = False
        self._plain_value_at: int | None = None
        self._is_help = False
        self._is_unsure = False  # whether the last row has borders: its key may be wrapped into a row not seen yet

    def take(self, line: Line) -> None:
        text = line.text
        stripped = text.strip()
        if re.fullmatch(r"\+[-=+]{3,}\+?", stripped):
            self._bordered, self._is_unsure = True, False
            self._block += 1
        elif not stripped:
            self._block += 0 if self._bordered else 1
        elif stripped.startswith("|"):
            self._take_bordered(line, stripped)
        elif self._plain_value_at is not None or self._is_head(text):
            self._take_plain(line)
        else:
            self._take_other(line)

    def _take_other(self, line: Line) -> None:
        problem = find_smi_problem(line)
        self._diary.add_problem(problem)
        if problem is not None:
            self._is_help = self._is_help or problem.kind == "usage"
        elif not self._is_help and not line.text.startswith("Device Type:"):
            self._diary.note_unread(line, "not a row of a table")

    @property
    def open_block(self) -> int | None:
        """The block that no rule closed, if the last table has borders."""
        return self._block if self._is_unsure and self.rows and self.rows[-1].block == self._block else None

    def _take_bordered(self, line: Line, stripped: str) -> None:
        self._plain_value_at = None
        if not stripped.endswith("|") or stripped.count("|") < 3:
            self._take_half_bordered(line, stripped)
            return
        key, _, value = stripped[1:-1].partition("|")
        self._add(line, key.strip(), value.strip(), is_indented=value.startswith("  "))
        self._is_unsure = True

    def _take_half_bordered(self, line: Line, stripped: str) -> None:
        """Early 2.x wrote '|   key: value' in `health`; any other row without its right border was cut off."""
        inner = stripped[1:]
        match = re.fullmatch(r"\s{1,8}([A-Za-z][\w ]{0,60}):(?: (.*))?", inner)
        if match is None or "|" in inner or not line.is_whole:
            self._diary.note_unread(line, "the row is cut off")
        elif match[2] is None:
            self._block += 1
            self._add(line, f"[ {match[1].strip()} ]", "")
        else:
            self._add(line, match[1].strip(), match[2].strip())

    def _is_head(self, text: str) -> bool:
        match = _PLAIN.fullmatch(text)
        return match is not None and (match[1].strip(), match[2].strip()) in _HEADS

    def _take_plain(self, line: Line) -> None:
        text = line.text
        if not line.is_whole:
            self._diary.note_unread(line, "the line is cut off")
            return
        if self._is_head(text):
            match = _PLAIN.fullmatch(text)
            self._plain_value_at = match.start(2) if match else None
            self._block += 1
            return
        at = self._plain_value_at or 0
        key, value = text[:at], text[at:]
        is_divided = not key.strip() or not value or key[-1:].isspace()
        is_said = not text.startswith(" ") and find_smi_problem(line) is not None
        if is_said or not is_divided:
            self._take_other(line)
        else:
            self._add(line, key.strip(), value.strip(), is_indented=value.startswith(" "))

    def _add(self, line: Line, key: str, value: str, *, is_indented: bool = False) -> None:
        if not key and not value:
            return
        if key and not value and self.rows and _KEY_REST.match(key) and self.rows[-1].block == self._block:
            self._extend_key(key)
        else:
            self.rows.append(SmiRow(line=line.number, key=key, value=value, block=self._block, is_indented=is_indented))

    def _extend_key(self, rest: str) -> None:
        for place in range(len(self.rows) - 1, -1, -1):
            row = self.rows[place]
            if row.key:
                self.rows[place] = msgspec.structs.replace(row, key=f"{row.key} {rest}"[:200])
                return


class SmiRows(msgspec.Struct, frozen=True, kw_only=True):
    """`open_block`: the text ends inside this block of a table with borders, so that its last row may go on."""

    rows: tuple[SmiRow, ...] = ()
    open_block: int | None = None


def read_rows(text: str, diary: Diary) -> SmiRows:
    """The rows of all tables of a text."""
    reader = _RowReader(diary)
    for line in split_lines(text):
        reader.take(line)
    return SmiRows(rows=tuple(reader.rows), open_block=reader.open_block)

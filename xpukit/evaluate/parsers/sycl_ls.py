"""How many GPUs `sycl-ls` lists over Level Zero, 2021 to 2026: '[level_zero:gpu][level_zero:0] …' and older forms."""

from __future__ import annotations

import re

import msgspec

from xpukit.evaluate.parsers.lines import Diary, Note, Problem, split_lines


class SyclList(msgspec.Struct, frozen=True, kw_only=True):
    """`readings` are the numbers of the GPUs that Level Zero shows; `lines` all devices of any kind."""

    readings: tuple[int, ...] = ()
    lines: int = 0
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()


_DEVICE = re.compile(r"\[(?:ext_oneapi_)?(\w+):(\w+)(?::([0-9]{1,4}))?\](?:\[\w+:([0-9]{1,4})\])?(?:\s|$)")


def parse_sycl_ls(text: str, err: str = "") -> SyclList:
    """Readings come from `text` only, problems from both. Never raises. What --verbose adds is passed over."""
    diary = Diary()
    numbers: list[int] = []
    lines = 0
    for line in split_lines(text):
        match = _DEVICE.match(line.text)
        if match is None:
            continue
        lines += 1
        number = match[3] or match[4]
        if match[1] == "level_zero" and match[2] == "gpu" and number is not None:
            numbers.append(int(number))
    if not lines:
        diary.note(0, "no device")
    diary.add_stream(text, "out")
    diary.add_stream(err, "err")
    return SyclList(
        readings=tuple(dict.fromkeys(numbers)), lines=lines, notes=diary.notes, problems=diary.problems
    )  # fmt: skip

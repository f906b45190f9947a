"""Debian's order of versions (deb-version(7)), for machines whose dpkg cannot be asked (a recording)."""

from __future__ import annotations

import re

_PART = re.compile(r"(\D*)(\d*)")


def _weigh(character: str) -> int:
    """Order of a character outside digits: '~' before the end, letters before all others."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _make_key(text: str) -> list[tuple[list[int], int]]:
    # The end of a word weighs 0: after "~", before everything else.
    return [([*map(_weigh, word), 0], int(number or 0)) for word, number in _PART.findall(text) if word or number]


def _compare_part(one: str, other: str) -> int:
    left, right = _make_key(one), _make_key(other)
    empty = ([0], 0)
    for index in range(max(len(left), len(right))):
        a = left[index] if index < len(left) else empty
        b = right[index] if index < len(right) else empty
        if a != b:
            return 1 if a > b else -1
    return 0


def _split(version: str) -> tuple[int, str, str]:
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    return (int(epoch) if epoch.isdigit() else 0, upstream if dash else rest, revision if dash else "")


def compare_versions(one: str, other: str) -> int:
    """-1, 0 or 1: how `dpkg --compare-versions` orders them."""
    left, right = _split(one), _split(other)
    if left[0] != right[0]:
        return 1 if left[0] > right[0] else -1
    return _compare_part(left[1], right[1]) or _compare_part(left[2], right[2])


def is_at_least(version: str, minimum: str) -> bool:
    return compare_versions(version, minimum) >= 0

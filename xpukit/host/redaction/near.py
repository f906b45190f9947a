"""Where in a text a rule can match at all: lines around its hints. Most of a log is never looked at by most rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property, lru_cache

# What a pattern may look at before and behind its hint, in characters; whole lines are taken.
_BEFORE = 256
_BEHIND = 512
# Below this, cutting a text up costs more than it saves.
SHORT_CHARS = 2048
_SAME_DIGIT = str.maketrans("123456789", "000000000")

Spans = list[tuple[int, int]]


@lru_cache(maxsize=4096)
def _split_hint(hint: str) -> tuple[str, ...]:
    return tuple(hint.translate(_SAME_DIGIT).split())


class Text:
    """A text, and what is asked about it by many rules: in lower case, its different words, which hints it holds."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._holds: dict[str, bool] = {}

    @cached_property
    def low(self) -> str:
        """In lower case."""
        return self.text.lower()

    @cached_property
    def _words(self) -> str:
        """Each different word once, all digits alike: a tenth of a log. A hint that is not here is not in the text."""
        if len(self.text) < SHORT_CHARS:
            return ""
        return "\n".join(set(self.low.translate(_SAME_DIGIT).split()))

    def holds(self, hint: str) -> bool:
        """Whether a lower-case text stands in it."""
        known = self._holds.get(hint)
        if known is None:
            if len(self.text) >= SHORT_CHARS and not all(piece in self._words for piece in _split_hint(hint)):
                known = False
            else:
                known = hint in self.low
            self._holds[hint] = known
        return known


def find_spans(given: Text, hints: tuple[str, ...], probe: re.Pattern[str] | None = None) -> Spans:
    """(begin, end) of whole lines around each hint (lower case) or match of `probe`, in order.

    [] where there is none; one span over all for a short text and where hints are many.
    """
    text = given.text
    size = len(text)
    if probe is not None:
        if hints and not any(given.holds(hint) for hint in hints):
            return []
        if size < SHORT_CHARS:
            return [(0, size)] if probe.search(text) is not None else []
        return _merge(text, (match.start() for match in probe.finditer(text)))
    if not hints:
        return [(0, size)]
    if size < SHORT_CHARS:
        # Most texts are a word or a line, and there are thousands: looking is cheaper than remembering.
        low = given.low
        for hint in hints:
            if hint in low:
                return [(0, size)]
        return []
    present = [hint for hint in hints if given.holds(hint)]
    if not present:
        return []
    low = given.low
    # Some capitals become two characters: then places in `low` are not places in `text`.
    if len(low) != size:
        return [(0, size)]
    places: list[int] = []
    most = size // 200
    for hint in present:
        place = low.find(hint)
        while place >= 0:
            places.append(place)
            if len(places) > most:
                return [(0, size)]
            place = low.find(hint, place + 1)
    places.sort()
    return _merge(text, iter(places))


def _merge(text: str, places: Iterator[int]) -> Spans:
    spans: Spans = []
    size = len(text)
    end = -1
    begin = 0
    for place in places:
        if place + _BEHIND <= end:
            continue
        start = text.rfind("\n", 0, max(0, place - _BEFORE)) + 1
        stop = text.find("\n", min(size, place + _BEHIND))
        stop = size if stop < 0 else stop + 1
        if end < 0:
            begin = start
        elif start > end:
            spans.append((begin, end))
            begin = start
        end = max(end, stop)
    if end >= 0:
        spans.append((begin, end))
    return spans

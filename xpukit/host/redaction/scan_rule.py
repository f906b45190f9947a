"""What a rule of the scan is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from xpukit.host.redaction.lazy_pattern import LazyPattern

DONE = "[REDACTED"


@dataclass(frozen=True, kw_only=True)
class ScanRule:
    """`is_leak` decides about a match; `hints`: lower-case texts of which one must be there."""

    name: str
    pattern: LazyPattern
    is_leak: Callable[[re.Match[str]], bool]
    hints: tuple[str, ...] = ()


def build_scan_rule(name: str, pattern: str, is_leak: Callable[[re.Match[str]], bool], *hints: str) -> ScanRule:
    """A rule from its pattern."""
    # ASCII: random bytes decode to letters of every alphabet, and the redactor's rules know none of them.
    return ScanRule(name=name, pattern=LazyPattern(pattern, re.ASCII), is_leak=is_leak, hints=hints)


def always(match: re.Match[str]) -> bool:
    """Whatever matches is a leak, unless the redactor's mark stands in it."""
    return DONE not in match.group()

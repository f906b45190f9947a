"""From what a failed build said to what that usually means."""

from __future__ import annotations

from xpukit.facts.build_causes import BuildCause, load_build_causes

AT_MOST = 3


def find_causes(
    lines: tuple[str, ...], *, error: str = "", exit_code: int | None = None, more_ids: tuple[str, ...] = ()
) -> tuple[BuildCause, ...]:
    """Known causes that fit, most telling first, three at most. `more_ids`: causes known by other signs."""
    searched = (*lines, *error.splitlines())
    found = [cause for cause in load_build_causes() if cause.id in more_ids or cause.matches(searched, exit_code)]
    ids = {cause.id for cause in found}
    return tuple(cause for cause in found if not ids & set(cause.symptom_of))[:AT_MOST]

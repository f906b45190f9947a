"""The fit of a plan as a bar of letters."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.core.units import format_bytes
from xpukit.serve.questions import Fit, share_cells

_BAR_CELLS = 60
_SPARE_LETTERS = "bdfghijmnopqstuvxyz0123456789"


def draw_fit(fit: Fit) -> tuple[str, ...]:
    """The memory bar of a GPU and what it is good for, as lines of plain text."""
    marks = _pick_letters([one.name for one in fit.segments])
    counts = share_cells(fit.segments, fit.scale_bytes, _BAR_CELLS)
    letters = "".join(mark * count for mark, count in zip(marks, counts, strict=True))
    if fit.scale_bytes > fit.total_bytes:
        end = round(_BAR_CELLS * fit.total_bytes / fit.scale_bytes)
        letters = f"{letters[:end]}|{letters[end:]}"
    legend = ", ".join(
        f"{mark} {one.name} {format_bytes(one.bytes)}" for mark, one in zip(marks, fit.segments, strict=True)
    )
    lines = [f"[{letters}] of {format_bytes(fit.total_bytes)} a GPU", legend, fit.headline]
    if fit.fits:
        lines.append(
            f"longest request {fit.max_context:,} tokens; beside one of {fit.asked_context:,} "
            f"{format_bytes(fit.margin_bytes)} of KV cache are left"
        )
    lines += [f"would help: {way}" for way in fit.ways_out]
    return tuple(lines)


def _pick_letters(names: Sequence[str]) -> list[str]:
    """A letter of its own for each name: the first one of the name that is still free."""
    taken: list[str] = []
    for name in names:
        fixed = {"not taken": ".", "KV cache": "K"}.get(name)
        free = (letter for letter in name + _SPARE_LETTERS if letter.isalnum() and letter not in taken)
        taken.append(fixed or next(free, "?"))
    return taken

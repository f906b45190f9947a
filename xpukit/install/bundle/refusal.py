"""A bundle that is not what it should be."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.core.errors import ExitCode, XpukitError

_SHOWN = 20


class RefusedBundleError(XpukitError):
    """A bundle was judged and must not be installed; nothing of it was. `problems` name each file and what it is."""

    exit_code = ExitCode.JUDGED_FAILING

    def __init__(self, source: str, problems: Sequence[str], *, hint: str = "") -> None:
        self.problems = tuple(problems)
        shown = list(self.problems[:_SHOWN])
        if len(self.problems) > _SHOWN:
            shown.append(f"and {len(self.problems) - _SHOWN} more")
        text = f"{source}: refused, nothing was installed"
        super().__init__(
            "\n".join([text, *(f"  {line}" for line in shown)]),
            hint=hint or "get the bundle again from where it was made",
        )

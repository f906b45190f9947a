"""A pattern that is compiled when it is first needed: of two hundred, a bundle of a healthy machine needs fifty."""

from __future__ import annotations

import re
from functools import cached_property


class LazyPattern:
    """`compiled` is the pattern; flags as in `re`."""

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self.pattern = pattern
        self.flags = flags

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        """Raises re.error at the first use: a test compiles all of them."""
        return re.compile(self.pattern, self.flags)

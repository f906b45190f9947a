"""Lines of logs are shown to people who paste them elsewhere: tokens, keys and passwords in them are masked."""

from __future__ import annotations

import re
from functools import cache

from xpukit.host.answers import IdentityAnswer
from xpukit.host.scrub import Scrubber, build_scrubber

# vLLM prints its arguments when it starts: --api-key among them.
_NAMED = re.compile(
    r"(?i)(?P<name>(?:--?)?\b[\w-]{0,40}(?:api[_-]?key|token|password|passwd|secret)\b['\"]?\s{0,3}[=:\s]\s{0,3}\[?['\"]?)"
    r"(?P<value>(?!None\b|True\b|False\b|null\b|\d{1,9}\b)[^\s,'\"\]}]{6,400})"
)


@cache
def _scrubber() -> Scrubber:
    return build_scrubber(IdentityAnswer())


def mask_line(text: str) -> str:
    """The line without what looks like a secret."""
    return _NAMED.sub(lambda found: f"{found['name']}MASKED", _scrubber()(text))

"""What a recording leaves out. One hook, `Scrubber`; the rules are in `xpukit.host.redaction`."""

from __future__ import annotations

from collections.abc import Callable

from xpukit.host.answers import IdentityAnswer
from xpukit.host.redaction.redactor import Redactor

# Text in, text out; applied to every string a recording writes (paths, arguments, contents).
Scrubber = Callable[[str], str]


def keep_everything(text: str) -> str:
    """The scrubber that removes nothing (tests, machines that hold nothing private, `sysinfo --no-redact`)."""
    return text


def build_scrubber(identity: IdentityAnswer) -> Redactor:
    """The default scrubber, with pseudonyms that no map remembers."""
    return Redactor(identity)

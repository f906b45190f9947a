"""What a recording leaves out. One hook, `Scrubber`; redaction rules of any kind plug in here."""

from __future__ import annotations

import re
from collections.abc import Callable

from xpukit.host.answers import IdentityAnswer

# Text in, text out; applied to every string a recording writes (paths, arguments, contents).
Scrubber = Callable[[str], str]

_MAC = re.compile(r"(?<![0-9a-fA-F:])(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}(?![0-9a-fA-F:])")
_SERIAL = re.compile(r"(?i)(serial(?:[ _]?(?:number|no\.?))?[\"']?\s*[:=]\s*[\"']?)([^\s,;\"']{4,})")
_TOKEN = re.compile(r"\b(hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|ghp_[A-Za-z0-9]{20,}|AKIA[0-9A-Z]{16})\b")
_CREDENTIAL = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")


def keep_everything(text: str) -> str:
    """The scrubber that removes nothing (tests, and machines that hold nothing private)."""
    return text


def build_scrubber(identity: IdentityAnswer) -> Scrubber:
    """The default scrubber: host and user name, home path, MAC addresses, serial numbers, well-known tokens.

    Names shorter than four characters, and names such as 'root' that every machine has, stay: replacing them
    would damage unrelated text and hide nothing.
    """
    names = [
        (name, pseudonym)
        for name, pseudonym in ((identity.hostname, "host-1"), (identity.username, "user-1"))
        if len(name) >= 4 and name not in ("root", "localhost", "user")
    ]
    patterns = [
        (re.compile(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])"), pseudonym) for name, pseudonym in names
    ]

    def scrub(text: str) -> str:
        for pattern, pseudonym in patterns:
            text = pattern.sub(pseudonym, text)
        text = _MAC.sub("02:00:00:00:00:00", text)
        text = _SERIAL.sub(r"\1XXXX", text)
        text = _TOKEN.sub("TOKEN-REMOVED", text)
        return _CREDENTIAL.sub("user:PASSWORD-REMOVED", text)

    return scrub

"""What was recognised once goes wherever it stands alone: values of secrets, host and user names, serial numbers."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote

from xpukit.host.redaction.rule import MARK

SHORTEST = 8
# Values that stood for a secret and are words of every other file.
_WORDS = frozenset(
    [
        "password",
        "passwords",
        "passphrase",
        "username",
        "localhost",
        "disabled",
        "required",
        "optional",
        "internal",
        "external",
        "undefined",
        "default",
        "development",
        "production",
        "testing",
        "changeit",
        "anonymous",
        "administrator",
        "bearer",
        "basic",
        "negotiate",
        "credential",
        "credentials",
        "template",
        "container",
        "database",
        "postgres",
        "readonly",
        "readwrite",
    ]
)


def is_worth_learning(secret: str) -> bool:
    """Long enough, and no word, number or path that other texts hold for other reasons."""
    text = secret.strip()
    return (
        len(text) >= SHORTEST
        and MARK not in text
        and text.lower() not in _WORDS
        and not text.isdigit()
        and not re.fullmatch(r"[\d.,:\-]+|(?:[A-Za-z]:)?/[\w./\-]*|\d+[a-zA-Z]{1,3}", text)
        and len(set(text)) > 2
    )


def list_spellings(secret: str) -> tuple[str, ...]:
    """The secret as it stands, URL-encoded, JSON-escaped and in base64."""
    text = secret.strip()
    raw = text.encode("utf-8", "surrogateescape")
    spellings = {text, quote(raw, safe=""), text.replace("\\", "\\\\").replace('"', '\\"')}
    spellings.add(base64.b64encode(raw).decode())
    spellings.add(base64.urlsafe_b64encode(raw).decode().rstrip("="))
    spellings.add(raw.hex())
    return tuple(sorted(spellings, key=len, reverse=True))


class LearnedSecrets:
    """Secrets by spelling, each with the constant that stands for it."""

    def __init__(self) -> None:
        self.by_text: dict[str, str] = {}
        self._seen: set[str] = set()

    def add(self, rule: str, secret: str) -> bool:
        """Whether it is new and looked for from now on."""
        if secret in self._seen:
            return False
        self._seen.add(secret)
        if not is_worth_learning(secret):
            return False
        for spelling in list_spellings(secret):
            self.by_text.setdefault(spelling, f"{MARK}{rule}]")
        # The longest first: one secret may be part of another.
        self.by_text = dict(sorted(self.by_text.items(), key=lambda pair: -len(pair[0])))
        return True

    def remove_from(self, text: str) -> tuple[str, dict[str, int]]:
        """The text without them, and how often each constant was put in."""
        counts: dict[str, int] = {}
        for spelling, mark in self.by_text.items():
            if spelling in text:
                pattern = rf"(?<![A-Za-z0-9]){re.escape(spelling)}(?![A-Za-z0-9])"
                text, count = re.subn(pattern, lambda _match, mark=mark: mark, text)  # type: ignore[misc]
                if count:
                    rule = mark[len(MARK) : -1]
                    counts[rule] = counts.get(rule, 0) + count
        return text, counts

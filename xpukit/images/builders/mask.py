"""A proxy's password out of what a build says: steps may print their environment, and logs are passed on."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

MARK = "[proxy password]"
# A shorter one would be found in ordinary words; it is then hidden beside its user name only.
_LEAST = 6


def make_mask(proxies: Mapping[str, str]) -> Callable[[str], str]:
    """What replaces the passwords of these proxies in a text, in all spellings in which programs print them."""
    found: dict[str, str] = {}
    for address in proxies.values():
        try:
            parts = urlsplit(address if "://" in address else f"//{address}")
            user, password = parts.username or "", parts.password or ""
        except ValueError:  # no address at all
            continue
        if not password:
            continue
        for name, word in ((user, password), (unquote(user), unquote(password))):
            found[f"{name}:{word}"] = f"{name}:{MARK}"
            found[base64.b64encode(f"{name}:{word}".encode()).decode()] = MARK
            if len(word) >= _LEAST:
                found[word] = MARK
    pairs = sorted(found.items(), key=lambda pair: -len(pair[0]))

    def mask(text: str) -> str:
        for secret, shown in pairs:
            text = text.replace(secret, shown)
        return text

    return mask


def mask_message(message: Mapping[str, Any], mask: Callable[[str], str]) -> dict[str, Any]:
    """A message of the daemon's, masked wherever it holds text."""
    return {key: _mask_value(value, mask) for key, value in message.items()}


def _mask_value(value: Any, mask: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return mask(value)
    return mask_message(value, mask) if isinstance(value, Mapping) else value

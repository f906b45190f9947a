"""What is hidden in another spelling: logins and files in base64, text of two bytes a letter."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

from xpukit.host.redaction.rule import Rule, Scene

NAME = "encoded"
# Shorter runs decode to a login of fewer than 12 letters; they are many, and words of a language.
_SHORTEST = 16
_RUN = re.compile(r"(?<![A-Za-z0-9+/=_\-])[A-Za-z0-9+/_\-]{16,}={0,2}(?![A-Za-z0-9+/=])")
_LOGIN = re.compile(r"[A-Za-z0-9_.@\-]{1,64}:[^\s:/][^\s]{3,128}")
_LOW_ENDIAN = re.compile(rb"(?:[\x09\x0a\x0d\x20-\x7e]\x00){6,}")
_BIG_ENDIAN = re.compile(rb"(?:\x00[\x09\x0a\x0d\x20-\x7e]){6,}")


def decode_text(run: str) -> str:
    """What a run of base64 says, "" where it is no text."""
    # The beginning decides for nearly all: random bytes are not printable for long.
    if not _decode_printable(run[:16]):
        return ""
    return _decode_printable(run)


def _decode_printable(run: str) -> str:
    body = run.rstrip("=").replace("-", "+").replace("_", "/")
    # A run that was cut off in the middle still says most of it.
    body = body[: len(body) - 1] if len(body) % 4 == 1 else body
    try:
        text = base64.b64decode(body + "=" * (-len(body) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        return ""
    return text if all(sign.isprintable() or sign in "\t\r\n" for sign in text) else ""


def _hide_encoded(text: str, scene: Scene) -> str:
    long = {word for word in text.split() if len(word) >= _SHORTEST}
    if not long:
        return text
    for run in {match.group() for word in long for match in _RUN.finditer(word)}:
        said = decode_text(run)
        if said and (_LOGIN.fullmatch(said) or scene.finds(said)):
            text = re.sub(
                rf"(?<![A-Za-z0-9+/=_\-]){re.escape(run)}(?![A-Za-z0-9+/=])",
                lambda _, run=run: scene.hide(NAME, run),  # type: ignore[misc]
                text,
            )
    return text


def replace_in_wide_text(data: bytes, replace: Callable[[str], str]) -> bytes:
    """UTF-16 without its NULs looks like text to no rule: each run of it is replaced in for itself."""
    if b"\0" not in data:
        return data
    for pattern, codec in ((_LOW_ENDIAN, "utf-16-le"), (_BIG_ENDIAN, "utf-16-be")):

        def change(match: re.Match[bytes], codec: str = codec) -> bytes:
            text = match.group().decode(codec)
            changed = replace(text)
            return match.group() if changed == text else changed.encode(codec, "surrogatepass")

        data = pattern.sub(change, data)
    return data


RULES: tuple[Rule, ...] = (
    Rule(
        name=NAME,
        removes="secret",
        what="logins, keys and names spelled in base64",
        hints=(),
        apply=_hide_encoded,
        whole=True,
    ),
)

"""Flags read from a help text in argparse's (and most others') form: a guess, for engines without a parser to ask."""

from __future__ import annotations

import re
from typing import Any

_OPTION = re.compile(r"^ {1,6}(-{1,2}[A-Za-z0-9].*)$")
_FLAG = re.compile(r"^-{1,2}[A-Za-z0-9][\w.-]*$")
_DEFAULT = re.compile(r"[(\[]default(?:s to)?:?\s+([^()\[\]]*)[)\]]", re.IGNORECASE)
_IGNORED = {"--help", "-h", "--version", "-V"}
_LINE_LIMIT = 20_000


def parse_help(text: str) -> list[dict[str, Any]]:
    """One entry for each option. Never raises; a text that is no help gives an empty list."""
    entries: list[dict[str, Any]] = []
    current: dict[str, Any] | None = None
    words: list[str] = []

    def finish() -> None:
        if current is not None:
            default = _DEFAULT.search(" ".join(words))
            if default and default[1].strip() not in ("", "None", "==SUPPRESS=="):
                current["default"] = default[1].strip()
            entries.append(current)

    for line in text.splitlines()[:_LINE_LIMIT]:
        match = _OPTION.match(line.expandtabs())
        if match:
            finish()
            invocation, _, said = match[1].partition("  ")
            current, words = _parse_invocation(invocation), [said.strip()]
        elif current is not None and line.startswith((" ", "\t")):
            words.append(line.strip())
        elif line.strip():
            finish()
            current, words = None, []
    finish()
    unique: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if entry and not _IGNORED & set(entry["flags"]):
            unique.setdefault(entry["flags"][0], entry)
    return list(unique.values())


def _parse_invocation(invocation: str) -> dict[str, Any] | None:
    """The flags and what follows them: "--dtype {auto,half}, -d {auto,half}", "--port PORT", "-v, --verbose"."""
    flags: list[str] = []
    metavar = ""
    # Commas inside braces separate choices, not spellings.
    for part in re.split(r",\s*(?=-)(?![^{]*\})", invocation.strip()):
        flag, separator, rest = part.strip().partition("=") if _is_equals(part) else part.strip().partition(" ")
        if not _FLAG.match(flag):
            continue
        flags.append(flag)
        if separator and rest.strip():
            metavar = rest.strip()
    if not flags:
        return None
    longest = next((flag for flag in flags if flag.startswith("--")), flags[0])
    entry: dict[str, Any] = {"flags": flags, "dest": longest.lstrip("-").replace("-", "_")}
    if not metavar:
        negated = {f"--no-{flag[2:]}" for flag in flags if flag.startswith("--")} & set(flags)
        entry |= {"action": "BooleanOptionalAction" if negated else "StoreTrueAction", "nargs": 0}
        return entry
    entry["action"] = "StoreAction"
    choices = re.match(r"^\[?\{([^}]*)\}", metavar)
    if choices:
        entry["choices"] = [choice.strip() for choice in choices[1].split(",") if choice.strip()]
    nargs = _read_nargs(metavar)
    if nargs is not None:
        entry["nargs"] = nargs
    return entry


def _is_equals(part: str) -> bool:
    return bool(re.match(r"^\s*--?[\w.-]+=", part))


def _read_nargs(metavar: str) -> str | int | None:
    if re.search(r"\S \[\S.*\.\.\.\]$", metavar):
        return "+"
    if re.fullmatch(r"\[\S.*\.\.\.\]", metavar):
        return "*"
    if re.fullmatch(r"\[\S+\]", metavar):
        return "?"
    plain = metavar.split()
    return len(plain) if len(plain) > 1 and len(set(plain)) == 1 else None

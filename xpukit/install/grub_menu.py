"""grub.cfg as grub-mkconfig generated it: the kernel lines, and whether they say what the settings say."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from xpukit.install.grub_settings import VARIABLES, Settings
from xpukit.install.kernel_words import OPAQUE, matches, plain_word

_SECTION = re.compile(r"^### (?P<edge>BEGIN|END) (?P<script>\S+) ###$")
_ENTRY = re.compile(r"^\s*menuentry\s+(?P<rest>.*)$")
_LINUX = re.compile(r"^\s*(?:linux|linux16|linuxefi)\s+(?P<rest>.*)$")
_TITLE = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
# The scripts of GRUB that write entries for Linux itself; others (30_os-prober, 40_custom) are not ours to judge.
_LINUX_SCRIPTS = ("10_linux", "10_linux_zfs")


class KernelLine(msgspec.Struct, frozen=True, kw_only=True):
    """One `linux` line: the image and the arguments, without the quotes of GRUB's language. `raw` is all of it."""

    title: str
    recovery: bool
    image: str
    arguments: tuple[str, ...]
    raw: str = ""

    def has(self, word: str) -> bool:
        """Whether an argument is there, as GRUB takes it or letter by letter."""
        if any(plain_word(argument) == plain_word(word) for argument in self.arguments):
            return True
        return f" {' '.join(word.split())} " in f" {' '.join(self.raw.split())} "


def split_grub_words(text: str) -> tuple[str, ...]:
    """The words of a line of GRUB's script language. A quote that is never closed ends with the line."""
    words: list[str] = []
    current, inside, quote = "", False, ""
    chars = iter(text)
    for char in chars:
        if quote == "'":
            quote = "" if char == "'" else quote
            current += "" if char == "'" else char
        elif char == "\\":
            current, inside = current + next(chars, ""), True
        elif char == '"':
            quote, inside = "" if quote else '"', True
        elif char == "'" and not quote:
            quote, inside = "'", True
        elif char.isspace() and not quote:
            if inside:
                words.append(current)
            current, inside = "", False
        elif char == "#" and not inside and not quote:
            break
        else:
            current, inside = current + char, True
    return (*words, current) if inside else tuple(words)


def read_menu(text: str) -> tuple[KernelLine, ...]:
    """The kernel lines that GRUB's own scripts wrote; of a file without their marks, all. Never raises."""
    lines: list[KernelLine] = []
    # GRUB leaves carriage returns out wherever they stand: settings written elsewhere bring them along.
    split = text.replace("\r", "").split("\n")
    marked = any(_SECTION.match(line) for line in split)
    script, title, recovery = "", "", False
    for line in split:
        if section := _SECTION.match(line):
            script = section["script"].rsplit("/", 1)[-1] if section["edge"] == "BEGIN" else ""
        elif entry := _ENTRY.match(line):
            found = _TITLE.search(entry["rest"])
            title = (found[1] or found[2] or "") if found else ""
            recovery = "recovery" in entry["rest"]
        elif (match := _LINUX.match(line)) and (not marked or script in _LINUX_SCRIPTS):
            words = split_grub_words(match["rest"])
            if words:
                lines.append(
                    KernelLine(title=title, recovery=recovery, image=words[0], arguments=words[1:], raw=match["rest"])
                )
    return tuple(lines)


def compare_menu(lines: Sequence[KernelLine], settings: Settings, ours: Sequence[str]) -> tuple[str, ...]:
    """Where the entries do not say what the settings say, in words.

    `ours` are words that xpukit may have put in once: those that the settings no longer have must not be left over.
    Words that are not known from reading alone are not looked for.
    """
    problems = []
    for line in lines:
        names = VARIABLES[:1] if line.recovery else VARIABLES
        wanted = [word for name in names for word in settings.words(name)]
        missing = [word for word in wanted if OPAQUE not in word and not line.has(word)]
        left = [word for word in ours if line.has(word) and not _is_named(word, settings)]
        if missing:
            problems.append(f"the entry {line.title!r} lacks {' '.join(missing)}")
        if left:
            problems.append(f"the entry {line.title!r} still has {' '.join(left)}")
    return tuple(problems)


def _is_named(word: str, settings: Settings) -> bool:
    known = [other for name in VARIABLES for other in settings.words(name)]
    return any(OPAQUE in other or matches(other, word) for other in known)

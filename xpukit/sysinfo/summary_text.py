"""Machine text in GitHub's Markdown so that it shows as it is: it pings nobody and links to no issue.

GitHub looks for @names and #numbers in the rendered text, after entities and backslashes are resolved, and leaves out
what stands in code. So values of a machine are code spans, and in sentences an empty HTML comment splits such words.
"""

from __future__ import annotations

import re
import unicodedata

# A value longer than this is a log or a dump: the bundle has it whole.
MOST_CHARS = 400
_MARKDOWN = re.compile(r"([\\`*_\[\]|~$])")
# @name, also with an escaped _ first; #12, GH-12; also of `owner/repository#12` and `owner/repository@commit`.
_TRIGGERS = re.compile(r"(@(?=[\w\\])|#(?=\d)|\bGH-(?=\d))", re.IGNORECASE)
_LINKED = re.compile(r"\b(https?:|www\.)(?=\S)", re.IGNORECASE)
_BAR = re.compile(r"(?<!\\)\|")
_BREAK = "<!-- -->"


def flatten(text: str, most: int = MOST_CHARS) -> str:
    """One line without control and direction characters, cut at `most` characters."""
    spaced = "".join(" " if char.isspace() else char for char in text)
    plain = " ".join("".join("?" if unicodedata.category(char).startswith("C") else char for char in spaced).split())
    return plain if len(plain) <= most else f"{plain[:most]} ..."


def as_code(text: str, most: int = MOST_CHARS) -> str:
    """A code span; "" for nothing."""
    plain = flatten(text, most)
    if not plain:
        return ""
    fence = _fence(plain, "`", 1)
    pad = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def as_text(text: str, most: int = MOST_CHARS) -> str:
    """A sentence with Markdown, HTML, mentions, references and links made harmless."""
    return _split_words(_escape_html(_MARKDOWN.sub(r"\\\1", flatten(text, most))))


def as_html(text: str, most: int = MOST_CHARS) -> str:
    """A sentence for inside an HTML tag, where Markdown is not read."""
    return _split_words(_escape_html(flatten(text, most)))


def as_block(lines: tuple[str, ...], language: str = "") -> str:
    """A fenced block; each entry may have several lines."""
    kept = [flatten_line(line) for entry in lines for line in entry.splitlines()]
    fence = _fence("\n".join(kept), "`", 3)
    return "\n".join((fence + language, *kept, fence))


def flatten_line(line: str) -> str:
    """A line as it is, without control characters."""
    return "".join(
        "?" if unicodedata.category(char).startswith("C") and char != "\t" else char for char in line[: 4 * MOST_CHARS]
    ).rstrip()


def as_row(cells: tuple[str, ...]) -> str:
    """A row of a table of code spans and sentences.

    Cells are split before code spans are read; the backslash before a bar is taken away again.
    """
    return "| " + " | ".join(_BAR.sub(r"\|", cell) for cell in cells) + " |"


def _fence(text: str, mark: str, least: int) -> str:
    """A run of marks that does not occur in the text."""
    longest = max((len(run) for run in re.findall(re.escape(mark) + "+", text)), default=0)
    return mark * max(least, longest + 1)


def _escape_html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _split_words(text: str) -> str:
    return _LINKED.sub(lambda found: f"{found[1]}{_BREAK}", _TRIGGERS.sub(lambda found: f"{found[1]}{_BREAK}", text))

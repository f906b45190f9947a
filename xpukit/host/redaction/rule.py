"""What a redaction rule is: a name, cheap hints that say when it can match at all, and what it does to a text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from xpukit.host.redaction.lazy_pattern import LazyPattern
from xpukit.host.redaction.near import Text, find_spans
from xpukit.host.redaction.pseudonyms import Render

MARK = "[REDACTED:"


class Scene(Protocol):
    """What a rule may use while it works on a text."""

    label: str

    def hide(self, rule: str, secret: str) -> str:
        """The constant that stands for a secret; the secret itself is learned and removed wherever it stands alone."""

    def stand_in(self, rule: str, kind: str, name: str, render: Render, canonical: str = "") -> str:
        """The pseudonym of a name."""

    def learn(self, kind: str, name: str) -> None:
        """Remember a host, user, domain or serial number, so that it is found wherever it stands alone."""

    def finds(self, text: str) -> bool:
        """Whether any rule replaces something in a text that was found inside another."""

    def again(self, rule: str) -> None:
        """Count one more: what the rule put in a moment ago was put in once more."""

    def knows(self, kind: str, name: str) -> bool:
        """Whether the name has a pseudonym of that kind already."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`hints`: lower-case texts of which one must be there; () where there is no such text.

    `probe`: a cheap pattern that matches within every match; it then says where. `whole`: it looks further than some
    lines around its hint.
    """

    name: str
    removes: Literal["secret", "name"]
    what: str
    hints: tuple[str, ...]
    apply: Callable[[str, Scene], str]
    probe: re.Pattern[str] | None = None
    whole: bool = False

    def run(self, given: Text, scene: Scene) -> str:
        """The text after this rule; the same object where nothing changed."""
        text = given.text
        spans = find_spans(given, self.hints, self.probe)
        if not spans:
            return text
        if self.whole or spans == [(0, len(text))]:
            changed = self.apply(text, scene)
            return text if changed == text else changed
        parts: list[str] = []
        done = 0
        for begin, end in spans:
            piece = text[begin:end]
            changed = self.apply(piece, scene)
            if changed != piece:
                parts += (text[done:begin], changed)
                done = end
        return "".join((*parts, text[done:])) if parts else text


def build_secret_rule(
    name: str,
    what: str,
    pattern: str,
    *,
    hints: tuple[str, ...],
    check: Callable[[str], bool] | None = None,
    whole: bool = False,
    probe: re.Pattern[str] | None = None,
) -> Rule:
    """A rule that hides group `s` of each match (that passes `check`)."""
    lazy = LazyPattern(pattern)

    def apply(text: str, scene: Scene) -> str:
        def replace(match: re.Match[str]) -> str:
            secret = match["s"]
            if secret is None or MARK in secret or (check is not None and not check(secret)):
                return match.group()
            return replace_group(match, "s", scene.hide(name, secret))

        return lazy.compiled.sub(replace, text)

    return Rule(name=name, removes="secret", what=what, hints=hints, apply=apply, whole=whole, probe=probe)


def build_name_rule(
    name: str,
    what: str,
    pattern: str,
    *,
    kind: str,
    render: Render,
    hints: tuple[str, ...] = (),
    check: Callable[[str], bool] | None = None,
    canonical: Callable[[str], str] | None = None,
    learn: bool = False,
    probe: str = "",
) -> Rule:
    """A rule that puts a pseudonym in the place of group `s` of each match (that passes `check`)."""
    lazy = LazyPattern(pattern)

    def apply(text: str, scene: Scene) -> str:
        def replace(match: re.Match[str]) -> str:
            found = match["s"]
            if found is None or MARK in match.group() or (check is not None and not check(found)):
                return match.group()
            pseudonym = scene.stand_in(name, kind, found, render, canonical(found) if canonical else "")
            if learn:
                scene.learn(kind, found)
            return replace_group(match, "s", pseudonym)

        return lazy.compiled.sub(replace, text)

    return Rule(name=name, removes="name", what=what, hints=hints, apply=apply, probe=_compile_probe(probe))


def _compile_probe(pattern: str) -> re.Pattern[str] | None:
    return re.compile(pattern) if pattern else None


def replace_group(match: re.Match[str], group: str, by: str) -> str:
    """The match's text with one group replaced."""
    begin, end = match.span(group)
    whole, offset = match.group(), match.start()
    return whole[: begin - offset] + by + whole[end - offset :]

"""What a comparison of two bundles reads as settings and packages, and what it leaves out (data/sysinfo_diff)."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cache
from typing import Literal

import msgspec

from xpukit.facts.tables import damaged, read_table

SCHEMA = "xpukit.diff-rules/1"
Form = Literal["value", "tokens", "lines", "assignments", "columns"]


class SettingRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer that holds settings, and how: one `value`, `tokens` between blanks, `lines`, `assignments` (a = b),
    or `columns` (name and values two blanks apart). `ignore` are names that are not settings.
    """

    question: str
    label: str
    form: Form
    ignore: tuple[str, ...]
    why: str
    prefix: str = ""

    def ignores(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.ignore)


class PackageRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that lists packages, and how a line of it reads (groups `name`, `version`)."""

    question: str
    pattern: str
    why: str


class SkipRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers that change by themselves."""

    question: str
    why: str


class NoiseRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parts of answers that change by themselves."""

    question: str
    pattern: str
    replace: str
    why: str


class DiffRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All rules; the first setting or package rule that fits a question holds."""

    schema: str
    date: str
    setting: tuple[SettingRule, ...]
    package: tuple[PackageRule, ...]
    skip: tuple[SkipRule, ...]
    noise: tuple[NoiseRule, ...]

    def find_setting(self, question: str) -> SettingRule | None:
        return next((rule for rule in self.setting if fnmatchcase(question, rule.question)), None)

    def find_package(self, question: str) -> PackageRule | None:
        return next((rule for rule in self.package if fnmatchcase(question, rule.question)), None)

    def skips(self, question: str) -> bool:
        """Whether the whole answer is left out."""
        return _skip_pattern(self).fullmatch(question) is not None

    def remove_noise(self, question: str, text: str) -> str:
        """The answer without what changes by itself."""
        for rule in self.noise:
            if rule.question == "*" or fnmatchcase(question, rule.question):
                text = re.sub(rule.pattern, rule.replace, text, flags=re.MULTILINE)
        return text


@cache
def _skip_pattern(rules: DiffRules) -> re.Pattern[str]:
    """All patterns in one: there are thousands of questions and some fifty patterns."""
    import fnmatch

    return re.compile("|".join(fnmatch.translate(rule.question) for rule in rules.skip))


@cache
def load_diff_rules() -> DiffRules:
    """The shipped rules. Raises BadFactsError when the file breaks its schema or a pattern does not compile."""
    rules = read_table("sysinfo_diff", "rules", DiffRules, SCHEMA)
    try:
        for pattern in (*(rule.pattern for rule in rules.package), *(rule.pattern for rule in rules.noise)):
            re.compile(pattern)
    except re.error as err:
        raise damaged("sysinfo_diff/rules.toml", err) from err
    return rules

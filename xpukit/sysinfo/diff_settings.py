"""Settings and packages in answers, and which of them differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from xpukit.core.machine import CpuLayout
from xpukit.facts.diff_rules import DiffRules, PackageRule, SettingRule
from xpukit.host.mediated import Question
from xpukit.sysinfo.diff_answers import name_question
from xpukit.sysinfo.diff_result import AnswerText, Area, Difference, Kind, Side

# Errors that mean "it is not there": a state of the machine, while a time-out or a denial says nothing of it.
_ABSENT = ("ENOENT", "ENOTDIR", "not-found")
_CPU_FIELDS = (
    ("governor", "CPU governor"),
    ("frequency_driver", "CPU frequency driver"),
    ("energy_preference", "CPU energy preference"),
    ("energy_bias", "CPU energy bias"),
    ("sub_numa", "sub-NUMA clustering"),
    ("allowed", "processors this process may use"),
    ("cgroup_cpu_limit", "cgroup CPU limit"),
    ("cgroup_memory_limit_bytes", "cgroup memory limit"),
)


def compare_values(
    area: Area,
    old: Mapping[str, str],
    new: Mapping[str, str],
    *,
    what: Callable[[str], str] = str,
    subject: str = "",
    is_reading: Callable[[str], bool] = lambda _: False,
) -> Iterator[Difference]:
    """One difference for each name whose value is not the same.

    A name on one side only was added or removed; if it is a reading, the other side did not say.
    """
    for name in dict.fromkeys((*old, *new)):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        yield Difference(
            area=area,
            kind=name_kind(before, after, is_reading=is_reading(name)),
            what=what(name),
            old=before or "",
            new=after or "",
            subject=subject,
        )


def name_kind(old: object, new: object, *, is_reading: bool = False) -> Kind:
    """What happened between two values, of which None is not there."""
    if old is not None and new is not None:
        return "changed"
    if is_reading:
        return "unread"
    return "added" if old is None else "removed"


def compare_settings(a: Side, b: Side, rules: DiffRules) -> Iterator[Difference]:
    """Kernel command line, kernel parameters, module options, limits, environment, processor settings."""
    for rule in rules.setting:
        old, new = _read_settings(rule, a, b, rules), _read_settings(rule, b, a, rules)
        yield from compare_values("settings", old, new, what=lambda name, rule=rule: f"{rule.label} {name}")  # type: ignore[misc]
    yield from compare_values("settings", _read_cpu(a.machine.cpu), _read_cpu(b.machine.cpu))


def _read_cpu(cpu: CpuLayout) -> dict[str, str]:
    values = {label: getattr(cpu, field) for field, label in _CPU_FIELDS}
    return {label: str(value) for label, value in values.items() if value not in (None, "")}


def _read_settings(rule: SettingRule, side: Side, other: Side, rules: DiffRules) -> dict[str, str]:
    """Name -> value of what both sides were asked."""
    found: dict[str, str] = {}
    for question, answer in side.answers.items():
        name = name_question(question)
        if rules.find_setting(name) != rule or not _was_asked(question, other.answers):
            continue
        if answer.error and answer.error not in _ABSENT:
            continue
        theirs = other.answers.get(question)
        if theirs is not None and theirs.error and theirs.error not in _ABSENT:
            continue
        if not answer.error:
            found |= {key: value for key, value in _parse(rule, question, answer.text) if not rule.ignores(key)}
    return found


def _was_asked(question: Question, answers: Mapping[Question, AnswerText]) -> bool:
    """Whether the other side was asked too; a variable also by listing all that begin alike."""
    if question in answers:
        return True
    if question[0] != "env":
        return False
    return any(
        asked[0] == "env-names" and not answer.error and question[1].startswith(asked[1])
        for asked, answer in answers.items()
    )


def _parse(rule: SettingRule, question: Question, text: str) -> Iterable[tuple[str, str]]:
    path = question[-1].removeprefix(rule.prefix)
    if rule.form == "tokens":
        return _parse_tokens(text)
    if rule.form == "lines":
        # A list of lines has no names: a changed line is one removed and one added.
        return [(f"{path}: {line.strip()}", "set") for line in text.splitlines() if line.strip()]
    if rule.form == "assignments":
        pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
        return [(name.strip().replace("/", "."), value.strip()) for name, _, value in pairs]
    if rule.form == "columns":
        rows = (re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in text.splitlines())
        return [(row[0], " ".join(row[1].split())) for row in rows if len(row) == 2]
    name = path.replace("/", ".") if rule.prefix == "/proc/sys/" else path
    return [(name, " ".join(text.split()))]


def _parse_tokens(text: str) -> list[tuple[str, str]]:
    """'a=1 a=2 quiet' -> a: '1 2', quiet: 'set'. Quotes keep blanks."""
    values: dict[str, list[str]] = {}
    for token in re.findall(r'(?:[^\s"]|"[^"]*")+', text):
        name, equals, value = token.partition("=")
        values.setdefault(name, []).append(value if equals else "set")
    return [(name, " ".join(found)) for name, found in values.items()]


def compare_packages(a: Side, b: Side, rules: DiffRules, shown: set[str]) -> Iterator[Difference]:
    """Packages of the same listing on both sides; `shown` are those that have a row already."""
    for question in sorted(set(a.answers) & set(b.answers)):
        rule = rules.find_package(name_question(question))
        if rule is None or a.answers[question].error or b.answers[question].error:
            continue
        old, new = (_read_packages(rule, side.answers[question].text) for side in (a, b))
        for difference in compare_values("stack", old, new, what=lambda name: f"package {name}"):
            if difference.what.removeprefix("package ") not in shown:
                shown.add(difference.what.removeprefix("package "))
                yield difference


def _read_packages(rule: PackageRule, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in re.finditer(rule.pattern, text, re.MULTILINE):
        # A removed package whose settings files stay is listed too, with a status other than installed.
        status = match.groupdict().get("status")
        if not status or status.endswith("i"):
            found[match["name"]] = match["version"]
    return found

"""A launch with any words among its flags, and what is read of each form by its own rules."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import msgspec
import yaml

from tests.unit.serve.form_plans import load_plan
from xpukit.serve.forms import FormOptions, render_form
from xpukit.serve.forms.quoting import REFERENCE
from xpukit.serve.plan_types import Flag, Plan

# What is known to go wrong somewhere.
HARD = (
    "", " ", "a b", "it's", '"', '"x"', "\\", "\\\\n", "$HOME", "$$", "$(id)", "$(NAME)", "`id`", "%n", "%%", "50%", "100%_of",
    ";", "&", "|", ">x", "<", "*", "?", "[a]", "{a,b}", "~", "~/x", "#x", "!x", "a=b", "=", ":", "- x", "@x", "+x", "no", "null",
    "0x1f", "1e3", "12:30", "\t", "a\nb", "\r", "\x01", "\x7f", "\x85", "\u2028", "\ufeffx", "é", "日本", "🙂", "a\\ b", "'\"'\"'",
    '{"mode": 3, "a": {"b": ["$x", "%y"]}}', "x;y", "x ; y", "${", "${1}", "$", "%", "\\x41", "&&", "a\\", "'", "{{.X}}",
)  # fmt: skip


def insert_words(plan: Plan, words: Sequence[str]) -> Plan:
    """The plan with one more flag, `--odd WORD...`, on every engine."""
    more = (Flag(words=("--odd", *words), why="", kind="asked"), Flag(words=("--last",), why="", kind="asked"))
    launches = tuple(
        msgspec.structs.replace(one, flags=(*one.flags, *more)) if one.role == "engine" else one
        for one in plan.launches
    )
    return msgspec.structs.replace(plan, launches=launches)


def render_words(form: str, words: Sequence[str], *, name: str) -> str:
    """The form's (first) text. `direct` is `nvidia` without a key: no shell in the container starts its engine."""
    plan = insert_words(load_plan("nvidia" if name == "direct" else name), words)
    if name == "direct":
        launches = tuple(
            msgspec.structs.replace(
                one, flags=tuple(flag for flag in one.flags if not any(map(REFERENCE.search, flag.words)))
            )
            for one in plan.launches
        )
        plan = msgspec.structs.replace(plan, launches=launches)
    return render_form(form, plan, FormOptions(comments=False))[0].text


def find_odd(read: Sequence[str]) -> list[str]:
    """The words of `--odd`, in the argv or in what a shell in it is told to run."""
    words = list(read)
    if words.count("--odd") != 1:
        assert words[-2] == "-c", words
        words = read_script("\n" + words[-1].partition("exec ")[2])
    return words[words.index("--odd") + 1 : words.index("--last")]


def read_compose(text: str) -> list[str]:
    """A doubled `$` is one; a single one would be filled in."""
    document = json.loads(text) if text.startswith("{") else yaml.safe_load(text)
    [service] = document["services"].values()
    return [_halve_signs(word) for word in service["command"]]


def _halve_signs(word: str) -> str:
    assert not re.search(r"(?<!\$)(\$\$)*\$(?!\$)", word), word
    return word.replace("$$", "$")


def read_manifest(text: str) -> list[str]:
    """Kubernetes reads `$$` as one sign, and fills in $(NAME)."""
    [container] = [
        one
        for document in yaml.safe_load_all(text)
        if document["kind"] == "Deployment"
        for one in document["spec"]["template"]["spec"]["containers"]
    ]
    return [re.sub(r"\$(\$|\()", lambda match: {"$": "$"}[match[1]], word) for word in container["args"]]


def read_setting(text: str, key: str) -> list[str]:
    """The words of a unit's setting, as systemd.syntax(7), specifiers and variables of systemd.service(5) say."""
    joined = text.replace("\\\n", " ")
    [line] = [line for line in joined.split("\n") if line.startswith(f"{key}=")]
    return [fill_in(word) for word in split_unit_words(line.removeprefix(f"{key}="))]


def split_unit_words(text: str) -> list[str]:
    words = re.findall(r'(?: |^)+("(?:\\.|[^"\\])*"|[^\s"\'\\]+)(?= |$)', text)
    # Nothing between the words was left out.
    assert len("".join(words)) + len(re.sub(r'"(?:\\.|[^"\\])*"|[^ ]', "", text)) == len(text)
    return [_unquote(word) if word.startswith('"') else word for word in words]


_NAMED = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"'}


def _unquote(word: str) -> str:
    return re.sub(
        r"\\(?:x([0-9a-f]{2})|(.))",
        lambda match: chr(int(match[1], 16)) if match[1] else _NAMED[match[2]],
        word[1:-1],
    )


def fill_in(word: str) -> str:
    """What a word of ExecStart= is: no specifier and no variable in it, and both signs doubled."""
    assert not re.search(r"(?<!%)(%%)*%(?!%)", word), word
    return _halve_signs(word.replace("%%", "%"))


_SHELL = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(\n)|([^\s'"\\$`;&|<>()]+)|([ \n\t]+)""")


def read_script(text: str) -> list[str]:
    """The words of a script of one command, quoted as POSIX says; what the shell would do more with is a failure."""
    words: list[str] = []
    inside = False
    at = text.index("\n") + 1
    while at < len(text):
        match = _SHELL.match(text, at)
        assert match, text[at : at + 40]
        at = match.end()
        if match[5] is not None or match[3] is not None:
            inside = inside and match[5] is None
            continue
        part = match[1] if match[1] is not None else match[2] if match[2] is not None else match[4]
        words[-1:] = [words[-1] + part] if inside else [*words[-1:], part]
        inside = True
    return words

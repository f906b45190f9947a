"""Words of forms, whatever is in them: what a shell, systemd, Compose and YAML read is what was meant."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from xpukit.serve.forms.quoting import REFERENCE, join_words, quote_word
from xpukit.serve.forms.unit_text import quote_command_word, quote_setting_word
from xpukit.serve.forms.yaml_text import Noted, dump_yaml

WORDS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=40)
ODD = st.text(st.sampled_from(list("$%{}'\"\\ \n\t;#&|`!*~=:-aA0é")), max_size=20)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"'}


@given(st.lists(WORDS | ODD, min_size=1, max_size=5))
@example(["", "a b", "it's", "$HOME", "-c", "`id`"])
def test_a_shell_reads_the_words_back(words: list[str]) -> None:
    read = shlex.split(join_words(words))
    assert [REFERENCE.sub(lambda match: f"{match[0][:-1]}:?}}", word) for word in words] == read


@pytest.mark.parametrize(
    ("word", "quoted"),
    [("${KEY}", '"${KEY:?}"'), ("a ${KEY} b", "'a '\"${KEY:?}\"' b'"), ("$KEY", "'$KEY'"), ("${1}", "'${1}'")],
)
def test_references_are_the_shells(word: str, quoted: str) -> None:
    assert quote_word(word) == quoted


def read_unit_word(text: str) -> str:
    """One word as systemd.syntax(7) describes it, before specifiers."""
    if not text.startswith('"'):
        assert not re.search(r"[\s\"'\\]", text)
        return text
    assert text.endswith('"')
    assert len(text) >= 2

    def unescape(match: re.Match[str]) -> str:
        return chr(int(match[2], 16)) if match[2] else _ESCAPES[match[1]]

    inner = text[1:-1]
    assert not re.search(r'(?<!\\)(\\\\)*"', inner)
    return re.sub(r"\\(?:x([0-9a-f]{2})|(.))", lambda m: unescape(_swap(m)), inner)


def _swap(match: re.Match[str]) -> re.Match[str]:
    found = re.fullmatch(r"\\(?:([^x])|x([0-9a-f]{2}))", match[0])
    assert found
    return found


@given(WORDS | ODD)
@example("")
@example("50% of $HOME")
def test_systemd_reads_the_word_back(word: str) -> None:
    quoted = quote_command_word(word)
    assert "\n" not in quoted
    assert read_unit_word(quoted).replace("%%", "%").replace("$$", "$") == word
    assert read_unit_word(quote_setting_word(word)).replace("%%", "%") == word


SCALARS = WORDS | ODD | st.booleans() | st.integers(-(10**6), 10**6)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | ODD, inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(st.sampled_from(["a", "on", "x: y", "1", ""]), TREES, min_size=1))
@example({"a": ["no", "1e3", "0x1f", "12:30", "~", "- b", "# c", "a: b", "\x85", "\u2028", "\ufeff", "\x7f"]})
def test_yaml_reads_the_tree_back(tree: dict[str, object]) -> None:
    assert yaml.safe_load(dump_yaml(tree)) == tree


@given(TREES, st.lists(WORDS, max_size=3))
def test_comments_change_nothing(tree: object, notes: list[str]) -> None:
    given_tree = {"key": Noted(tree, tuple(notes)), "list": [Noted(tree, tuple(notes)), [Noted(tree, tuple(notes))]]}
    assert yaml.safe_load(dump_yaml(given_tree)) == {"key": tree, "list": [tree, [tree]]}

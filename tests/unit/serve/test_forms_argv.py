"""Whatever words a command has, the argv that a form's reader gets is the plan's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.serve.form_words import (
    HARD,
    find_odd,
    read_compose,
    read_manifest,
    read_script,
    read_setting,
    render_words,
)
from xpukit.core.errors import UsageError
from xpukit.serve.forms.quoting import REFERENCE

# "${NAME}" is a reference, on purpose; a NUL cannot be in an argv.
ANY = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=30)
ODD = st.text(st.sampled_from(list("$%{}()'\"\\ \n\t;#&|`!*~=:-aAé")), max_size=20)
WORDS = st.lists((ANY | ODD).filter(lambda word: not REFERENCE.search(word)), min_size=1, max_size=4)

READERS: dict[str, Callable[[str], list[str]]] = {
    "shell": read_script,
    "docker": read_script,
    "podman": read_script,
    "compose": read_compose,
    "k8s": read_manifest,
    "k8s-dra": read_manifest,
    "systemd": lambda text: read_setting(text, "ExecStart"),
    "quadlet": lambda text: read_setting(text, "Exec"),
}


# Of the saved plans, `one` loads oneAPI in a shell of the container before the engine, `direct` starts it without one,
# and `native` has no image.
CASES = [(form, name) for form in READERS for name in ("one", "direct")] + [("systemd", "native")]


@pytest.mark.parametrize(("form", "name"), CASES)
@settings(max_examples=20, deadline=None)
@given(words=WORDS)
@example(words=list(HARD))
def test_the_reader_gets_the_plans_words(form: str, name: str, words: list[str]) -> None:
    if form == "quadlet" and name == "direct" and "" in words:
        with pytest.raises(UsageError, match="empty word"):
            render_words(form, words, name=name)
        words = [word for word in words if word]
    assert find_odd(READERS[form](render_words(form, words, name=name))) == words

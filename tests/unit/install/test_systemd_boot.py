"""Boot loader entries and /etc/kernel/cmdline, edited word by word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.install.boot_entries import edit_cmdline, edit_entry, list_cmdline_words, list_entry_words, read_field
from xpukit.install.kernel_words import WantedWord, matches, split_words

PASS_THROUGH = WantedWord(token="iommu=pt", remove=("iommu=off",))
# Written in the form of kernel-install's 90-loaderentry.install.
ENTRY = """\
# Boot Loader Specification type#1 entry
# File created by /usr/lib/kernel/install.d/90-loaderentry.install (systemd 252)
title      Debian GNU/Linux 12 (bookworm)
version    6.1.0-9-amd64
machine-id 0123456789abcdef0123456789abcdef
sort-key   debian
options    root=UUID=a1b2 ro quiet iommu=off systemd.machine_id=0123456789abcdef0123456789abcdef
linux      /0123456789abcdef0123456789abcdef/6.1.0-9-amd64/linux
initrd     /0123456789abcdef0123456789abcdef/6.1.0-9-amd64/initrd.img-6.1.0-9-amd64
"""


def test_an_entry_keeps_every_other_line() -> None:
    done = edit_entry(ENTRY, PASS_THROUGH)
    assert done.text == ENTRY.replace("iommu=off", "iommu=pt")
    assert done.removed == ("iommu=off",)


def test_a_word_is_added_at_the_end_of_the_options() -> None:
    assert edit_entry(ENTRY, WantedWord(token="audit=0")).text == ENTRY.replace(
        "abcdef\nlinux", "abcdef audit=0\nlinux"
    )


def test_several_options_lines_are_one() -> None:
    text = "linux /l\noptions a iommu=off\noptions b\n"
    assert edit_entry(text, PASS_THROUGH).text == "linux /l\noptions a iommu=pt\noptions b\n"
    assert edit_entry(text, WantedWord(token="c")).text == "linux /l\noptions a iommu=off\noptions b c\n"


@pytest.mark.parametrize(("text", "after"), [
    ("linux /l\n", "linux /l\noptions iommu=pt\n"),
    ("linux /l", "linux /l\noptions iommu=pt\n"),
    ("linux /l\noptions\n", "linux /l\noptions iommu=pt\n"),
])  # fmt: skip
def test_an_entry_without_options(text: str, after: str) -> None:
    assert edit_entry(text, PASS_THROUGH).text == after


def test_words_for_init_in_an_entry_are_left_alone() -> None:
    assert edit_entry("linux /l\noptions a -- iommu=pt\n", PASS_THROUGH).problem.startswith("--: ")
    assert edit_cmdline("a iommu=pt -- iommu=off\n", PASS_THROUGH).text == "a iommu=pt -- iommu=off\n"


def test_fields_are_read() -> None:
    assert read_field(ENTRY, "machine-id") == "0123456789abcdef0123456789abcdef"
    assert read_field(ENTRY, "efi") == ""


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("root=/dev/sda1 ro\n", "root=/dev/sda1 ro iommu=pt\n"),
        ("root=/dev/sda1 ro", "root=/dev/sda1 ro iommu=pt"),
        ("root=/dev/sda1\nro iommu=off\n", "root=/dev/sda1\nro iommu=pt\n"),
        ("# words\nroot=/dev/sda1\n# more\n", "# words\nroot=/dev/sda1 iommu=pt\n# more\n"),
        ("", "iommu=pt\n"),
    ],
)
def test_cmdline_of_kernel_install(text: str, after: str) -> None:
    assert edit_cmdline(text, PASS_THROUGH).text == after


def test_a_word_that_cannot_be_written_is_refused() -> None:
    assert edit_entry(ENTRY, WantedWord(token="a b")).problem
    assert edit_entry("linux /l\n", WantedWord(token="a b")).problem
    assert edit_cmdline("", WantedWord(token="a b")).problem


WORDS = st.lists(
    st.sampled_from(("ro", "quiet", "iommu=off", "root=/dev/sda1", 'dyndbg="file a +p"', "$kernelopts", "iommu=pt")),
    max_size=6,
)


@given(WORDS, st.sampled_from((" ", "  ", "\t")), st.booleans())
def test_only_the_asked_words_change_and_twice_is_once(words: list[str], space: str, last_line_ends: bool) -> None:
    text = f"linux /l\noptions {space.join(words)}" + ("\n" if last_line_ends else "")
    done = edit_entry(text, PASS_THROUGH)
    assert not done.problem
    assert edit_entry(done.text, PASS_THROUGH).text == done.text
    now = list_entry_words(done.text)
    assert [w for w in now if not w.startswith("iommu")] == [w for w in words if not w.startswith("iommu")]
    assert "iommu=pt" in now
    assert "iommu=off" not in now


@given(st.lists(st.one_of(WORDS.map(" ".join), st.just("# iommu=off here"), st.just("")), max_size=5))
def test_cmdline_lines_and_comments_stay(lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    done = edit_cmdline(text, PASS_THROUGH)
    assert not done.problem
    assert [line for line in done.text.splitlines() if line.startswith("#")] == [
        li for li in lines if li.startswith("#")
    ]
    now = list_cmdline_words(done.text)
    assert [w for w in now if not w.startswith("iommu")] == [
        w for w in list_cmdline_words(text) if not w.startswith("iommu")
    ]
    assert edit_cmdline(done.text, PASS_THROUGH).text == done.text


@given(st.text(max_size=120))
def test_rubbish_never_raises(text: str) -> None:
    edit_entry(text, PASS_THROUGH)
    edit_cmdline(text, PASS_THROUGH)


@pytest.mark.parametrize(
    ("word", "pattern", "same"),
    [
        ("intel_iommu=on", "intel_iommu=*", True),
        ("intel-iommu=on", "intel_iommu=on", True),
        ("intel_iommu=on", "intel_iommu=off", False),
        ("intel_iommu", "intel_iommu=*", False),
        ("intel_iommu_x=on", "intel_iommu=*", False),
        ('dyndbg="file a +p"', "dyndbg=file a +p", True),
        ("a=b-c", "a=b_c", False),
    ],
)
def test_words_are_compared_as_the_kernel_does(word: str, pattern: str, same: bool) -> None:
    assert matches(word, pattern) is same


def test_words_with_spaces_in_quotes() -> None:
    assert split_words('ro dyndbg="file a +p" "b=c d" e') == ("ro", 'dyndbg="file a +p"', '"b=c d"', "e")

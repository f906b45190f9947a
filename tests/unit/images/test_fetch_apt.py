"""What apt says of an installation, as packages to fetch and the index of a repository made of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.core.errors import ExternalError
from xpukit.images.fetch_apt import (
    choose_debs,
    last_complaint,
    parse_absent,
    parse_stanzas,
    parse_uris,
    render_index,
)

URIS = """\
'http://archive.example/debian/pool/main/g/git/git_2.39.5-0%2bdeb12u3_amd64.deb' git_1%3a2.39.5-0+deb12u3_amd64.deb 7264380 MD5Sum:b493
'http://archive.example/debian/pool/main/n/numactl/libnuma1_2.0.16-1_amd64.deb' libnuma1_2.0.16-1_amd64.deb 20964 SHA256:639e
"""
SHOWN = """\
Package: git
Version: 1:2.39.5-0+deb12u3
Architecture: amd64
Depends: libc6 (>= 2.34)
Description-en: fast distributed revision control system
 Git is made for many hands.
 .
 It keeps all of history.
Filename: pool/main/g/git/git_2.39.5-0+deb12u3_amd64.deb
Size: 7264380
SHA256: aa11

Package: libnuma1
Version: 2.0.16-1
Architecture: amd64
Conffiles:
 /etc/x 0123
Filename: pool/main/n/numactl/libnuma1_2.0.16-1_amd64.deb
Size: 20964
SHA256: bb22

"""


class Apt:
    """Answers as apt in a base image would; `has` are the packages it knows."""

    def __init__(self, has: set[str], uris: str = URIS, shown: str = SHOWN, refusal: str = "") -> None:
        self.has, self.uris, self.shown, self.refusal = has, uris, shown, refusal
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, *argv: str) -> tuple[bool, str, str]:
        self.asked.append(argv)
        if argv[0] == "apt-cache":
            return True, self.shown, ""
        gone = [word for word in argv[6:] if word not in self.has]
        said = "".join(
            f"E: Version '{word.partition('=')[2]}' for '{word.partition('=')[0]}' was not found\n"
            if "=" in word
            else f"E: Unable to locate package {word}\n"
            for word in gone
        )
        return not said and not self.refusal, "" if said else self.uris, said + self.refusal


def test_packages_with_the_hashes_of_the_index() -> None:
    apt = Apt({"git", "numactl"})
    plan = choose_debs(apt, "debian:12", ["git", "numactl"])
    assert plan.absent == ()
    assert [(deb.name, deb.file, deb.sha256) for deb in plan.debs] == [
        ("git=1:2.39.5-0+deb12u3", "git_2.39.5-0+deb12u3_amd64.deb", "aa11"),
        ("libnuma1=2.0.16-1", "libnuma1_2.0.16-1_amd64.deb", "bb22"),
    ]
    assert plan.debs[0].url.endswith("git_2.39.5-0%2bdeb12u3_amd64.deb")
    assert apt.asked[-1][3:] == ("git=1:2.39.5-0+deb12u3", "libnuma1=2.0.16-1")


def test_the_index_points_beside_itself_and_keeps_all_fields() -> None:
    plan = choose_debs(Apt({"git"}), "debian:12", ["git"])
    text = render_index(plan.debs).decode()
    again = parse_stanzas(text)
    assert set(again) == {deb.file for deb in plan.debs}
    git = again["git_2.39.5-0+deb12u3_amd64.deb"]
    assert git["Filename"] == "./git_2.39.5-0+deb12u3_amd64.deb"
    assert git["Depends"] == "libc6 (>= 2.34)"
    assert "\n .\n It keeps all of history." in git["Description-en"]
    assert "Conffiles: \n /etc/x 0123\n" in text


def test_absent_packages_are_set_aside_and_named() -> None:
    apt = Apt({"git"})
    plan = choose_debs(apt, "debian:12", ["git", "nosuch", "numactl=9"])
    assert plan.absent == ("nosuch", "numactl=9")
    assert len(plan.debs) == 2
    assert apt.asked[1][6:] == ("git",)
    assert choose_debs(Apt(set()), "debian:12", ["nosuch"]).debs == ()
    assert choose_debs(Apt({"git"}, uris=""), "debian:12", ["git"]).debs == ()


def test_what_apt_cannot_solve_is_told() -> None:
    with pytest.raises(ExternalError, match="held broken packages"):
        choose_debs(
            Apt({"git"}, refusal="E: Unable to correct problems, you have held broken packages.\n"), "b", ["git"]
        )


@pytest.mark.parametrize(
    ("uris", "shown", "words"),
    [
        (URIS.replace("http:", "file:"), SHOWN, "inside the image|no SHA-256"),
        (URIS, "", "cannot be fetched"),
        (URIS, SHOWN.replace("SHA256", "MD5sum"), "no SHA-256"),
    ],
)
def test_what_cannot_be_fetched_with_a_hash_is_refused(uris: str, shown: str, words: str) -> None:
    with pytest.raises(ExternalError, match=words):
        choose_debs(Apt({"git"}, uris=uris, shown=shown), "debian:12", ["git"])


def test_complaints() -> None:
    assert last_complaint("W: one\nE: two\nmore\n") == "two"
    assert last_complaint("W: one\n") == "W: one"
    assert last_complaint("") == "no word of why"
    assert parse_absent("E: Package 'x' has no installation candidate\nW: else") == {"x"}


@given(st.text())
def test_no_text_makes_a_parser_fail(text: str) -> None:
    parse_uris(text)
    parse_absent(text)
    parse_stanzas(text)
    parse_uris(f"'{text}' {text}.deb 1 {text}")

"""What apt and dpkg print; Debian's order of versions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.install.apt_parse import parse_needed_bytes, parse_packages, parse_policy, parse_simulation, parse_uris
from xpukit.install.debian_versions import compare_versions

SIMULATION = """\
NOTE: This is only a simulation!
Reading package lists...
The following additional packages will be installed:
  libigc1
Inst libigc1 (1.0.12504.6-1+deb12u1 Debian:12.15/oldstable [amd64])
Inst libc6 [2.36-9] (2.36-9+deb12u14 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64]) []
Inst libfoo:i386 (1:2.0 localhost [i386])
Inst data (3 localhost [all])
Remv old-driver [0.9-1]
Conf libigc1 (1.0.12504.6-1+deb12u1 Debian:12.15/oldstable [amd64])
"""

POLICY = """\
libze1:
  Installed: 1.8.12-1
  Candidate: 1.9.0-1
  Version table:
     1.9.0-1 500
        500 http://deb.example/debian bookworm/main amd64 Packages
        500 file:/opt/repository ./ Packages
 *** 1.8.12-1 100
        100 /var/lib/dpkg/status
nothing:
  Installed: (none)
  Candidate: (none)
  Version table:
pinned:
  Installed: (none)
  Candidate: 2.0
  Package pin: 2.0
  Version table:
     2.0 1001
        500 http://deb.example/debian bookworm/main amd64 Packages
"""


def test_simulation() -> None:
    found = parse_simulation(SIMULATION)
    assert [(item.name, item.before, item.after, item.architecture) for item in found.installed] == [
        ("libigc1", "", "1.0.12504.6-1+deb12u1", "amd64"),
        ("libc6", "2.36-9", "2.36-9+deb12u14", "amd64"),
        ("libfoo", "", "1:2.0", "i386"),
        ("data", "", "3", "all"),
    ]
    assert found.installed[1].origin == "Debian:12.15/oldstable, Debian-Security:12/oldstable-security"
    assert found.removed == ("old-driver 0.9-1",)


def test_policy() -> None:
    found = parse_policy(POLICY)
    assert found["libze1"].installed == "1.8.12-1"
    assert found["libze1"].candidate == "1.9.0-1"
    assert set(found["libze1"].available) == {"1.9.0-1"}, "what only dpkg knows is not to be had"
    assert len(found["libze1"].available["1.9.0-1"]) == 2
    assert found["nothing"].candidate == ""
    assert found["pinned"].pinned == "2.0"


def test_uris_and_sizes() -> None:
    text = "'http://deb.example/x/intel-igc_1%3a2.0-1_amd64.deb' intel-igc_1%3a2.0-1_amd64.deb 63000 SHA256:00\nnoise\n"
    assert parse_uris(text) == {"intel-igc 1:2.0-1": 63000}
    assert parse_needed_bytes("After this operation, 1,234 kB of additional disk space will be used.\n") == 1_234_000
    assert parse_needed_bytes("After this operation, 3 MB disk space will be freed.\n") == 0


def test_packages() -> None:
    found = parse_packages(
        "libze1\t1.8\tamd64\tii \nheld\t1\tamd64\thi \nrest\t2\tall\trc \nbroken\t2\tall\tiHR\nhalf\n"
    )
    assert found["libze1:amd64"].installed
    assert found["held:amd64"].held
    assert not found["rest:all"].present
    assert found["broken:all"].present
    assert not found["broken:all"].installed
    assert len(found) == 4


@given(st.text())
def test_nothing_raises(text: str) -> None:
    parse_simulation(text)
    parse_policy(text)
    parse_uris(text)
    parse_needed_bytes(text)
    parse_packages(text)


@pytest.mark.parametrize(
    ("one", "other", "order"),
    [
        ("1.0", "1.0", 0),
        ("1.0~rc1", "1.0", -1),
        ("1.0", "1.0-1", -1),
        ("1:0.9", "2.0", 1),
        ("1.10", "1.9", 1),
        ("1.0+b1", "1.0", 1),
        ("1.0a", "1.0+", -1),
        ("2.36-9+deb12u14", "2.36-9+deb12u9", 1),
        ("6.14.0-1011", "6.14.0-29", 1),
        ("1.0-0", "1.0", 0),
    ],
)
def test_order_of_versions(one: str, other: str, order: int) -> None:
    assert compare_versions(one, other) == order
    assert compare_versions(other, one) == -order


@given(st.lists(st.from_regex(r"[0-9][0-9a-z.+~]{0,6}(-[0-9a-z.+~]{1,4})?", fullmatch=True), min_size=3, max_size=3))
def test_the_order_is_an_order(versions: list[str]) -> None:
    one, other, third = versions
    assert compare_versions(one, other) == -compare_versions(other, one)
    if compare_versions(one, other) <= 0 and compare_versions(other, third) <= 0:
        assert compare_versions(one, third) <= 0

"""An image's inventory: what package managers and metadata said, parsed; the reading with a daemon that is made up."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.images.fake_daemon import FakeDaemon
from xpukit.core.errors import ExternalError
from xpukit.host.docker_daemon import DockerDaemon
from xpukit.host.docker_values import ExecAnswer, HistoryEntry, ImageInfo
from xpukit.images.engine_flags import LABEL_FLAGS, LABEL_FLAGS_HASH
from xpukit.images.inventory import Inventory, Package, encode_inventory
from xpukit.images.inventory_read import (
    HIDDEN,
    parse_dpkg,
    parse_python,
    parse_rpm,
    read_inventory,
    shorten_instruction,
)

DPKG = (
    "ii \tbash\t5.2.15-2+b8\tamd64\n"
    "rc \tgone\t1.0\tamd64\n"
    "iU \thalf\t1.0\tamd64\n"
    "hi \theld\t2:1.0-1\tall\n"
    "broken line\n"
)
RPM = "bash\t5.1.8-9.el9\tx86_64\tGPLv3+\ngpg-pubkey\tabc\t(none)\tpubkey\nshadow\t2:4.9-8\tx86_64\t(none)\n"
PYTHON: list[dict[str, Any]] = [
    {"Name": "vllm", "Version": "0.21.0", "Place": "/opt/venv/lib", "License-Expression": "Apache-2.0", "License": "x"},
    {"Name": "old", "Version": "1", "License": "BSD\n\nCopyright ..."},
    {
        "Name": "classed",
        "Version": "1",
        "License": "UNKNOWN",
        "Classifiers": ["License :: OSI Approved :: MIT License"],
    },
    {"Name": "source", "Version": "2.0.dev1", "Commit": "a" * 40},
    {"Name": "", "Version": "1"},
    {"Version": "1"},
    "nothing",  # type: ignore[list-item]
]


def test_installed_debian_packages_only() -> None:
    found = parse_dpkg(DPKG, {"bash": ["GPL-3+", "GFDL"], "held": "not a list"})
    assert [(one.name, one.version, one.architecture) for one in found] == [
        ("bash", "5.2.15-2+b8", "amd64"),
        ("held", "2:1.0-1", "all"),
    ]
    assert (found[0].licences, found[0].licence_source) == (("GPL-3+", "GFDL"), "copyright")
    assert (found[1].licences, found[1].licence_source) == ((), "")


def test_rpm_packages_without_keys() -> None:
    found = parse_rpm(RPM)
    assert [(one.kind, one.name, one.version, one.licences) for one in found] == [
        ("rpm", "bash", "5.1.8-9.el9", ("GPLv3+",)),
        ("rpm", "shadow", "2:4.9-8", ()),
    ]


def test_a_distribution_says_its_licence_in_four_ways() -> None:
    found = {one.name: one for one in parse_python(PYTHON)}
    assert {name: (one.licences, one.licence_source) for name, one in found.items()} == {
        "vllm": (("Apache-2.0",), "expression"),
        "old": (("BSD",), "metadata"),
        "classed": (("MIT License",), "classifier"),
        "source": ((), ""),
    }
    assert found["source"].commit == "a" * 40


@given(st.text(), st.lists(st.none() | st.text() | st.dictionaries(st.sampled_from(["Name", "Version"]), st.text())))
def test_parsers_never_raise(text: str, entries: list[Any]) -> None:
    for package in (*parse_dpkg(text, {}), *parse_rpm(text), *parse_python(entries)):
        assert package.name or package.kind != "pypi"


@pytest.mark.parametrize(
    ("said", "short"),
    [
        ("/bin/sh -c #(nop)  ENV A=b", "ENV A=b"),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("RUN /bin/bash -o pipefail -c make  all # buildkit", "RUN make all"),
        ("/bin/bash -o pipefail -c make", "RUN make"),
        ("COPY a b # buildkit", "COPY a b"),
        (f"LABEL {LABEL_FLAGS}=eJxxxx {LABEL_FLAGS_HASH}=12", f"LABEL {LABEL_FLAGS}=… {LABEL_FLAGS_HASH}=12"),
        ("RUN " + "x" * 300, "RUN " + "x" * 195 + "…"),
    ],
)
def test_instructions_are_as_one_wrote_them(said: str, short: str) -> None:
    assert shorten_instruction(said) == short


INFO = ImageInfo(
    id="sha256:" + "1" * 64, tags=("x:1",), created="2026-11-21T00:00:00Z", size_bytes=30, architecture="amd64",
    labels={LABEL_FLAGS: "packed", LABEL_FLAGS_HASH: "abc", "a": "b"}, env={"HF_TOKEN": "secret", "PATH": "/bin"},
    entrypoint=("/e.sh",), user="serving",
)  # fmt: skip
HISTORY = (
    HistoryEntry(id="", created_by="RUN two", size_bytes=20),
    HistoryEntry(id="", created_by="", size_bytes=10),
)


def read(answers: Mapping[str, str], **changes: Any) -> Inventory:
    def answer(argv: Sequence[str], user: str) -> ExecAnswer:
        for key, said in answers.items():
            if key in " ".join(argv)[:4000]:
                assert user == ("0" if key == "read_packages" else user)
                return ExecAnswer(rc=0, out=said.encode())
        return ExecAnswer(rc=127)

    daemon = FakeDaemon(images={INFO.id: INFO}, history=HISTORY, answer=answer)
    return read_inventory(cast(DockerDaemon, daemon), "c", INFO, **changes)


def test_an_inventory_is_read_without_its_secrets() -> None:
    said = json.dumps({"python": PYTHON, "licences": {"bash": ["GPL-3+"]}})
    found = read({"os-release": 'ID=debian\nVERSION_ID="12"\n', "dpkg-query": DPKG, "site-packages": said})
    assert (found.os_id, found.os_version, found.flags_sha256) == ("debian", "12", "abc")
    assert {one.name for one in found.packages} == {"bash", "held", "vllm", "old", "classed", "source"}
    assert found.packages == tuple(sorted(found.packages))
    assert found.env == {"HF_TOKEN": HIDDEN, "PATH": "/bin"}
    assert found.labels == {"a": "b"}
    assert [(layer.instruction, layer.size_bytes) for layer in found.layers] == [("(imported)", 10), ("RUN two", 20)]
    assert found.notes == ()
    assert encode_inventory(found) == encode_inventory(found)


def test_what_cannot_be_asked_is_noted() -> None:
    found = read({})
    assert found.packages == ()
    assert len(found.notes) == 2
    assert "neither dpkg nor rpm" in found.notes[1]
    assert read({"rpm": RPM}).notes == found.notes[:1]


def test_the_same_package_in_two_places_counts_twice_and_sorts() -> None:
    entries = [{"Name": "a", "Version": "1", "Place": place} for place in ("/b", "/a", "/a")]
    assert [one.place for one in sorted(set(parse_python(entries)))] == ["/a", "/b"]
    assert Package(kind="deb", name="a", version="1") < Package(kind="pypi", name="a", version="1")


STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10
Description: C library
 More of it: not a field
Conffiles:
 /etc/ld.so.conf.d/x.conf 0123

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
DISTROLESS = {
    "status.d/base": "Package: base-files\nVersion: 12.4\nArchitecture: amd64\n",
    "status.d/base.md5sums": "x  y\n",
}


def make_archive(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("archives", "packages"),
    [
        ({"/var/lib/dpkg/status": {"status": STATUS}}, [("libc6", "2.36-9+deb12u10", "amd64")]),
        ({"/var/lib/dpkg/status.d": DISTROLESS}, [("base-files", "12.4", "amd64")]),
        ({"/var/lib/dpkg/status": {"status": "\xff\x00: \n\n:\n\n"}}, []),
        ({}, []),
    ],
)
def test_an_image_without_any_program_is_read_by_its_files(
    archives: dict[str, dict[str, str]], packages: list[tuple[str, str, str]]
) -> None:
    def refuse(argv: Sequence[str], user: str) -> ExecAnswer:
        raise ExternalError("Docker: cat in 0123: Container 0123 is not running")  # there was no `sleep` to wait with

    archives = {"/usr/lib/os-release": {"os-release": 'ID=debian\nVERSION_ID="12"\n'}, **archives}
    daemon = FakeDaemon(
        images={INFO.id: INFO},
        history=HISTORY,
        answer=refuse,
        archives={path: make_archive(files) for path, files in archives.items()},
    )
    found = read_inventory(cast(DockerDaemon, daemon), "c", INFO)
    assert [(one.name, one.version, one.architecture) for one in found.packages] == packages
    assert (found.os_id, found.os_version) == ("debian", "12")
    assert len(found.layers) == 2
    assert ("read from dpkg's files" if packages else "are not known") in found.notes[1]

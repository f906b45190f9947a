"""The parts of making a bundle that need no machine: the target, what apt and pip say, the indexes, the script."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.install.bundle_case import make_key
from xpukit.core.errors import UsageError, XpukitError
from xpukit.facts.stacks import CopyFacts, FirmwareFacts, KernelFacts, OptionFacts, PackageFacts, StackFacts
from xpukit.host.answers import Ran
from xpukit.host.live import LiveHost
from xpukit.install.apt_parse import DPKG_FORMAT, PackageState
from xpukit.install.bundle.create import Order, choose_packages, parse_size, save_images
from xpukit.install.bundle.firmware import take_firmware
from xpukit.install.bundle.manifest import decode_manifest, hash_file, is_safe_path
from xpukit.install.bundle.openpgp import format_fingerprint, normalize_fingerprint, read_fingerprint
from xpukit.install.bundle.repository import render_release, render_stanza
from xpukit.install.bundle.resolve import find_unhashed, parse_debs
from xpukit.install.bundle.script import read_template, render_script
from xpukit.install.bundle.target import find_python, make_target, parse_status, read_target, render_status
from xpukit.install.bundle.tools import take_tools
from xpukit.install.bundle.wheels import check_python, list_platforms, parse_report
from xpukit.install.source_index import parse_stanzas

STATUS = """\
Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21.22
Description: one
 with a second line
 Version: 9 of this line does not count

Package: python3
Status: install ok installed
Architecture: amd64
Version: 3.11.2-1+b1

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
URIS = """\
Reading package lists...
'http://user:secret@archive.example/pool/libz_1.8-1_amd64.deb' libz_1.8-1_amd64.deb 108 SHA256:{0}
'file:/srv/docker_5%3a27.1-1_amd64.deb' docker_5%3a27.1-1_amd64.deb 9 SHA256:{0}
'http://archive.example/x_1_all.deb' x_1_all.deb 9 MD5Sum:abc
""".format("a" * 64)


def make_stack(**changes: object) -> StackFacts:
    values = {"schema": "xpukit.stack/1", "name": "s", "summary": "", "date": "", "source": "", **changes}
    return StackFacts(**values)  # type: ignore[arg-type]


def test_a_status_names_what_is_installed() -> None:
    installed, architecture = parse_status(STATUS)
    assert installed == {"dpkg": "1.21.22", "python3": "3.11.2-1+b1"}
    assert architecture == "amd64"
    target = make_target(STATUS.encode(), "a test", "debian", "12")
    assert target.about.python_version == "3.11"
    assert target.about.packages_known


@given(st.text(max_size=400))
def test_any_text_as_a_status(text: str) -> None:
    parse_status(text)
    parse_debs(text)
    parse_report(text)


@given(st.binary(max_size=400))
def test_any_bytes_as_a_manifest_or_key(data: bytes) -> None:
    manifest, why = decode_manifest(data)
    assert (manifest is None) == bool(why)
    fingerprint, why = read_fingerprint(data)
    assert bool(fingerprint) != bool(why)


def test_a_status_of_names_is_read_back() -> None:
    states = [PackageState(name=name, version="1:2-3", architecture="amd64", status="ii") for name in ("b", "a")]
    assert parse_status(render_status(states).decode())[0] == {"a": "1:2-3", "b": "1:2-3"}


@pytest.mark.parametrize(
    ("version", "python"), [("3.11.2-1+b1", "3.11"), ("3.12.3-0ubuntu2", "3.12"), ("2.7.1", ""), ("", ""), ("3.x", "")]
)
def test_python_by_its_package(version: str, python: str) -> None:
    assert find_python({"python3": version} if version else {}) == python


def test_targets_that_are_none(tmp_path: Path) -> None:
    host = LiveHost()
    with pytest.raises(UsageError, match="no such file"):
        read_target(host, str(tmp_path / "none"))
    status = tmp_path / "status"
    status.write_text(STATUS)
    with pytest.raises(UsageError, match="does not say the release"):
        read_target(host, str(status))
    target = read_target(host, str(status), release="debian 12")
    assert (target.about.distribution, target.about.release) == ("debian", "12")
    root = tmp_path / "root"
    (root / "var/lib/dpkg").mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text(STATUS)
    (root / "etc").mkdir()
    (root / "etc/os-release").write_text("ID=ubuntu\nVERSION_ID=24.04\n")
    assert read_target(host, str(root)).about.release == "24.04"


def test_a_recording_is_known_in_part(repo: Path, tmp_path: Path) -> None:
    """`xpukit sysinfo` asks for the packages of the GPU stack only; a recording of `probe` for none at all."""
    from xpukit.facts.sysinfo import load_inquiry
    from xpukit.host.overlay import OverlayHost
    from xpukit.host.recording import RecordingHost
    from xpukit.host.replay import ReplayHost

    probed = repo / "tests/machines/recorded/b60x4_bmc.tar.xz"
    with pytest.raises(XpukitError, match="no list of packages"):
        read_target(LiveHost(), str(probed))
    argv = ("dpkg-query", "-W", "-f", DPKG_FORMAT, *load_inquiry("packages").lists["patterns"].words)
    out = b"libze1\t1.8.12-1\tamd64\tii \npython3\t3.12.3-0ubuntu2\tamd64\tii \nclinfo\t3\tamd64\trc \n"
    machine = OverlayHost(ReplayHost(probed, command="install"), {("run", *argv): Ran(argv=argv, rc=0, out=out)})
    recording = RecordingHost(machine, tmp_path / "bundle", command=("xpukit", "sysinfo"), covers=("sysinfo",))
    recording.run(argv, timeout_s=5)
    recording.read("/etc/os-release")
    recording.identity()
    recording.close()
    target = read_target(LiveHost(), str(tmp_path / "bundle"))
    assert not target.about.packages_known
    assert target.about.distribution == "ubuntu"
    assert target.about.python_version == "3.12"
    assert target.installed == {"libze1": "1.8.12-1", "python3": "3.12.3-0ubuntu2"}
    assert parse_status(target.status.decode())[0] == target.installed


def test_what_apt_would_fetch() -> None:
    debs = parse_debs(URIS)
    assert [(deb.name, deb.version, deb.file) for deb in debs] == [
        ("docker", "5:27.1-1", "docker_5.27.1-1_amd64.deb"),
        ("libz", "1.8-1", "libz_1.8-1_amd64.deb"),
    ]
    assert "secret" not in debs[1].url
    # Nothing is left out without a word.
    assert find_unhashed(URIS) == ("x_1_all.deb",)


def test_an_index_stanza() -> None:
    control = (
        "Package: one\nVersion: 1\nSize: 9\nFilename: pool/one.deb\nDescription: short\n long\n .\n more\nSHA256: old\n"
    )
    stanza = render_stanza(control, "debs/one_1_all.deb", 77, "b" * 64, came_from="file:/opt/a/tools/gemm/one.deb")
    assert stanza.count("SHA256:") == stanza.count("Size:") == stanza.count("Filename:") == 1
    assert "Filename: ./debs/one_1_all.deb\nSize: 77\nSHA256: bbb" in stanza
    assert " long\n .\n more\n" in stanza
    (fields,) = parse_stanzas(stanza)
    assert fields["x-xpukit-origin"] == "file:/opt/a/tools/gemm/one.deb"
    assert "X-Xpukit" not in render_stanza(stanza, "one.deb", 1, "c" * 64), "of another bundle: its places are not ours"


def test_a_release_never_runs_out() -> None:
    at = datetime(2026, 11, 21, 10, 0, tzinfo=timezone.utc)
    text = render_release(b"Package: one\n", architecture="amd64", at=at).decode()
    assert "Date: Sat, 21 Nov 2026 10:00:00 UTC" in text
    assert "Valid-Until" not in text
    assert " 13 Packages" in text


def test_packages_of_a_stack() -> None:
    stack = make_stack(
        packages=(
            PackageFacts(name="a", purpose="", source=""),
            PackageFacts(name="b", purpose="", source="", required=False),
            PackageFacts(name="c", purpose="", source="", option="docker"),
        ),
        options=(OptionFacts(name="docker", summary=""),),
        kernel=KernelFacts(package="linux", minimum="6", source=""),
    )
    wanted, required = choose_packages(LiveHost(), stack, Order(output=Path("x")))
    assert (wanted, required) == ({"a": "", "b": ""}, {"a"})
    order = Order(output=Path("x"), options=("docker", "kernel"), packages=("b=2", "d"))
    wanted, required = choose_packages(LiveHost(), stack, order)
    assert wanted == {"a": "", "b": "2", "c": "", "linux": "", "d": ""}
    assert required == {"a", "b", "c", "d"}


def test_firmware_is_what_the_stack_and_the_sums_name(tmp_path: Path) -> None:
    folder = tmp_path / "fw"
    (folder / "xe").mkdir(parents=True)
    for name in ("guc", "huc", "other"):
        (folder / f"xe/{name}.bin").write_bytes(name.encode())
    digest, sum_of_huc = (hash_file(folder / f"xe/{name}.bin")[0] for name in ("guc", "huc"))
    rows = [FirmwareFacts(path="/lib/firmware/xe/guc.bin", sha256=digest, version="70", source="")]
    rows.append(FirmwareFacts(path="/lib/firmware/xe/none.bin", sha256=digest, source=""))
    stack, said = make_stack(firmware=tuple(rows)), list[str]()
    order = Order(output=tmp_path / "b", firmware=folder)

    def take(stack: StackFacts, order: Order) -> list[str]:
        files = take_firmware(LiveHost(), stack, order, tmp_path / "tree", said.append)
        there = [path for path in (tmp_path / "tree/firmware").rglob("*") if path.is_file()]
        assert len(there) == len(files)
        return [file.path for file in files]

    assert take(stack, order) == ["firmware/xe/guc.bin", "firmware/SHA256SUMS"]
    assert "none.bin" in said[0]
    sums = tmp_path / "tree/firmware/SHA256SUMS"
    assert sums.read_text(encoding="utf-8") == f"{digest}  xe/guc.bin\n"
    (folder / "SHA256SUMS").write_text(f"{sum_of_huc}  xe/huc.bin\n")
    assert take(stack, order) == ["firmware/SHA256SUMS", "firmware/xe/huc.bin", "firmware/xe/guc.bin"]
    assert sums.read_text(encoding="utf-8") == f"{digest}  xe/guc.bin\n{sum_of_huc}  xe/huc.bin\n"
    (folder / "xe/huc.bin").write_bytes(b"changed")
    with pytest.raises(XpukitError, match="SHA256SUMS says"):
        take(stack, order)
    (folder / "SHA256SUMS").unlink()
    (folder / "xe/guc.bin").write_bytes(b"changed")
    with pytest.raises(XpukitError, match="it must be"):
        take(stack, order)
    with pytest.raises(UsageError, match="nothing that the stack names"):
        take(make_stack(), order)
    assert take_firmware(LiveHost(), stack, Order(output=tmp_path), tmp_path / "tree", said.append) == []


def test_programs_without_a_package_are_taken_as_they_lie(tmp_path: Path) -> None:
    row = CopyFacts(name="lzt", pattern="tools/lzt/*", directory="/opt/lzt", option="lzt", source="test")
    stack, said = make_stack(copies=(row,), options=(OptionFacts(name="lzt", summary=""),)), list[str]()
    installer, tree = tmp_path / "installer", tmp_path / "tree"
    (installer / "tools/lzt/folder").mkdir(parents=True)
    (installer / "tools/lzt/ze_peak").write_bytes(b"\x7fELF")

    def take(**more: object) -> list[str]:
        order = Order(output=tmp_path / "b", **more)  # type: ignore[arg-type]
        return [file.path for file in take_tools(stack, order, tree, said.append)]

    assert take() == [], "not asked for"
    assert take(options=("lzt",)) == []
    assert "--tools DIR" in said.pop()
    assert take(options=("lzt",), tools=installer) == ["tools/lzt/ze_peak"]
    assert (tree / "tools/lzt/ze_peak").read_bytes() == b"\x7fELF"
    assert take(options=("lzt",), tools=tmp_path) == []
    assert "has no tools/lzt/*" in said.pop()
    assert not (tree / "tools").exists(), "of an earlier run"


def test_images_are_saved_under_plain_names(tmp_path: Path) -> None:
    def save(reference: str, path: Path) -> None:
        path.write_bytes(reference.encode())

    (tmp_path / "images").mkdir()
    order = Order(output=tmp_path / "b", images=("registry.example:5000/a/b:1.2@x", "vllm:1"))
    files = save_images(order, tmp_path, save, lambda text: None)
    assert [file.path for file in files] == ["images/registry.example_5000_a_b_1.2_x.tar", "images/vllm_1.tar"]
    assert all(is_safe_path(file.path) for file in files)
    assert [file.name for file in files] == list(order.images)
    with pytest.raises(UsageError, match="Docker daemon"):
        save_images(order, tmp_path, None, lambda text: None)


def test_pips_report() -> None:
    text = (
        '{"install": [{"metadata": {"name": "b", "version": "1"}, "download_info": {"url": "https://x.example/b%2B1.whl",'
        ' "archive_info": {"hashes": {"sha256": "ab"}}}}]}'
    )
    (wheel,) = parse_report(text)
    assert (wheel.name, wheel.file, wheel.sha256) == ("b", "b+1.whl", "ab")


@pytest.mark.parametrize("version", ["", "3", "3.9", "2.7", "three"])
def test_pythons_that_do_not_do(version: str) -> None:
    with pytest.raises(UsageError):
        check_python(version)


def test_platforms() -> None:
    tags = list_platforms("amd64")
    assert "manylinux_2_17_x86_64" in tags
    assert "manylinux2014_x86_64" in tags
    # Nothing that asks for a newer C library than Debian 12's.
    assert "manylinux_2_39_x86_64" not in tags


@pytest.mark.parametrize(
    ("text", "size"), [("4G", 4 << 30), ("700M", 700 << 20), ("1.5GiB", 3 << 29), ("100000", 100000)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "0", "-4G", "12", "inf", "nanG", "4X"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


def test_fingerprints() -> None:
    fingerprint, why = read_fingerprint(make_key(b"one"))
    assert not why
    assert normalize_fingerprint(format_fingerprint(fingerprint).lower()) == fingerprint
    assert normalize_fingerprint("0x" + fingerprint) == fingerprint
    assert normalize_fingerprint("Z" * 40) == ""


def test_the_script_is_filled_in_whole() -> None:
    names = ("VERSION", "BUNDLE", "FINGERPRINT", "PYTHON", "STACK", "CREATED", "PAYLOAD_SHA256")
    template = read_template()
    assert all(f"@{name}@" in template for name in names)
    text = render_script(template, dict.fromkeys(names, "filled")).decode()
    assert not any(f"@{name}@" in text for name in names)
    assert text.endswith("\n__XPUKIT_PAYLOAD__\n")
    # The reader of the payload finds the end of the script and nothing before it.
    assert text.count("\n__XPUKIT_PAYLOAD__\n") == 1
    with pytest.raises(ValueError, match="quote"):
        render_script(template, {"BUNDLE": "it's"})

"""What is refused, by its name; and that nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.install.bundle_case import CONTENTS, BundleCase, VerifyingHost
from xpukit.core.errors import ExternalError, UsageError
from xpukit.install.bundle.archive import write_archive
from xpukit.install.bundle.manifest import HEAD_FILES, KEY, MANIFEST, SIGNATURE, is_safe_path
from xpukit.install.bundle.refusal import RefusedBundleError
from xpukit.install.bundle.verify import Trust, make_trust, verify_bundle

DEB = "debs/one_1_amd64.deb"


@pytest.fixture
def case(tmp_path: Path) -> BundleCase:
    return BundleCase(tmp_path)


def trust_of(case: BundleCase) -> Trust:
    return Trust(fingerprint=case.fingerprint, origin="the test")


def refuse(case: BundleCase, path: Path, trust: Trust | None = None) -> str:
    with pytest.raises(RefusedBundleError) as refused:
        verify_bundle(VerifyingHost(), path, trust_of(case) if trust is None else trust)
    assert refused.value.exit_code == 1
    return str(refused.value)


@pytest.mark.parametrize("packed", [True, False])
def test_a_whole_bundle(case: BundleCase, packed: bool) -> None:
    verified = verify_bundle(VerifyingHost(), case.pack() if packed else case.tree, trust_of(case))
    assert verified.trusted_by == "the test"
    assert verified.fingerprint == case.fingerprint
    assert {file.path for file in verified.manifest.files} == set(CONTENTS)


def test_without_a_known_key_it_is_whole_and_no_more(case: BundleCase) -> None:
    verified = verify_bundle(VerifyingHost(), case.pack(), Trust())
    assert verified.trusted_by == ""


def edit_manifest(case: BundleCase) -> None:
    manifest = json.loads((case.tree / MANIFEST).read_bytes())
    manifest["stack"] = "other"
    (case.tree / MANIFEST).write_text(json.dumps(manifest))


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


SPOILED: dict[str, tuple[Callable[[BundleCase], object], str]] = {
    "changed, same size": (lambda case: (case.tree / DEB).write_bytes(b"\x01\x01" * 4000), f"{DEB}: changed"),
    "changed, other size": (lambda case: (case.tree / DEB).write_bytes(b"x"), f"{DEB}: changed: 1 bytes"),
    "edited index": (lambda case: (case.tree / "Packages").write_bytes(b"Package: two\n"), "Packages: changed"),
    "missing Release": (lambda case: (case.tree / "Release").unlink(), "Release: missing"),
    "missing file": (lambda case: (case.tree / DEB).unlink(), f"{DEB}: missing"),
    "extra file": (lambda case: (case.tree / "debs/extra").write_bytes(b""), "debs/extra: extra file"),
    "link": (lambda case: link(case.tree / "Release"), "Release: is no plain file"),
    "edited manifest": (edit_manifest, f"{SIGNATURE}: not a signature"),
    "no signature": (lambda case: (case.tree / SIGNATURE).unlink(), f"{SIGNATURE}: missing"),
    "no key": (lambda case: (case.tree / KEY).unlink(), f"{KEY}: missing"),
    "no manifest": (lambda case: (case.tree / MANIFEST).unlink(), f"{MANIFEST}: missing"),
    "two keys": (lambda case: (case.tree / KEY).write_bytes(case.key * 2), "holds 2 keys"),
    "no real key": (lambda case: (case.tree / KEY).write_bytes(b"hello"), "is no OpenPGP key"),
    "link in place of the manifest": (lambda case: link(case.tree / MANIFEST), f"{MANIFEST}: "),
}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", SPOILED)
def test_what_is_spoiled_is_named(case: BundleCase, name: str, packed: bool) -> None:
    spoil, words = SPOILED[name]
    spoil(case)
    assert words in refuse(case, case.pack() if packed else case.tree)


def test_all_problems_are_named(case: BundleCase) -> None:
    (case.tree / DEB).unlink()
    (case.tree / "Packages").write_bytes(b"")
    (case.tree / "more").write_bytes(b"")
    text = refuse(case, case.pack())
    assert all(words in text for words in (f"{DEB}: missing", "Packages: changed", "more: extra"))


def test_a_foreign_key(case: BundleCase, tmp_path: Path) -> None:
    foreign = BundleCase(tmp_path / "foreign", seed=b"foreign")
    assert "foreign key" in refuse(case, foreign.pack())


def test_a_file_that_comes_twice(case: BundleCase) -> None:
    order = [*HEAD_FILES, *sorted(CONTENTS), DEB]
    assert f"{DEB}: comes twice" in refuse(case, case.pack(order=order))
    order = [*HEAD_FILES, *sorted(CONTENTS), MANIFEST]
    assert f"{MANIFEST}: extra file" in refuse(case, case.pack(order=order))


def test_the_head_must_come_first(case: BundleCase) -> None:
    order = ["Release", *HEAD_FILES, *sorted(set(CONTENTS) - {"Release"})]
    assert f"{MANIFEST}: missing, or not at the bundle's start" in refuse(case, case.pack(order=order))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(min_value=0, max_value=0.999))
def test_truncated_anywhere(case: BundleCase, cut: float) -> None:
    path = case.pack()
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    refuse(case, path)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_of_a_file_or_the_head(case: BundleCase, data: st.DataObject) -> None:
    """In the tree no byte is free; what tar has around the files is not installed."""
    name = data.draw(st.sampled_from([*HEAD_FILES, *CONTENTS]))
    path = case.tree / name
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    try:
        refuse(case, case.tree)
    finally:
        path.write_bytes(whole)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rubbish=st.binary(max_size=3000))
def test_rubbish(case: BundleCase, rubbish: bytes) -> None:
    path = case.place / "rubbish"
    path.write_bytes(rubbish)
    refuse(case, path)
    case.sign_data(rubbish)
    assert MANIFEST in refuse(case, case.tree)


def test_bytes_behind_the_end(case: BundleCase) -> None:
    path = case.pack()
    path.write_bytes(path.read_bytes() + b"more")
    assert "4 bytes too many" in refuse(case, path)


@pytest.mark.parametrize(
    "path", ["../evil", "/etc/passwd", "debs/../../x", "a//b", "", "a/.", "é", "a b", KEY, MANIFEST]
)
def test_paths_that_lead_elsewhere(case: BundleCase, path: str) -> None:
    """Even when the maker signed them."""
    manifest = json.loads((case.tree / MANIFEST).read_bytes())
    manifest["files"][0]["path"] = path
    case.sign_data(json.dumps(manifest).encode())
    assert "which no bundle may hold" in refuse(case, case.tree)


@given(st.text(max_size=30))
def test_safe_paths_stay_inside(path: str) -> None:
    if is_safe_path(path):
        assert not path.startswith("/")
        assert not {"", ".", ".."} & set(path.split("/"))


def test_parts(case: BundleCase) -> None:
    whole = case.pack().read_bytes()
    names = [*HEAD_FILES, *sorted(CONTENTS)]
    target = case.place / "split.tar"
    parts = write_archive(target, case.tree, names, part_bytes=4096)
    assert [part.name for part in parts] == [f"split.tar.{number:03d}" for number in range(1, len(parts) + 1)]
    assert len(parts) == -(-len(whole) // 4096)
    assert verify_bundle(VerifyingHost(), target, trust_of(case)).parts == tuple(part.name for part in parts)
    assert verify_bundle(VerifyingHost(), parts[1], trust_of(case)).trusted_by
    last = parts[-1].read_bytes()
    parts[-1].unlink()
    assert f"{parts[-2].name}: the last part here" in refuse(case, target)
    parts[-1].write_bytes(last)
    parts[1].unlink()
    assert f"{parts[1].name}: this part is missing" in refuse(case, target)
    # A new bundle of that name in one file takes the parts away.
    assert write_archive(target, case.tree, names) == (target,)
    assert not list(case.place.glob("split.tar.*"))
    assert verify_bundle(VerifyingHost(), target, trust_of(case)).trusted_by


def test_no_such_bundle(case: BundleCase) -> None:
    with pytest.raises(UsageError, match="no such file"):
        verify_bundle(VerifyingHost(), case.place / "none.tar", Trust())


def test_sqv_serves_too_and_without_both_nothing_is_believed(case: BundleCase) -> None:
    host = VerifyingHost(tools=("sqv",))
    assert verify_bundle(host, case.tree, trust_of(case)).trusted_by
    assert host.ran[0][0] == "sqv"
    with pytest.raises(ExternalError, match="neither gpgv nor sqv"):
        verify_bundle(VerifyingHost(tools=()), case.tree, trust_of(case))


def test_trust_from_what_a_user_gives(case: BundleCase) -> None:
    host, key = VerifyingHost(), case.tree / KEY
    spaced = " ".join(case.fingerprint[at : at + 4] for at in range(0, 40, 4)).lower()
    assert make_trust(host, fingerprint=spaced).fingerprint == case.fingerprint
    assert make_trust(host, key_file=str(key)).fingerprint == case.fingerprint
    assert make_trust(host, key_file=str(key), fingerprint=spaced).fingerprint == case.fingerprint
    assert make_trust(host) == Trust()
    for bad in ({"fingerprint": "ABCD"}, {"key_file": str(case.tree / "Release")}, {"key_file": "/nowhere"}):
        with pytest.raises(UsageError):
            make_trust(host, **bad)
    with pytest.raises(UsageError, match="another fingerprint"):
        make_trust(host, fingerprint="A" * 40, key_file=str(key))

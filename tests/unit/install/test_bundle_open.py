"""A bundle opened on a machine: only a trusted, fitting one that is not older than the last."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.install.bundle_case import CONTENTS, BundleCase, VerifyingHost
from xpukit.core.errors import ExternalError, OutputError
from xpukit.host.answers import FileAnswer, Ran
from xpukit.install.bundle.open import (
    APPLIED,
    UNPACKED,
    load_applied,
    open_bundle,
    record_applied,
    remove_unpacked,
)
from xpukit.install.bundle.refusal import RefusedBundleError
from xpukit.install.bundle.verify import Trust
from xpukit.install.site import Site

AMD64 = Ran(argv=("dpkg", "--print-architecture"), rc=0, out=b"amd64\n")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    return Site(VerifyingHost({("dpkg", "--print-architecture"): AMD64}), str(root))


@pytest.fixture
def case(tmp_path: Path) -> BundleCase:
    return BundleCase(tmp_path / "made")


def trust_of(case: BundleCase) -> Trust:
    return Trust(fingerprint=case.fingerprint, origin="the test")


def list_place(site: Site) -> list[str]:
    return list(site.list(UNPACKED).names)


def test_it_is_unpacked_readable_for_apt(site: Site, case: BundleCase) -> None:
    opened = open_bundle(site, case.pack(), trust_of(case))
    place = Path(site.locate(opened.directory))
    for path, data in CONTENTS.items():
        assert (place / path).read_bytes() == data
        assert (place / path).stat().st_mode & 0o777 == 0o644
    assert (place / "debs").stat().st_mode & 0o777 == 0o755
    assert place.stat().st_mode & 0o777 == 0o755
    assert opened.source.exclusive
    assert opened.source.key == f"{opened.directory}/key.gpg"
    assert opened.pins == {"one": "1"}
    assert list_place(site) == [place.name]


def test_once_applied_its_key_is_known(site: Site, case: BundleCase) -> None:
    with pytest.raises(RefusedBundleError, match="nothing vouches"):
        open_bundle(site, case.pack(), Trust())
    assert list_place(site) == []
    record_applied(site, open_bundle(site, case.pack(), trust_of(case)))
    assert open_bundle(site, case.pack(), Trust()).verified.trusted_by == "the key of the bundle applied before"


def test_another_key_than_before(site: Site, case: BundleCase, tmp_path: Path) -> None:
    record_applied(site, open_bundle(site, case.pack(), trust_of(case)))
    foreign = BundleCase(tmp_path / "foreign", seed=b"foreign", created="2026-12-01T00:00:00Z")
    with pytest.raises(RefusedBundleError, match="foreign key"):
        open_bundle(site, foreign.pack(), Trust())
    # The user may say that the maker has a new one.
    assert open_bundle(site, foreign.pack(), trust_of(foreign))


def test_an_older_one(site: Site, case: BundleCase, tmp_path: Path) -> None:
    record_applied(site, open_bundle(site, case.pack(), trust_of(case)))
    before = list_place(site)
    older = BundleCase(tmp_path / "older", created="2026-11-20T10:00:00Z")
    with pytest.raises(RefusedBundleError, match=r"manifest.json: downgrade: made 2026-11-20"):
        open_bundle(site, older.pack(), trust_of(case))
    assert list_place(site) == before
    assert open_bundle(site, older.pack(), trust_of(case), allow_older=True)
    # The same one again, and a newer one, are fine; one of another stack too.
    assert open_bundle(site, case.pack(), trust_of(case))
    assert open_bundle(site, BundleCase(tmp_path / "n", created="2026-11-22T10:00:00Z").pack(), trust_of(case))
    older.sign(stack="other")
    assert open_bundle(site, older.pack(), trust_of(case))


@pytest.mark.parametrize(
    ("release", "architecture", "words"),
    [("13", b"amd64", "made for debian 12, this is debian 13"), ("12", b"arm64", "made for amd64, this is arm64")],
)
def test_a_machine_that_it_is_not_for(
    site: Site, case: BundleCase, release: str, architecture: bytes, words: str
) -> None:
    Path(site.locate("/etc/os-release")).write_text(f"ID=debian\nVERSION_ID={release}\n")
    assert isinstance(site.host, VerifyingHost)
    site.host.commands[("dpkg", "--print-architecture")] = Ran(argv=(), rc=0, out=architecture)
    with pytest.raises(RefusedBundleError, match=words):
        open_bundle(site, case.pack(), trust_of(case))
    assert list_place(site) == []


def test_nothing_is_left_of_a_bad_one(site: Site, case: BundleCase) -> None:
    path = case.pack()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 12000])
    with pytest.raises(RefusedBundleError):
        open_bundle(site, path, trust_of(case))
    assert list_place(site) == []


def test_a_full_disk(site: Site, case: BundleCase, monkeypatch: pytest.MonkeyPatch) -> None:
    from xpukit.install.bundle import open as opening

    def fail(staging: Path, name: str) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(opening, "_open_for_writing", fail)
    with pytest.raises(OutputError, match="No space left"):
        open_bundle(site, case.pack(), trust_of(case))
    assert list_place(site) == []


def test_what_a_killed_run_left_goes(site: Site, case: BundleCase) -> None:
    left = Path(site.locate(f"{UNPACKED}/.part-1"))
    left.mkdir(parents=True)
    (left / "debs").mkdir()
    open_bundle(site, case.pack(), trust_of(case))
    assert not left.exists()


def test_remove_unpacked(site: Site, case: BundleCase) -> None:
    opened = open_bundle(site, case.pack(), trust_of(case))
    (Path(site.locate(UNPACKED)) / "older").mkdir()
    remove_unpacked(site, keep=opened.directory)
    assert list_place(site) == [opened.directory.rpartition("/")[2]]
    remove_unpacked(site)
    assert not site.exists(UNPACKED)
    remove_unpacked(site)


def test_a_plan_needs_no_root(site: Site, case: BundleCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only root may read counts as nothing for a plan, and stops an apply."""
    read = Site.read
    denied = FileAnswer(error="EACCES")
    monkeypatch.setattr(
        Site, "read", lambda self, path, **more: denied if path == APPLIED else read(self, path, **more)
    )
    assert open_bundle(site, case.pack(), trust_of(case), below="/tmp/plan").directory.startswith("/tmp/plan/")
    with pytest.raises(ExternalError, match="EACCES"):
        open_bundle(site, case.pack(), trust_of(case))


def test_a_damaged_record_is_not_taken_for_none(site: Site) -> None:
    assert load_applied(site) == {}
    path = Path(site.locate(APPLIED))
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(ExternalError, match="older bundle"):
        load_applied(site)

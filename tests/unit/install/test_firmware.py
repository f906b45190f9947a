"""Firmware: only newer, only with the right hash, never over a package's file; and back again."""

from __future__ import annotations

import lzma
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.recorded_machines import open_loosely
from tests.unit.install.firmware_images import make_dmc, make_guc, make_huc
from tests.unit.install.step_case import StepCase, make_stack
from xpukit.core.errors import ExternalError
from xpukit.facts.firmware import load_firmware_search
from xpukit.facts.stacks import FirmwareFacts
from xpukit.install.change import hash_bytes
from xpukit.install.firmware_files import compare_versions, decompress, read_version
from xpukit.install.firmware_source import name_of, parse_manifest
from xpukit.install.site import Site
from xpukit.install.step import Options, Scene, Source
from xpukit.install.steps.firmware import STEP

NAME = "xe/bmg_guc_70.bin"
OLD, NEW, NEWER = make_guc(70, 44, 1), make_guc(70, 54, 0), make_guc(70, 60, 2)
TARGET = f"/lib/firmware/updates/{NAME}"
PACKAGE = f"/lib/firmware/{NAME}"
KERNEL = {"/lib/modules/6.14.0/modules.dep": ""}


def manifest(**files: bytes) -> str:
    return "".join(f"{hash_bytes(data)}  {path}\n" for path, data in files.items())


def make_case(
    folder: Path,
    offered: dict[str, bytes],
    there: dict[str, bytes],
    *,
    rows: tuple[FirmwareFacts, ...] = (),
    **more: str,
) -> StepCase:
    """A machine with firmware `there` and a source directory with `offered` and its manifest."""
    files: dict[str, str | bytes] = {**KERNEL, **there}
    files |= {f"/opt/source/firmware/{path}": data for path, data in offered.items()}
    if not rows:
        files["/opt/source/firmware/SHA256SUMS"] = more.get("sums") or manifest(**offered)
    return StepCase(
        folder,
        stack=make_stack(firmware=rows),
        files=files,
        options=Options(source=Source(directory="/opt/source"), lock_wait_s=0),
    )


def make_row(data: bytes = NEW, **more: object) -> FirmwareFacts:
    known = {"path": PACKAGE, "sha256": hash_bytes(data), "version": "70.54.0", "source": "test"}
    return FirmwareFacts(**{**known, **more})  # type: ignore[arg-type]


def put(plan: object) -> list[str]:
    return [change.path for change in plan.changes]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("data", "version"),
    [
        (make_guc(70, 40, 2), "70.40.2"),
        (make_dmc(2, 6), "2.6"),
        (make_huc(8, 2, 10), "8.2.10"),
        (make_huc(8, 2, 10, name=b"OTHR.man"), ""),
        (make_guc(70, 40, 2)[:60], ""),
        (make_guc(0, 0, 0), ""),
        (b"", ""),
        (b"\xff" * 200, ""),
    ],
)
def test_versions_in_headers(data: bytes, version: str) -> None:
    assert read_version(data) == version


@given(st.sampled_from((b"\x06\0\0\0", b"\x09\0\0\0", b"$CPD")), st.binary(max_size=120))
def test_damaged_headers_never_raise(marker: bytes, rest: bytes) -> None:
    read_version(marker + rest)


@given(st.lists(st.integers(0, 200), min_size=1, max_size=4), st.lists(st.integers(0, 200), min_size=1, max_size=4))
def test_versions_are_numbers(left: list[int], right: list[int]) -> None:
    words = [".".join(map(str, part)) for part in (left, right)]
    assert compare_versions(*words) == -compare_versions(*reversed(words))
    assert compare_versions(words[0], words[0] + ".0") == 0


def test_a_newer_file_goes_to_updates_and_back(tmp_path: Path) -> None:
    case = make_case(tmp_path, {NAME: NEW}, {PACKAGE: OLD})
    before = case.snapshot()
    outcome = case.apply(STEP)
    assert (case.root / TARGET[1:]).read_bytes() == NEW
    assert (case.root / PACKAGE[1:]).read_bytes() == OLD
    assert outcome.reboot == ("a running driver keeps the firmware that it loaded",)
    assert case.apply(STEP).changes == ()
    case.undo()
    assert case.snapshot() == before
    assert not (case.root / "lib/firmware/updates").exists()


@pytest.mark.parametrize("there", [NEWER, make_guc(70, 54, 0, body=b"another build")])
def test_never_a_downgrade(tmp_path: Path, there: bytes) -> None:
    plan = make_case(tmp_path, {NAME: NEW}, {PACKAGE: there}).plan(STEP)
    assert not plan.changes
    assert "not older than 70.54.0" in plan.satisfied[0]


def test_a_missing_file_is_put_there(tmp_path: Path) -> None:
    assert put(make_case(tmp_path, {NAME: NEW}, {}).plan(STEP)) == [TARGET]


def test_a_later_source_replaces_what_an_earlier_one_put(tmp_path: Path) -> None:
    case = make_case(tmp_path, {NAME: NEW}, {PACKAGE: OLD})
    case.apply(STEP)
    case.write(f"/opt/source/firmware/{NAME}", NEWER)
    case.write("/opt/source/firmware/SHA256SUMS", manifest(**{NAME: NEWER}))
    case.apply(STEP)
    assert (case.root / TARGET[1:]).read_bytes() == NEWER
    case.undo()
    assert not (case.root / TARGET[1:]).exists()


@pytest.mark.parametrize("ending", [".xz", ".zst"])
def test_compressed_files_on_both_sides(tmp_path: Path, ending: str) -> None:
    def pack(data: bytes) -> bytes:
        return lzma.compress(data) if ending == ".xz" else zstandard.compress(data)

    case = make_case(tmp_path / "older", {NAME + ending: pack(NEW)}, {PACKAGE + ending: pack(OLD)})
    case.apply(STEP)
    assert (case.root / TARGET[1:]).read_bytes() == NEW
    assert case.apply(STEP).changes == ()
    newer = make_case(tmp_path / "newer", {NAME + ending: pack(NEW)}, {PACKAGE + ending: pack(NEWER)})
    assert not newer.plan(STEP).changes
    assert decompress(pack(NEW)[:-9], NAME + ending)[1]


def test_a_plain_file_hides_a_compressed_one_as_in_the_kernel(tmp_path: Path) -> None:
    there = {PACKAGE: OLD, f"{PACKAGE}.xz": lzma.compress(NEWER)}
    assert put(make_case(tmp_path, {NAME: NEW}, there).plan(STEP)) == [TARGET]


def test_rows_of_the_stack_need_no_manifest(tmp_path: Path) -> None:
    assert put(make_case(tmp_path, {NAME: NEW}, {PACKAGE: OLD}, rows=(make_row(),)).plan(STEP)) == [TARGET]


def test_a_wrong_hash_is_refused_by_name(tmp_path: Path) -> None:
    plan = make_case(tmp_path / "row", {NAME: NEWER}, {}, rows=(make_row(),)).plan(STEP)
    assert plan.blocked.startswith(f"/opt/source/firmware/{NAME}: SHA-256 is ")
    sums = manifest(**{NAME: NEW})
    plan = make_case(tmp_path / "sums", {NAME: NEW + b"!"}, {}, sums=sums).plan(STEP)
    assert plan.blocked.startswith(f"/opt/source/firmware/{NAME}: SHA-256 is ")
    assert not plan.changes


def test_a_file_that_the_manifest_names_must_be_there(tmp_path: Path) -> None:
    sums = manifest(**{NAME: NEW})
    plan = make_case(tmp_path, {"xe/other.bin": NEW}, {}, sums=sums).plan(STEP)
    assert f"{NAME}: cannot be read: ENOENT" in plan.blocked


def test_a_row_whose_file_says_another_version_is_refused(tmp_path: Path) -> None:
    plan = make_case(tmp_path, {NAME: NEW}, {}, rows=(make_row(version="70.55.3"),)).plan(STEP)
    assert "the file says version 70.54.0, the stack says 70.55.3" in plan.blocked


@pytest.mark.parametrize(
    ("data", "taken"),
    [(OLD, False), (NEW, True), (NEWER, True), (make_guc(70, 57, 0), True), (NEWER + b"!", False)],
    ids=["older than all", "known", "known too", "between", "another file of a known version"],
)
def test_several_rows_are_versions_that_are_known(tmp_path: Path, data: bytes, taken: bool) -> None:
    """What SHA256SUMS vouches for may be a version that the stack does not know, but not an older or a false one."""
    rows = (make_row(NEWER, version="70.60.2"), make_row(NEW))
    case = make_case(tmp_path, {NAME: data}, {}, rows=rows)
    case.write("/opt/source/firmware/SHA256SUMS", manifest(**{NAME: data}))
    plan = case.plan(STEP)
    assert bool(plan.changes) is taken
    assert taken or "in SHA256SUMS, the stack has" in plan.blocked
    # Without the sums it has to be one of those that the stack knows.
    (case.root / "opt/source/firmware/SHA256SUMS").unlink()
    assert bool(case.plan(STEP).changes) is (data in (NEW, NEWER))


def test_without_a_source_the_oldest_row_is_enough(tmp_path: Path) -> None:
    rows = (make_row(NEWER, version="70.60.2"), make_row(NEW))
    case = StepCase(tmp_path, stack=make_stack(firmware=rows), files={**KERNEL, PACKAGE: NEW})
    assert case.plan(STEP).unchecked == ()
    case.write(PACKAGE, OLD)
    (item,) = case.plan(STEP).unchecked
    assert "70.54.0 is wanted" in item.why


@pytest.mark.parametrize(("device", "wanted"), [("e211", True), ("0x56a0", False), ("ffff", False)])
def test_rows_of_a_platform_are_for_its_devices(tmp_path: Path, device: str, wanted: bool) -> None:
    devices = (SimpleNamespace(vendor_id="8086", device_id=device),)
    row = make_row(platforms=("BMG",))
    case = StepCase(tmp_path, stack=make_stack(firmware=(row,)), files=KERNEL, devices=devices)
    assert bool(case.plan(STEP).unchecked) is wanted


def test_a_row_and_a_manifest_that_differ_are_refused(tmp_path: Path) -> None:
    case = make_case(tmp_path, {NAME: NEW}, {}, rows=(make_row(),))
    case.write(f"/opt/source/firmware/{NAME}.xz", lzma.compress(OLD))
    case.write("/opt/source/firmware/SHA256SUMS", manifest(**{f"{NAME}.xz": lzma.compress(OLD)}))
    assert "in SHA256SUMS" in case.plan(STEP).blocked


def test_a_row_without_a_source_says_what_is_there(tmp_path: Path) -> None:
    plan = make_case(tmp_path, {}, {PACKAGE: OLD}, rows=(make_row(),)).plan(STEP)
    assert not plan.changes
    assert plan.unchecked[0].why == f"no source has {NAME}: 70.54.0 is wanted, {PACKAGE} is 70.44.1"


def test_a_row_that_is_satisfied_needs_no_source(tmp_path: Path) -> None:
    plan = make_case(tmp_path, {}, {PACKAGE: NEW}, rows=(make_row(),)).plan(STEP)
    assert plan.satisfied == (f"{NAME} 70.54.0 is there",)


def test_a_version_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    plan = make_case(tmp_path / "there", {NAME: NEW}, {PACKAGE: b"something else"}).plan(STEP)
    assert not plan.changes
    assert "cannot be read" in plan.unchecked[0].why
    plan = make_case(tmp_path / "offered", {NAME: b"no header"}, {PACKAGE: OLD}).plan(STEP)
    assert not plan.changes
    assert "nothing says which version" in plan.unchecked[0].why


def test_a_recording_without_the_files_says_nothing_about_them() -> None:
    plan = STEP.plan(Scene(site=Site(open_loosely("b580")), stack=make_stack(firmware=(make_row(),))))
    assert not plan.changes
    assert plan.unchecked[0].why == f"{NAME}: is not in the recording"


def test_a_file_for_one_kernel_alone_comes_first(tmp_path: Path) -> None:
    plan = make_case(tmp_path, {NAME: NEW}, {f"/lib/firmware/updates/6.14.0/{NAME}": OLD}).plan(STEP)
    assert not plan.changes
    assert "comes before" in plan.unchecked[0].why


def test_another_kernels_newer_file_is_not_hidden(tmp_path: Path) -> None:
    case = make_case(tmp_path, {NAME: NEW}, {PACKAGE: OLD, f"/lib/firmware/6.17.0/{NAME}": NEWER})
    case.write("/lib/modules/6.17.0/modules.dep", "")
    plan = case.plan(STEP)
    assert not plan.changes
    assert "would hide" in plan.unchecked[0].why


def test_rows_for_devices_that_are_not_there_do_nothing(tmp_path: Path) -> None:
    row = make_row(devices=("e211",))
    case = make_case(tmp_path, {NAME: NEW}, {PACKAGE: OLD}, rows=(row,))
    assert put(case.plan(STEP)) == [TARGET]
    for device, wanted in (("e211", [TARGET]), ("0xe211", [TARGET]), ("56a0", [])):
        case = StepCase(
            tmp_path,
            stack=make_stack(firmware=(row,)),
            options=Options(source=Source(directory="/opt/source")),
            devices=(SimpleNamespace(vendor_id="8086", device_id=device),),
        )
        assert put(case.plan(STEP)) == wanted


@pytest.mark.parametrize(
    "path", ["../etc/passwd", "/etc/passwd", "xe/../../x", "amdgpu/x.bin", "xe", "xe//x", "xe/./x"]
)
def test_paths_that_lead_elsewhere_are_refused(tmp_path: Path, path: str) -> None:
    lines, bad = parse_manifest(f"{'a' * 64}  {path}\n")
    assert not lines
    assert bad
    plan = make_case(tmp_path, {NAME: NEW}, {}, sums=f"{'a' * 64}  {path}\n").plan(STEP)
    assert "SHA256SUMS: line 1: " in plan.blocked


@given(st.text(max_size=200))
def test_a_damaged_manifest_never_raises(text: str) -> None:
    parse_manifest(text)


def test_names_that_drivers_ask_for() -> None:
    for path in (f"/lib/firmware/{NAME}", f"/usr/lib/firmware/updates/{NAME}.zst", f"{NAME}.xz", NAME):
        assert name_of(path) == NAME


@pytest.mark.parametrize("at", range(0, 24, 2))
def test_a_run_killed_anywhere_goes_on(tmp_path: Path, at: int) -> None:
    case = make_case(tmp_path, {NAME: NEW, "i915/bmg_dmc.bin": make_dmc(2, 8)}, {PACKAGE: OLD})
    before = case.snapshot()
    case.crash_apply(STEP, at=at)
    case.apply(STEP)
    assert (case.root / TARGET[1:]).read_bytes() == NEW
    case.crash_undo(at=at)
    case.undo()
    assert case.snapshot() == before


def test_the_search_table_has_its_sources() -> None:
    facts = load_firmware_search()
    assert facts.source
    assert facts.modules.load_from("i915") == ("xe", "i915")
    assert all(layout.source for layout in facts.layouts)


def test_a_source_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    case = make_case(tmp_path, {NAME: NEW}, {})
    (case.root / "opt/source/firmware/SHA256SUMS").unlink()
    (case.root / "opt/source/firmware/SHA256SUMS").mkdir()
    assert "SHA256SUMS: cannot be read" in case.plan(STEP).blocked
    with pytest.raises(ExternalError):
        case.apply(STEP)

"""The initramfs: made anew once, and its listing compared with the firmware that was put in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.install.firmware_images import make_guc
from tests.unit.install.step_case import StepCase, answer
from tests.unit.install.test_firmware import NAME, NEW, OLD, PACKAGE, TARGET, make_case
from xpukit.core.errors import ExternalError
from xpukit.host.answers import Ran
from xpukit.install.refreshes.initramfs import compare_listing, list_images, parse_listing
from xpukit.install.steps.firmware import STEP

IMAGE = "/boot/initrd.img-6.14.0"
# Written in the form of lsinitramfs -l.
LONG = """\
drwxr-xr-x   2 root     root            0 Nov 21 17:30 .
lrwxrwxrwx   1 root     root            7 Nov 21 17:30 bin -> usr/bin
-rw-r--r--   1 root     root         4321 Nov 21 17:30 usr/lib/modules/6.14.0/kernel/drivers/gpu/drm/xe/xe.ko.zst
-rw-r--r--   1 root     root          131 Nov 21 17:30 usr/lib/firmware/updates/xe/bmg_guc_70.bin
"""
MODULE = "lib/modules/6.14.0/kernel/drivers/gpu/drm/xe/xe.ko.zst"
ASKED = {"xe": frozenset((NAME,)), "i915": frozenset[str]()}
HELD = TARGET[1:]


def test_listings_are_read() -> None:
    listing = parse_listing(LONG)
    assert listing[HELD] == 131
    assert listing["bin"] == 7
    assert MODULE in listing
    assert parse_listing("usr/lib/firmware\n./etc/x\n") == {"lib/firmware": None, "etc/x": None}


@given(st.text(max_size=200))
def test_rubbish_never_raises(text: str) -> None:
    parse_listing(text)


@pytest.mark.parametrize(
    ("listing", "placed", "problem"),
    [
        ({MODULE: 1, HELD: 131}, {NAME: 131}, ""),
        ({MODULE: 1}, {NAME: 131}, f"{IMAGE}: lacks {TARGET}"),
        ({MODULE: 1, HELD: 99}, {NAME: 131}, f"{IMAGE}: has another {TARGET} (99 bytes, not 131)"),
        ({MODULE: 1, HELD: 131}, {}, f"{IMAGE}: still has {TARGET}"),
        # Without the driver in it the firmware comes from the root file system.
        ({}, {NAME: 131}, ""),
        # A file that the driver does not ask for does not get into it.
        ({MODULE: 1}, {"xe/lnl_huc.bin": 1}, ""),
        ({MODULE: 1, "lib/firmware/updates/xe": 0}, {}, ""),
        ({MODULE: 1, "lib/firmware/updates/other/x.bin": 1}, {}, ""),
    ],
)
def test_what_an_image_must_hold(listing: dict[str, int | None], placed: dict[str, int], problem: str) -> None:
    assert compare_listing(IMAGE, listing, placed, ASKED) == ([problem] if problem else [])


def make_machine(folder: Path, *, works: bool = True, tool: str = "update-initramfs") -> StepCase:
    """A machine whose tool puts into the image what lies in /lib/firmware/updates."""
    case = make_case(folder, {NAME: NEW}, {PACKAGE: OLD, IMAGE: b"", "/boot/initrd.img-5.0.0": b""})
    listers = {"update-initramfs": "lsinitramfs", "dracut": "lsinitrd", "mkinitcpio": "lsinitcpio"}
    for program in (tool, listers[tool]):
        case.write(f"/usr/sbin/{program}", "")

    def list_image(words: tuple[str, ...]) -> Ran:
        held = (case.root / IMAGE[1:]).read_bytes().decode()
        return answer(f"{MODULE}\n{held}")

    def rebuild(words: tuple[str, ...]) -> Ran:
        there = (case.root / TARGET[1:]).exists()
        if works:
            case.write(IMAGE, HELD if there else "")
        return answer()

    case.host.commands[(tool,)] = rebuild
    case.host.commands[(listers[tool],)] = list_image
    case.host.commands[("modinfo", "-k", "6.14.0", "-F", "firmware", "xe")] = answer(f"{NAME}\n")
    return case


@pytest.mark.parametrize("tool", ["update-initramfs", "dracut", "mkinitcpio"])
def test_it_is_made_once_and_again_on_undo(tmp_path: Path, tool: str) -> None:
    case = make_machine(tmp_path, tool=tool)
    assert case.apply(STEP).refreshed == ("initramfs",)
    assert [words[0] for words in case.host.ran].count(tool) == 1
    assert case.read(IMAGE) == HELD
    case.undo()
    assert case.read(IMAGE) == ""


def test_an_image_without_the_file_fails_the_run(tmp_path: Path) -> None:
    case = make_machine(tmp_path, works=False)
    with pytest.raises(ExternalError, match=f"lacks {TARGET}"):
        case.apply(STEP)
    case.undo()
    assert not (case.root / TARGET[1:]).exists()


def test_images_of_removed_kernels_and_leftovers_are_passed_over(tmp_path: Path) -> None:
    case = make_machine(tmp_path)
    for name in ("initrd.img-6.14.0.old", "initrd.img-6.14.0.dpkg-bak", "initramfs-linux.img", "vmlinuz-6.14.0"):
        case.write(f"/boot/{name}", "")
    assert list_images(case.site) == (("/boot/initramfs-linux.img", "linux"), (IMAGE, "6.14.0"))


def test_a_machine_without_one_needs_none(tmp_path: Path) -> None:
    case = make_case(tmp_path, {NAME: NEW}, {PACKAGE: OLD})
    assert case.apply(STEP).refreshed == ()


def test_a_listing_that_fails_is_a_problem(tmp_path: Path) -> None:
    case = make_machine(tmp_path)
    case.host.commands[("lsinitramfs",)] = answer("", rc=1, err="cpio: premature end of archive")
    with pytest.raises(ExternalError, match="premature end"):
        case.apply(STEP)


def test_an_image_older_than_its_firmware_is_noticed(tmp_path: Path) -> None:
    case = make_machine(tmp_path)
    case.host.commands[("find", TARGET, "-newer", IMAGE)] = answer(f"{TARGET}\n")
    with pytest.raises(ExternalError, match=f"is older than {TARGET}"):
        case.apply(STEP)


def test_made_firmware_is_as_large_as_the_listing_says() -> None:
    assert len(make_guc(70, 54, 0)) == 131

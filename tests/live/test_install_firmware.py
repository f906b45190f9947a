"""Firmware for real: put in, the initramfs made anew by Debian's initramfs-tools, opened and looked into; and back.

Real: initramfs-tools, depmod, modinfo, lsinitramfs, Debian's kernel modules. Made by the test: the firmware (a header
with a version, no code) and a module `xe` that names it; the cloud kernel has no GPU driver.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.boot_machine import BootMachine, skip_without_parts
from tests.unit.install.firmware_images import make_guc, make_module
from tests.unit.install.step_case import make_stack
from xpukit.core.errors import ExternalError
from xpukit.install.apply import Outcome, apply_stack
from xpukit.install.reporter import Reporter
from xpukit.install.step import Options, Scene, Source
from xpukit.install.steps.firmware import STEP
from xpukit.install.undo import undo_stack

pytestmark = pytest.mark.live
NAME = "xe/bmg_guc_70.bin"
OLD, NEW, NEWER = make_guc(70, 44, 1), make_guc(70, 54, 0), make_guc(70, 60, 0)
PACKAGE, TARGET = f"/lib/firmware/{NAME}", f"/lib/firmware/updates/{NAME}"


def offer(machine: BootMachine, data: bytes) -> None:
    """Put a firmware and its manifest into the source directory."""
    machine.write(f"/opt/source/firmware/{NAME}", data)
    machine.write("/opt/source/firmware/SHA256SUMS", f"{hashlib.sha256(data).hexdigest()}  {NAME}\n")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[BootMachine]:
    """A machine with a driver in its initramfs, older firmware in the package's place, and a source with newer."""
    skip_without_parts()
    with BootMachine(tmp_path) as made:
        module = f"/lib/modules/{made.kernel}/kernel/drivers/gpu/drm/xe/xe.ko"
        made.write(module, make_module("xe", (NAME,), made.kernel))
        made.chroot("depmod", made.kernel)
        made.write("/etc/initramfs-tools/modules", "xe\n")
        # Only what is asked for: a full one holds thousands of modules and takes five times as long.
        made.write("/etc/initramfs-tools/conf.d/small", "MODULES=list\n")
        made.write(PACKAGE, OLD)
        offer(made, NEW)
        made.chroot("update-initramfs", "-c", "-k", made.kernel)
        yield made


def apply(machine: BootMachine) -> Outcome:
    options = Options(source=Source(directory="/opt/source"), lock_wait_s=5)
    return apply_stack(Scene(site=machine.site, stack=make_stack(), options=options), Reporter(), steps=(STEP,))


def open_initramfs(machine: BootMachine) -> dict[str, bytes]:
    """The firmware of the GPU in the initramfs, by path: unpacked by initramfs-tools' own program."""
    machine.chroot("rm", "-rf", "/tmp/opened")
    machine.chroot("unmkinitramfs", f"/boot/initrd.img-{machine.kernel}", "/tmp/opened")
    opened = machine.root / "tmp/opened"
    top = opened / "main" if (opened / "main").is_dir() else opened
    base = top / "usr/lib/firmware"
    return {str(path.relative_to(base)): path.read_bytes() for path in base.rglob("*.bin")}


def test_the_initramfs_holds_the_new_firmware_and_after_undo_the_packages(machine: BootMachine) -> None:
    assert open_initramfs(machine) == {NAME: OLD}
    outcome = apply(machine)
    assert outcome.refreshed == ("initramfs",)
    assert open_initramfs(machine) == {f"updates/{NAME}": NEW}
    assert (machine.root / PACKAGE[1:]).read_bytes() == OLD
    assert apply(machine).changes == ()
    assert not undo_stack(machine.site, Reporter(), lock_wait_s=5).refused
    assert open_initramfs(machine) == {NAME: OLD}
    assert not (machine.root / "lib/firmware/updates").exists()


def test_an_initramfs_that_is_not_made_anew_is_noticed(machine: BootMachine) -> None:
    machine.write("/etc/initramfs-tools/update-initramfs.conf", "update_initramfs=no\n")
    with pytest.raises(ExternalError, match=f"lacks {TARGET}"):
        apply(machine)
    machine.write("/etc/initramfs-tools/update-initramfs.conf", "update_initramfs=yes\n")
    assert apply(machine).refreshed == ("initramfs",)
    assert open_initramfs(machine) == {f"updates/{NAME}": NEW}
    # Another content of the same size is noticed too.
    offer(machine, NEWER)
    machine.write("/etc/initramfs-tools/update-initramfs.conf", "update_initramfs=no\n")
    with pytest.raises(ExternalError, match=f"is older than {TARGET}"):
        apply(machine)


def test_a_changed_file_is_refused_and_nothing_is_touched(machine: BootMachine) -> None:
    machine.write(f"/opt/source/firmware/{NAME}", NEW + b"!")
    with pytest.raises(ExternalError, match="SHA-256 is"):
        apply(machine)
    assert not (machine.root / "lib/firmware/updates").exists()

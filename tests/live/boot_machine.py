"""A machine that boots: Debian with its kernel, GRUB and initramfs-tools on an ext4 image.

The image is made once by debootstrap and kept. Each test gets a copy, mounted by a loop device whose node has, inside,
the name that the disk will have in QEMU: so the real grub-mkconfig writes a menu that is right there, and the real GRUB
can start it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.live.chroot_machine import CACHE, SUITE
from xpukit.host.writable import WritableHost
from xpukit.install.site import Site

_PACKAGES = ("grub2-common", "grub-pc-bin", "initramfs-tools", "zstd", "linux-image-cloud-amd64")
_IMAGE_SIZE = "800M"
_DISK = "nvme0n1"
DEBOOTSTRAP_LIMIT_S = 400
BOOT_LIMIT_S = 120
# Started instead of init: says what the kernel was started with, and ends the machine.
_SHOW = """#!/bin/sh
mount -t proc proc /proc
echo "cmdline-begin $(cat /proc/cmdline) cmdline-end"
sync
echo o > /proc/sysrq-trigger
sleep 30
"""
_EARLY = """serial
terminal_output serial
search --file --set=root /boot/grub/grub.cfg
set prefix=($root)/boot/grub
configfile $prefix/grub.cfg
"""
_GRUB_MODULES = (
    "biosdisk", "ext2", "search", "search_fs_file", "search_fs_uuid", "configfile", "normal", "linux", "echo", "test",
    "serial", "terminal", "loadenv", "gzio", "gettext", "all_video", "gfxterm", "font", "boot", "minicmd", "sleep",
    "true", "regexp",
)  # fmt: skip


def _call(*argv: str, limit_s: float = 120.0) -> str:
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=limit_s, check=False, stdin=subprocess.DEVNULL)
    assert ran.returncode == 0, f"{' '.join(argv)}: exit {ran.returncode}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}"
    return ran.stdout


def skip_without_parts(*programs: str) -> None:
    """Skip where no such machine can be made."""
    if os.geteuid() != 0:
        pytest.skip("a loop device needs root")
    for program in ("debootstrap", "mkfs.ext4", "mount", "chroot", *programs):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def make_image() -> Path:
    """The directory with `root.ext4` and `grub.img` (GRUB as it lies at the start of a disk), made once."""
    ready = CACHE / f"boot-base-{SUITE}"
    if (ready / "root.ext4").exists():
        return ready
    CACHE.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".boot-base-", dir=CACHE))
    tree, out = work / "tree", work / "out"
    out.mkdir()
    # Mounts and processes of its own: nothing below the tree outlives a build that is killed.
    apart = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")
    made = subprocess.run(
        [*apart, "debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", SUITE, str(tree)],
        capture_output=True, text=True, timeout=DEBOOTSTRAP_LIMIT_S, check=False,
    )  # fmt: skip
    if made.returncode:
        shutil.rmtree(work)
        pytest.skip(f"debootstrap fails here: {made.stdout.splitlines()[-1:]}")
    for unneeded in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"):
        shutil.rmtree(tree / unneeded, ignore_errors=True)
    (tree / "boot/grub").mkdir(exist_ok=True)
    # The kernel has NVMe and ext4 built in: without an initramfs it boots in a few seconds.
    for initrd in (tree / "boot").glob("initrd*"):
        initrd.unlink()
    show = tree / "usr/sbin/xpukit-show"
    show.write_text(_SHOW)
    show.chmod(0o755)
    shutil.copy2(tree / "usr/share/grub/default/grub", tree / "etc/default/grub")
    (tree / "tmp/early.cfg").write_text(_EARLY)
    core = ("grub-mkimage", "-O", "i386-pc", "-o", "/tmp/core.img", "-p", "/boot/grub", "-c", "/tmp/early.cfg")
    _call("chroot", str(tree), *core, *_GRUB_MODULES)
    first = (tree / "usr/lib/grub/i386-pc/boot.img").read_bytes() + (tree / "tmp/core.img").read_bytes()
    (out / "grub.img").write_bytes(first.ljust(1 << 20, b"\0"))
    (tree / "tmp/core.img").unlink()
    _call("mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-d", str(tree), str(out / "root.ext4"), _IMAGE_SIZE)
    shutil.rmtree(ready, ignore_errors=True)
    out.rename(ready)
    shutil.rmtree(work)
    return ready


class BootMachine:
    """One copy of the image; in the `with` block it is mounted at `root`."""

    def __init__(self, folder: Path) -> None:
        self._base = make_image()
        self._image = folder / "root.ext4"
        self.root = folder / "mounted"
        self.root.mkdir()
        _call("cp", "--sparse=always", str(self._base / "root.ext4"), str(self._image))

    def __enter__(self) -> BootMachine:
        argv = ["mount", "-o", "loop", str(self._image), str(self.root)]
        mounted = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        if mounted.returncode:
            pytest.skip(f"no loop device here: {mounted.stderr.strip()}")
        # GRUB looks for the disk by its number; a /dev of our own gives it the name that it has in QEMU. Without
        # /proc GRUB cannot learn that it is a loop device.
        _call("mount", "-t", "tmpfs", "none", str(self.root / "dev"))
        disk = os.stat(self.root).st_dev
        os.mknod(self.root / "dev" / _DISK, 0o60600, disk)
        os.mknod(self.root / "dev/null", 0o20666, os.makedev(1, 3))
        os.chmod(self.root / "dev/null", 0o666)
        return self

    def __exit__(self, *_: object) -> None:
        _call("umount", str(self.root / "dev"))
        _call("umount", str(self.root))

    @property
    def site(self) -> Site:
        return Site(WritableHost(), str(self.root))

    @property
    def kernel(self) -> str:
        return next((self.root / "boot").glob("vmlinuz-*")).name.removeprefix("vmlinuz-")

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text(encoding="utf-8")

    def write(self, path: str, content: str | bytes) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)

    def chroot(self, *argv: str) -> str:
        return _call("chroot", str(self.root), *argv)

    def boot(self) -> str:
        """Start QEMU's BIOS, GRUB and the kernel on the image, outside the `with` block; /proc/cmdline as it said it."""
        log = self._image.with_suffix(".log")
        argv = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35"]
        argv += ["-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512M", "-serial", f"file:{log}"]
        for name, file, device in (
            ("first", self._base / "grub.img", "ide-hd,bootindex=0"),
            ("root", self._image, "nvme,serial=xpukit"),
        ):
            argv += [
                "-drive",
                f"if=none,id={name},file={file},format=raw,snapshot=on",
                "-device",
                f"{device},drive={name}",
            ]
        _call("setpriv", "--pdeathsig", "KILL", *argv, limit_s=BOOT_LIMIT_S)
        said = log.read_bytes().decode(errors="replace")
        assert "cmdline-begin " in said, f"it did not start:\n{said[-3000:]}"
        return said.split("cmdline-begin ", 1)[1].split(" cmdline-end", 1)[0]

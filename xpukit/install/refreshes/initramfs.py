"""The initramfs of every kernel: made anew once, then listed to see that it holds the firmware that was put in."""

from __future__ import annotations

import re

import msgspec

from xpukit.facts.firmware import load_firmware_search
from xpukit.install.firmware_files import UPDATES, list_kernels
from xpukit.install.site import Site
from xpukit.install.step import Refresh
from xpukit.install.work import Work

LIST_LIMIT_S = 180.0
_IMAGE = re.compile(
    r"^(?:initrd\.img-(?P<debian>.+?)|initramfs-(?P<other>.+?)\.img)$"
)  # fmt: skip
_LEFT_OVER = re.compile(r"(?:\.old|\.bak|\.new|~|\.dpkg-.*|kdump\.img)$")
_LONG = re.compile(r"^[-lbcdps][-rwxsStT]{9}[.+@]?\s+\d+\s+\S+\s+\S+\s+(?P<size>\d+)\s+\S+\s+\S+\s+\S+\s+(?P<path>.+)$")


class Maker(msgspec.Struct, frozen=True, kw_only=True):
    """A program that makes all initramfs anew, and those that list one (the first that is there is taken)."""

    program: str
    argv: tuple[str, ...]
    listers: tuple[tuple[str, ...], ...]


# Debian's and Ubuntu's update-initramfs may be initramfs-tools' or dracut's.
MAKERS = (
    Maker(
        program="update-initramfs",
        argv=("update-initramfs", "-u", "-k", "all"),
        listers=(("lsinitramfs", "-l"), ("lsinitrd",)),
    ),
    Maker(program="dracut", argv=("dracut", "--force", "--regenerate-all"), listers=(("lsinitrd",),)),
    Maker(program="mkinitcpio", argv=("mkinitcpio", "-P"), listers=(("lsinitcpio",),)),
)


def has_initramfs(site: Site) -> bool:
    """There is one, and a program that made it."""
    return find_maker(site) is not None and bool(list_images(site))


def run_initramfs(work: Work) -> None:
    """Raises ExternalError."""
    maker = find_maker(work.site)
    assert maker is not None
    work.must(maker.argv)


def check_initramfs(site: Site) -> tuple[str, ...]:
    """Each image with a GPU driver holds the firmware of /lib/firmware/updates that this driver asks for, no other."""
    maker = find_maker(site)
    lister = next((argv for argv in maker.listers if site.has_program(argv[0])), None) if maker else None
    placed = list_placed(site)
    if lister is None:
        return (
            (f"no program lists an initramfs, so it is not known whether it holds {', '.join(placed)}",)
            if placed
            else ()
        )
    problems: list[str] = []
    for image, kernel in list_images(site):
        ran = site.ask((*lister, image), timeout_s=LIST_LIMIT_S)
        if not ran.ok:
            problems.append(ran.describe_failure())
            continue
        listing = parse_listing(ran.text)
        asked = {module: _ask_names(site, kernel, module) for module in ("xe", "i915")}
        problems += compare_listing(image, listing, placed, asked)
        problems += _find_newer(site, image, [name for name in placed if f"{UPDATES}/{name}".lstrip("/") in listing])
    return tuple(problems)


def find_maker(site: Site) -> Maker | None:
    return next((maker for maker in MAKERS if site.has_program(maker.program)), None)


def list_images(site: Site) -> tuple[tuple[str, str], ...]:
    """The images in /boot with the kernel's release that each is for; those of removed kernels are left out."""
    kernels = list_kernels(site)
    found = []
    for name in site.list("/boot").names:
        match = _IMAGE.match(name)
        if match is None or _LEFT_OVER.search(name):
            continue
        kernel = match["debian"] or match["other"]
        if kernel in kernels or not match["debian"]:
            found.append((f"/boot/{name}", kernel))
    return tuple(found)


def list_placed(site: Site) -> dict[str, int]:
    """GPU firmware in /lib/firmware/updates: sizes in bytes, by name ("xe/bmg_guc_70.bin")."""
    found: dict[str, int] = {}
    for family in load_firmware_search().families:
        todo = [family]
        while todo:
            name = todo.pop()
            stat = site.stat(f"{UPDATES}/{name}")
            if stat.kind == "dir":
                todo += [f"{name}/{entry}" for entry in site.list(f"{UPDATES}/{name}").names]
            elif stat.kind == "file":
                found[name] = stat.size_bytes
    return dict(sorted(found.items()))


def parse_listing(text: str) -> dict[str, int | None]:
    """Paths in an initramfs without a leading `/` or `usr/`; sizes in bytes where the listing has them."""
    found: dict[str, int | None] = {}
    for line in text.splitlines():
        match = _LONG.match(line)
        path = (match["path"].split(" -> ")[0] if match else line).strip().removeprefix("./").lstrip("/")
        if path:
            found[path.removeprefix("usr/")] = int(match["size"]) if match else None
    return found


def compare_listing(
    image: str, listing: dict[str, int | None], placed: dict[str, int], asked: dict[str, frozenset[str]]
) -> list[str]:
    """What an image lacks or has too much, in words. `asked`: the firmware names that each driver asks for."""
    base = UPDATES.lstrip("/")
    drivers = [module for module in asked if _has_module(listing, module)]
    problems = []
    for name, size in placed.items():
        needed = any(name in asked[module] for module in drivers)
        there = f"{base}/{name}" in listing
        if needed and not there:
            problems.append(f"{image}: lacks {UPDATES}/{name}")
        held = listing.get(f"{base}/{name}")
        if there and held is not None and held != size:
            problems.append(f"{image}: has another {UPDATES}/{name} ({held} bytes, not {size})")
    for path in listing:
        name = path.removeprefix(f"{base}/")
        family = name.split("/")[0]
        is_file = name != path and family in load_firmware_search().families and "." in name.rsplit("/", 1)[-1]
        if is_file and name not in placed:
            problems.append(f"{image}: still has /{path}")
    return problems


def _find_newer(site: Site, image: str, names: list[str]) -> list[str]:
    """Files written after the image that holds them: another content may have the same size."""
    if not names:
        return []
    ran = site.ask(("find", *(f"{UPDATES}/{name}" for name in names), "-newer", image))
    return [f"{image}: is older than {path}" for path in ran.text.split()] if ran.ok else []


def _has_module(listing: dict[str, int | None], module: str) -> bool:
    return any(re.search(rf"/{module}\.ko(?:\.\w+)?$", path) for path in listing)


def _ask_names(site: Site, kernel: str, module: str) -> frozenset[str]:
    """The firmware that a driver of a kernel names; none where the kernel has no such driver."""
    ran = site.ask(("modinfo", "-k", kernel, "-F", "firmware", module))
    return frozenset(ran.text.split()) if ran.ok else frozenset()


REFRESH = Refresh(
    name="initramfs",
    summary="initramfs",
    order=80,
    applies=has_initramfs,
    run=run_initramfs,
    check=check_initramfs,
)

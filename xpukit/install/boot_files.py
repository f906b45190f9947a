"""The files that say how a machine boots, read from a site: GRUB's settings and menu, entries, /etc/kernel/cmdline."""

from __future__ import annotations

import msgspec

from xpukit.core.errors import ExternalError
from xpukit.facts.stacks import load_stacks
from xpukit.install.boot_entries import CMDLINE, ENTRY_DIRECTORIES, VENDOR_CMDLINE, read_field
from xpukit.install.grub_settings import DROPIN_DIRECTORY, MAIN
from xpukit.install.site import Site

MENUS = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
MAKERS = ("grub-mkconfig", "grub2-mkconfig")
UNIFIED_DIRECTORIES = ("/boot/efi/EFI/Linux", "/efi/EFI/Linux", "/boot/EFI/Linux")
_ABSENT = ("ENOENT", "ENOTDIR", "UNRECORDED")
_UNRECORDED = "not in the recording"


class BootFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `grub` by path in the order in which GRUB reads it, empty where GRUB has no settings.

    `entries` are those of this machine's Linux. `unreadable` names what may not be looked at, with the error.
    """

    grub: dict[str, str] = {}
    has_dropins: bool = False
    menu: str = ""
    menu_text: str = ""
    entries: dict[str, str] = {}
    cmdline: str | None = None
    vendor_cmdline: str | None = None
    unified: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


def decode(data: bytes) -> str:
    """Text that gives the same bytes again, whatever they are."""
    return data.decode("utf-8", errors="surrogateescape")


def encode(text: str) -> bytes:
    """The bytes of `decode`."""
    return text.encode("utf-8", errors="surrogateescape")


def read_boot_files(site: Site) -> BootFiles:
    """Look at all of them. Raises ExternalError for settings that are there and cannot be read."""
    # A recording that does not hold a file says nothing about whether it is there.
    unreadable = [f"{path}: {_UNRECORDED}" for path in (MAIN, CMDLINE) if site.read(path).error == "UNRECORDED"]
    grub, has_dropins = _read_grub(site)
    menu = next((path for path in MENUS if not site.stat(path).error), "")
    answer = site.read(menu) if menu else None
    if answer is not None and answer.error:
        unreadable.append(f"{menu}: {answer.error}")
    return BootFiles(
        grub=grub,
        has_dropins=has_dropins,
        menu=menu,
        menu_text=decode(answer.data) if answer is not None else "",
        entries=_read_entries(site, unreadable),
        cmdline=_read_optional(site, CMDLINE),
        vendor_cmdline=_read_optional(site, VENDOR_CMDLINE),
        unified=_list_unified(site),
        unreadable=tuple(unreadable),
    )


def _read_optional(site: Site, path: str) -> str | None:
    answer = site.read(path)
    if answer.error in _ABSENT:
        return None
    if answer.error:
        raise ExternalError(f"{path}: cannot be read: {answer.error}", hint="run as root")
    return decode(answer.data)


def _read_grub(site: Site) -> tuple[dict[str, str], bool]:
    main = _read_optional(site, MAIN)
    if main is None:
        return {}, False
    texts = {MAIN: main}
    # Reading grub.d is an addition of Debian and Ubuntu to grub-mkconfig: the program itself says whether it has it.
    makers = [answer.data for name in MAKERS if not (answer := site.read(f"/usr/sbin/{name}")).error]
    listed = site.list(DROPIN_DIRECTORY)
    has_dropins = any(b"/default/grub.d" in data for data in makers) if makers else not listed.error
    if has_dropins:
        for name in sorted(listed.names):
            path = f"{DROPIN_DIRECTORY}/{name}"
            text = _read_optional(site, path) if name.endswith(".cfg") and not name.startswith(".") else None
            if text is not None:
                texts[path] = text
    return texts, has_dropins


def _read_entries(site: Site, unreadable: list[str]) -> dict[str, str]:
    machine = site.read("/etc/machine-id").text
    found: dict[str, str] = {}
    for directory in ENTRY_DIRECTORIES:
        listed = site.list(directory)
        if listed.error and listed.error not in _ABSENT:
            unreadable.append(f"{directory}: {listed.error}")
        for name in listed.names:
            if not name.endswith(".conf"):
                continue
            answer = site.read(f"{directory}/{name}")
            if answer.error:
                unreadable.append(f"{directory}/{name}: {answer.error}")
                continue
            text = decode(answer.data)
            owner = read_field(text, "machine-id")
            # Entries of another system on the same disk are not ours; those without `linux` start no kernel.
            if read_field(text, "linux") and (not owner or not machine or owner == machine):
                found[f"{directory}/{name}"] = text
    return found


def _list_unified(site: Site) -> tuple[str, ...]:
    return tuple(
        f"{directory}/{name}"
        for directory in UNIFIED_DIRECTORIES
        for name in site.list(directory).names
        if name.lower().endswith(".efi")
    )


def find_menu_maker(site: Site) -> tuple[str, ...]:
    """The command that makes GRUB's menu anew, () where there is no menu or no such program."""
    menu = next((path for path in MENUS if site.exists(path)), "")
    if menu == MENUS[0] and site.has_program("update-grub"):
        return ("update-grub",)
    program = next((name for name in MAKERS if site.has_program(name)), "")
    return (program, "-o", menu) if program and menu else ()


def list_our_words() -> tuple[str, ...]:
    """Every kernel argument that one of our stacks may have put in. Raises BadFactsError."""
    return tuple({row.token: None for stack in load_stacks() for row in stack.kernel_arguments if row.token})

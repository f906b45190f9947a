"""GRUB's menu: made anew by GRUB's own program, then read to see that it says what the settings say."""

from __future__ import annotations

from xpukit.core.errors import ExternalError
from xpukit.install.boot_files import find_menu_maker, list_our_words, read_boot_files
from xpukit.install.grub_menu import compare_menu, read_menu
from xpukit.install.grub_settings import MAIN, read_settings
from xpukit.install.site import Site
from xpukit.install.step import Refresh
from xpukit.install.work import Work

# os-prober mounts every partition there is.
MENU_LIMIT_S = 600.0


def has_menu(site: Site) -> bool:
    """GRUB has settings and a menu. Boot loader entries and /etc/kernel/cmdline need nothing made anew."""
    return site.exists(MAIN) and bool(find_menu_maker(site))


def run_update_grub(work: Work) -> None:
    """`update-grub`, or what it is elsewhere. Raises ExternalError."""
    work.must(find_menu_maker(work.site), timeout_s=MENU_LIMIT_S)


def check_menu(site: Site) -> tuple[str, ...]:
    """Every entry of Linux has the arguments of the settings, and none that xpukit put in and took back."""
    try:
        files = read_boot_files(site)
    except ExternalError as err:
        return (err.message,)
    if files.unreadable and not files.menu_text:
        return files.unreadable
    lines = read_menu(files.menu_text)
    kernels = [name for name in site.list("/boot").names if name.startswith(("vmlinuz", "vmlinux", "kernel-"))]
    if not lines and kernels and "blscfg" not in files.menu_text:
        return (f"{files.menu} has no entry for any of the kernels in /boot ({', '.join(kernels)})",)
    return compare_menu(lines, read_settings(files.grub), list_our_words())


REFRESH = Refresh(
    name="bootloader",
    summary="boot menu",
    order=90,
    applies=has_menu,
    run=run_update_grub,
    check=check_menu,
)

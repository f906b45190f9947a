"""Kernel arguments: single words put into, and taken out of, what the boot loader is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.facts.stacks import KernelArgumentFacts
from xpukit.install.boot_entries import (
    CMDLINE,
    TextEdit,
    edit_cmdline,
    edit_entry,
    list_cmdline_words,
    list_entry_words,
)
from xpukit.install.boot_files import MENUS, BootFiles, encode, find_menu_maker, list_our_words, read_boot_files
from xpukit.install.change import FileChange, make_file_change
from xpukit.install.grub_menu import compare_menu, read_menu
from xpukit.install.grub_settings import MAIN, VARIABLES, edit_settings, order_texts, read_settings
from xpukit.install.kernel_words import WantedWord, count_for_kernel, matches, split_words, word_name
from xpukit.install.step import Scene, Step, StepPlan

_NO_MAKER = (
    "{menu} is there, but neither update-grub nor grub-mkconfig, which make it anew from the settings: "
    "install GRUB's programs (Debian, Ubuntu: grub2-common), or leave the option out"
)


def plan_kernel_arguments(scene: Scene) -> StepPlan:
    """Which files change, by word. Raises ExternalError for settings that are there and cannot be read."""
    rows = [row for row in scene.stack.kernel_arguments if scene.wants(row.option)]
    if not rows:
        return StepPlan()
    wanted = [WantedWord(token=row.token, remove=row.remove) for row in rows]
    files = read_boot_files(scene.site)
    unchecked = tuple(
        Unchecked(check="kernel_arguments", why=why, remedy="run as root on the machine itself")
        for why in files.unreadable
    )
    if not files.grub and not files.entries and files.cmdline is None:
        if not scene.site.can_change and files.unreadable:
            return StepPlan(unchecked=unchecked)
        return StepPlan(blocked=_explain_no_loader(rows, files))
    if files.grub and files.menu and scene.site.can_change and not find_menu_maker(scene.site):
        return StepPlan(blocked=_NO_MAKER.format(menu=files.menu))
    before = _list_texts(files)
    after, problem = _edit_all(files, wanted)
    if problem:
        return StepPlan(blocked=f"{problem}. Put it right by hand, then run the same command again")
    changes = [
        _make_change(path, text, rows, before.get(path, "")) for path, text in after.items() if before.get(path) != text
    ]
    return StepPlan(
        changes=tuple(changes),
        satisfied=() if changes else tuple(f"kernel argument {_describe(row)}" for row in rows),
        findings=(
            *_find_no_menu(files),
            *_find_stale_menu(files, bool(changes)),
            *_find_unified(files),
            *_find_twice(after, wanted),
        ),
        unchecked=tuple(Unchecked(check="kernel_arguments", why=why, remedy="run as root") for why in files.unreadable),
        reboot=_explain_reboot(scene, rows, bool(changes)),
    )


def _list_texts(files: BootFiles) -> dict[str, str]:
    cmdline = {} if files.cmdline is None else {CMDLINE: files.cmdline}
    return {**files.grub, **cmdline, **files.entries}


def _edit_all(files: BootFiles, wanted: Sequence[WantedWord]) -> tuple[dict[str, str], str]:
    """The texts as they must be, by path, and why that cannot be had."""
    texts = _list_texts(files)
    if files.grub:
        grub: Mapping[str, str] = files.grub
        for want in wanted:
            edit = edit_settings(read_settings(grub), want, has_dropins=files.has_dropins)
            if edit.problem:
                return {}, f"GRUB's settings: {edit.problem}"
            grub = order_texts({**grub, **edit.texts})
        texts.update(grub)
    cmdline = files.cmdline
    if cmdline is None and files.entries:
        # A file of our own hides the vendor's, so it begins as a copy.
        cmdline = files.vendor_cmdline
    plain: list[tuple[str, str, Callable[[str, WantedWord], TextEdit]]] = [
        (path, text, edit_entry) for path, text in files.entries.items()
    ]
    if cmdline is not None:
        plain.append((CMDLINE, cmdline, edit_cmdline))
    for path, text, change in plain:
        edited = TextEdit(text=text)
        for want in wanted:
            edited = change(edited.text, want)
            if edited.problem:
                return {}, f"{path}: {edited.problem}"
        if path in texts or edited.text != files.vendor_cmdline:
            texts[path] = edited.text
    return texts, ""


def _make_change(path: str, text: str, rows: Sequence[KernelArgumentFacts], before: str) -> FileChange:
    return make_file_change(path, encode(text), "; ".join(row.why for row in rows if row.why) or "kernel arguments")


def _describe(row: KernelArgumentFacts) -> str:
    gone = f"without {' '.join(row.remove)}" if row.remove and not row.token else ""
    return row.token or gone


def _explain_no_loader(rows: Sequence[KernelArgumentFacts], files: BootFiles) -> str:
    words = " ".join(row.token for row in rows if row.token)
    unified = f" The kernel is started from {files.unified[0]}, which holds its command line." if files.unified else ""
    said = f" ({'; '.join(files.unreadable)})" if files.unreadable else ""
    return (
        f"neither /etc/default/grub nor boot loader entries nor {CMDLINE} are there{said}, so it is not known where "
        f"kernel arguments belong.{unified} Put them in by hand ({words}), or leave the option out"
    )


def _find_no_menu(files: BootFiles) -> list[Finding]:
    """GRUB's settings are left behind where another loader took over, or /boot is not mounted."""
    if not files.grub or files.menu:
        return []
    return [
        Finding(
            id="XPK-INSTALL-BOOT-MENU-MISSING",
            severity="warning",
            summary=f"GRUB has settings here but no menu ({', '.join(MENUS)}): they may have no effect",
            evidence=(Evidence(source=MAIN, value="is there"),),
            remedy=("look what starts the machine: sudo bootctl status, sudo efibootmgr; is /boot mounted?",),
            install_step="kernel_arguments",
        )
    ]


def _find_stale_menu(files: BootFiles, changing: bool) -> list[Finding]:
    """The menu says something else than its settings although nobody is about to change them."""
    if changing or not files.grub or not files.menu_text:
        return []
    problems = compare_menu(read_menu(files.menu_text), read_settings(files.grub), list_our_words())
    if not problems:
        return []
    return [
        Finding(
            id="XPK-INSTALL-BOOT-MENU-STALE",
            severity="warning",
            summary=f"{files.menu} is older than GRUB's settings: {problems[0]}",
            evidence=tuple(Evidence(source=files.menu, value=problem) for problem in problems[:5]),
            remedy=("make the menu anew, then reboot",),
            commands=("sudo update-grub",) if files.menu.startswith("/boot/grub/") else (),
            install_step="kernel_arguments",
        )
    ]


def _find_unified(files: BootFiles) -> list[Finding]:
    if not files.unified:
        return []
    return [
        Finding(
            id="XPK-INSTALL-UNIFIED-KERNEL",
            severity="warning",
            summary=f"{len(files.unified)} unified kernel image(s) hold a command line of their own",
            evidence=tuple(Evidence(source=path, value="is there") for path in files.unified[:5]),
            explanation="a unified kernel image has its command line inside; a change of settings does not reach it.",
            remedy=(f"where the machine boots from such an image: make it anew, which reads {CMDLINE}",),
            install_step="kernel_arguments",
        )
    ]


def _find_twice(texts: Mapping[str, str], wanted: Sequence[WantedWord]) -> list[Finding]:
    """Another value of the same parameter that nobody asked to take out: the kernel reads both."""
    findings = []
    for path, words in _list_words(texts):
        for want in wanted:
            others = [
                word
                for word in words
                if want.token and word_name(word) == word_name(want.token) and not matches(word, want.token)
            ]
            if others and any(matches(word, want.token) for word in words):
                findings.append(
                    Finding(
                        id="XPK-INSTALL-KERNEL-ARGUMENT-TWICE",
                        severity="info",
                        summary=f"{path}: {' '.join(others)} stays beside {want.token}",
                        evidence=(Evidence(source=path, value=" ".join([*others, want.token])),),
                        remedy=("take it out by hand where it contradicts: the kernel reads both, in order",),
                        subject=path,
                        install_step="kernel_arguments",
                    )
                )
    return findings


def _list_words(texts: Mapping[str, str]) -> list[tuple[str, tuple[str, ...]]]:
    grub = {path: text for path, text in texts.items() if path.startswith("/etc/default/")}
    found = []
    if grub:
        settings = read_settings(order_texts(grub))
        found.append(("/etc/default/grub", tuple(word for name in VARIABLES for word in settings.words(name))))
    for path, text in texts.items():
        if path == CMDLINE:
            found.append((path, list_cmdline_words(text)))
        elif path not in grub:
            found.append((path, list_entry_words(text)))
    return found


def _explain_reboot(scene: Scene, rows: Sequence[KernelArgumentFacts], changing: bool) -> str:
    words = ", ".join(_describe(row) for row in rows)
    if changing:
        return f"the kernel reads its arguments at boot ({words})"
    running = scene.site.read("/proc/cmdline") if scene.site.is_whole else None
    if running is None or running.error:
        return ""
    booted = split_words(running.text)
    there = booted[: count_for_kernel([booted])[0]]
    missing = [row.token for row in rows if row.token and not any(matches(word, row.token) for word in there)]
    left = [word for word in there for row in rows for gone in row.remove if matches(word, gone)]
    late = [*missing, *(f"no {word}" for word in left)]
    return f"the running kernel was started before the settings changed ({', '.join(late)})" if late else ""


STEP = Step(
    name="kernel_arguments",
    summary="kernel arguments, in the boot loader's settings",
    order=500,
    plan=plan_kernel_arguments,
    scopes=("machine",),
    refreshes=("bootloader",),
)

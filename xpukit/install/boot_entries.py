"""Kernel command lines outside GRUB: /etc/kernel/cmdline of kernel-install and `options` of boot loader entries.

Formats: kernel-install(8); UAPI Boot Loader Specification, type 1. Nothing here raises for what it reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from xpukit.install.kernel_words import (
    Atom,
    Edit,
    WantedWord,
    apply_edits,
    atoms_of,
    explain_unwritable,
    plan_words,
    split_atoms,
)

CMDLINE = "/etc/kernel/cmdline"
VENDOR_CMDLINE = "/usr/lib/kernel/cmdline"
ENTRY_DIRECTORIES = ("/boot/loader/entries", "/boot/efi/loader/entries", "/efi/loader/entries")
_FIELD = re.compile(r"^(?P<key>[A-Za-z-]+)(?P<space>[ \t]+)(?P<value>.*)$")


class TextEdit(msgspec.Struct, frozen=True, kw_only=True):
    """The new text of a file (the same where nothing changes), or why it cannot be had."""

    text: str
    removed: tuple[str, ...] = ()
    problem: str = ""


def read_field(text: str, key: str) -> str:
    """The last value of a key of a boot loader entry, "" where it has none."""
    found = ""
    for line in text.splitlines():
        match = _FIELD.match(line)
        if match and match["key"] == key:
            found = match["value"].strip()
    return found


def list_entry_words(text: str) -> tuple[str, ...]:
    """The words of an entry's `options`, which may stand on several lines."""
    return tuple(word.text for word in split_atoms(_entry_atoms(text)[0]))


def list_cmdline_words(text: str) -> tuple[str, ...]:
    """The words of /etc/kernel/cmdline; lines that begin with `#` are none."""
    return tuple(word.text for word in split_atoms(_cmdline_atoms(text)))


def edit_entry(text: str, wanted: WantedWord) -> TextEdit:
    """A boot loader entry with the word in its options."""
    atoms, end = _entry_atoms(text)
    if end >= 0:
        return _edit(text, atoms, wanted, end, lambda after: _entry_atoms(after)[0])
    newline = "" if not text or text.endswith("\n") else "\n"
    done = TextEdit(text=text)
    if wanted.token:
        done = TextEdit(text=f"{text}{newline}options {wanted.token}\n", problem=_refuse(wanted))
    return done


def edit_cmdline(text: str, wanted: WantedWord) -> TextEdit:
    """/etc/kernel/cmdline with the word in it."""
    atoms = _cmdline_atoms(text)
    end = next((atom.end for atom in reversed(atoms) if not atom.text.isspace()), -1)
    if end >= 0:
        return _edit(text, atoms, wanted, end, _cmdline_atoms)
    newline = "" if not text or text.endswith("\n") else "\n"
    done = TextEdit(text=text)
    if wanted.token:
        done = TextEdit(text=f"{text}{newline}{wanted.token}\n", problem=_refuse(wanted))
    return done


def _refuse(wanted: WantedWord) -> str:
    why = explain_unwritable(wanted.token) if wanted.token else ""
    return f"{wanted.token}: {why}" if why else ""


def _edit(
    text: str, atoms: Sequence[Atom], wanted: WantedWord, end: int, read: Callable[[str], Sequence[Atom]]
) -> TextEdit:
    if problem := _refuse(wanted):
        return TextEdit(text=text, problem=problem)
    plan = plan_words([atoms], wanted)
    if plan.problem:
        return TextEdit(text=text, problem=plan.problem)
    edits = list(plan.edits)
    if plan.add:
        edits.append(Edit(file=0, start=end, end=end, text=f" {wanted.token}"))
    after = apply_edits(text, edits)
    now = [word.text for word in split_atoms(read(after))]
    wanted_words = [*plan.expected[0], *([wanted.token] if plan.add else [])]
    if now != wanted_words:
        return TextEdit(text=text, problem=f"cannot be edited safely: it would hold {' '.join(now)!r}")
    return TextEdit(text=after, removed=plan.removed)


def _entry_atoms(text: str) -> tuple[tuple[Atom, ...], int]:
    """The characters of all `options` lines, and where the last of them ends (-1 without any)."""
    atoms: list[Atom] = []
    at, end = 0, -1
    for line in text.splitlines(keepends=True):
        body = line.rstrip("\r\n")
        match = _FIELD.match(body)
        if match and match["key"] == "options":
            if atoms:
                atoms.append(Atom(text=" ", fixed=True))
            atoms += atoms_of(match["value"], offset=at + match.start("value"))
            end = at + len(body.rstrip())
        elif body.strip() == "options":
            end = at + len(body)
        at += len(line)
    return tuple(atoms), end


def _cmdline_atoms(text: str) -> tuple[Atom, ...]:
    atoms: list[Atom] = []
    at = 0
    for line in text.splitlines(keepends=True):
        if not line.lstrip().startswith("#"):
            # Line ends stay where they are: a comment may follow.
            atoms += [msgspec.structs.replace(atom, fixed=atom.text in "\r\n") for atom in atoms_of(line, offset=at)]
        at += len(line)
    return tuple(atoms)

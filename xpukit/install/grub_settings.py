"""/etc/default/grub and what is read after it: the kernel's words of all of them together, and edits of single words.

grub-mkconfig reads /etc/default/grub, then (Debian, Ubuntu) /etc/default/grub.d/*.cfg in order; the last assignment
wins. So a word is put into the assignment whose text is really used, and taken out wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from xpukit.install.grub_shell import Assignment, Script, Unknown, read_script
from xpukit.install.kernel_words import (
    OPAQUE,
    Atom,
    Edit,
    WantedWord,
    apply_edits,
    explain_unwritable,
    matches,
    plan_words,
    quote_text,
    split_atoms,
)

MAIN = "/etc/default/grub"
DROPIN_DIRECTORY = "/etc/default/grub.d"
OWN_DROPIN = f"{DROPIN_DIRECTORY}/zz-xpukit.cfg"
# In the order in which both are put behind the kernel: GRUB_CMDLINE_LINUX_DEFAULT not in recovery entries.
VARIABLES = ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT")
NORMAL = "GRUB_CMDLINE_LINUX_DEFAULT"
_NOBODY_KNOWS = Assignment(
    name="", appends=False, atoms=(), start=0, end=0, certain=False, last_quote="plain", all_bare=False
)
_OWN_HEAD = "# Written by xpukit install; `xpukit install undo` takes it back.\n"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The files in the order in which they are read, and what the kernel's variables hold at the end.

    `history` are the assignments that the end value is made of, oldest first. `perhaps` are words that a condition
    may put in. `broken` names the file that the shell would refuse.
    """

    texts: dict[str, str]
    values: dict[str, tuple[Atom, ...]]
    history: dict[str, tuple[tuple[int, Assignment], ...]]
    perhaps: tuple[str, ...] = ()
    broken: str = ""

    def words(self, name: str) -> tuple[str, ...]:
        """The words of a variable; those with something unknown in them hold OPAQUE."""
        return tuple(word.text for word in split_atoms(self.values[name]))


class SettingsEdit(msgspec.Struct, frozen=True, kw_only=True):
    """What a word takes: the new text of files by path (none where it is so already), or why it cannot be done."""

    texts: dict[str, str] = {}
    removed: tuple[str, ...] = ()
    problem: str = ""


def order_texts(texts: Mapping[str, str]) -> dict[str, str]:
    """The files in the order in which GRUB reads them."""
    return {path: texts[path] for path in sorted(texts, key=lambda path: (path != MAIN, path))}


def read_settings(texts: Mapping[str, str]) -> Settings:
    """Evaluate the files, given in the order in which GRUB reads them. Never raises."""
    paths = tuple(texts)
    scripts = [read_script(text, file=i) for i, text in enumerate(texts.values())]
    evaluator = _Evaluator(_count_uses(scripts, texts))
    broken = ""
    for i, script in enumerate(scripts):
        evaluator.run(i, script)
        if script.broken and not broken:
            broken = f"{paths[i]}: {script.broken}"
    return Settings(
        texts=dict(texts),
        values={name: tuple(evaluator.values.get(name, ())) for name in VARIABLES},
        history={name: tuple(evaluator.history.get(name, ())) for name in VARIABLES},
        perhaps=tuple(evaluator.perhaps),
        broken=broken,
    )


def _count_uses(scripts: Sequence[Script], texts: Mapping[str, str]) -> dict[str, int]:
    names = {item.name for script in scripts for item in script.statements if isinstance(item, Assignment)}
    whole = "\n".join(texts.values())
    return {name: len(re.findall(rf"\$\{{?[#!]?{name}\b", whole)) for name in names}


class _Evaluator:
    def __init__(self, uses: Mapping[str, int]) -> None:
        self.values: dict[str, list[Atom]] = {}
        self.history: dict[str, list[tuple[int, Assignment]]] = {}
        self.perhaps: list[str] = []
        self._uses = uses

    def run(self, file: int, script: Script) -> None:
        for item in script.statements:
            if isinstance(item, Unknown):
                self._forget(file)
            else:
                self._assign(file, item)

    def _forget(self, file: int) -> None:
        """A command that may have changed anything: what was known is so no longer."""
        for name in {*self.values, *VARIABLES}:
            self.perhaps += [word.text for word in split_atoms(self.values.get(name, []))]
            self.values[name] = [Atom(text=OPAQUE, file=file, fixed=True)]
            self.history[name] = [(file, _NOBODY_KNOWS)]

    def _assign(self, file: int, item: Assignment) -> None:
        before = self.values.get(item.name, [])
        extends = item.appends or any(atom.name in (item.name, f"?{item.name}") for atom in item.atoms)
        new = [*before] if item.appends else []
        for atom in item.atoms:
            new += self._expand(item.name, atom, before)
        if item.certain:
            self.values[item.name] = new
        else:
            self.perhaps += [word.text for word in split_atoms(new)]
            unknown = Atom(text=OPAQUE, file=file, fixed=True)
            space = Atom(text=" ", file=file, fixed=True)
            self.values[item.name] = [*before, space, unknown] if extends and _keeps(item, new, before) else [unknown]
        self.history[item.name] = [*(self.history.get(item.name, []) if extends else []), (file, item)]

    def _expand(self, variable: str, atom: Atom, before: list[Atom]) -> list[Atom]:
        if not atom.name:
            return [atom]
        name = atom.name.removeprefix("?")
        if name == variable:
            # `${X:+$X }` and its like keep what X holds.
            return before if atom.name == name else [*before, *([Atom(text=" ", fixed=True)] if before else [])]
        if atom.name != name or name not in self.values:
            return [atom]
        shared = self._uses.get(name, 0) > 1
        return [msgspec.structs.replace(held, fixed=held.fixed or shared) for held in self.values[name]]


def _keeps(item: Assignment, new: list[Atom], before: list[Atom]) -> bool:
    return item.appends or new[: len(before)] == before


def edit_settings(settings: Settings, wanted: WantedWord, *, has_dropins: bool) -> SettingsEdit:
    """The files as they must be for a word. Only that word and those it contradicts change; checked by reading anew."""
    if settings.broken:
        return SettingsEdit(problem=f"{settings.broken}; GRUB cannot read it either")
    if wanted.token and (why := explain_unwritable(wanted.token)):
        return SettingsEdit(problem=f"{wanted.token}: {why}")
    blocked = [word for word in settings.perhaps if any(matches(word, pattern) for pattern in wanted.remove)]
    if blocked and blocked[0] != wanted.token:
        return SettingsEdit(problem=f"{blocked[0]}: is put in under a condition; take it out by hand")
    plan = plan_words([settings.values[name] for name in VARIABLES], wanted)
    if plan.problem:
        return SettingsEdit(problem=plan.problem)
    if not plan.edits and not plan.add:
        return SettingsEdit()
    texts = dict(settings.texts)
    for i, path in enumerate(settings.texts):
        texts[path] = apply_edits(texts[path], [edit for edit in plan.edits if edit.file == i])
    if plan.add:
        texts = _append(texts, wanted.token, has_dropins=has_dropins)
    if problem := _check(read_settings(texts), wanted, plan.expected):
        return SettingsEdit(problem=problem)
    changed = {path: text for path, text in texts.items() if settings.texts.get(path) != text}
    return SettingsEdit(texts=changed, removed=plan.removed)


def _append(texts: Mapping[str, str], token: str, *, has_dropins: bool) -> dict[str, str]:
    """Put a word at the end of the text that the value begins with, so that what later files add stays behind it."""
    settings = read_settings(texts)
    paths = tuple(texts)
    done = dict(texts)
    history = settings.history[NORMAL]
    base = next((entry for entry in history if entry[1].certain), None)
    if history and (base is None or base is not history[0]):
        if not has_dropins:
            done[MAIN] = _with_line(done[MAIN], f'{NORMAL}="${NORMAL} {quote_text(token, "double")}"')
            return done
        line = f'{NORMAL}="${NORMAL} {quote_text(token, "double")}"'
        done[OWN_DROPIN] = _with_line(done.get(OWN_DROPIN, _OWN_HEAD), line)
        return order_texts(done)
    if base is None:
        done[MAIN] = _with_line(done[MAIN], f'{NORMAL}="{quote_text(token, "double")}"')
        return done
    file, item = base
    edits = _append_to(item, texts[paths[file]], file, token)
    done[paths[file]] = apply_edits(texts[paths[file]], edits)
    return done


def _append_to(item: Assignment, text: str, file: int, token: str) -> list[Edit]:
    space = "" if not item.atoms or item.atoms[-1].text.isspace() else " "
    if item.last_quote in ("double", "single"):
        return [Edit(file=file, start=item.end - 1, end=item.end - 1, text=space + quote_text(token, item.last_quote))]
    if item.all_bare:
        whole = text[item.start : item.end]
        return [
            Edit(file=file, start=item.start, end=item.end, text=f'"{whole}{space}{quote_text(token, "double")}"')
        ]  # fmt: skip
    return [Edit(file=file, start=item.end, end=item.end, text=f'"{space}{quote_text(token, "double")}"')]


def _with_line(text: str, line: str) -> str:
    return text + ("" if not text or text.endswith("\n") else "\n") + line + "\n"


def _check(after: Settings, wanted: WantedWord, expected: tuple[tuple[str, ...], ...]) -> str:
    if after.broken:
        return f"cannot be edited safely: {after.broken}"
    found = False
    for name, words in zip(VARIABLES, expected, strict=True):
        now = list(after.words(name))
        if now != list(words) and wanted.token in now:
            now.remove(wanted.token)
        if now != list(words):
            return f"{name} cannot be edited safely: it would hold {' '.join(now)!r} instead of {' '.join(words)!r}"
        found = found or any(matches(word, wanted.token) for word in after.words(name))
    if wanted.token and not found:
        return f"{wanted.token}: a later assignment would hide it"
    return ""

"""GRUB's settings are shell: which variables a file assigns, read without running it.

What is not a plain assignment (conditions, commands, other files read in) is not guessed at: it is marked, and the
caller leaves it alone.
"""

from __future__ import annotations

import re

import msgspec

from xpukit.install.kernel_words import OPAQUE, Atom, Quote

_NAME = re.compile(r"[A-Za-z_]\w*")
_ASSIGNED = re.compile(r"(?P<name>[A-Za-z_]\w*)(?P<op>\+?=)")
_EXPANSION = re.compile(r"\$(?:(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)\}|(?P<special>[0-9@*#?$!-]))")
# `${X:-…}` and its like keep what X holds; `${#X}` and `${X%…}` do not.
_BRACED_NAME = re.compile(r"\$\{(?P<name>[A-Za-z_]\w*):?[-+=?]")
_OPEN = frozenset(("if", "while", "until", "for", "case", "select", "{"))
_CLOSE = frozenset(("fi", "done", "esac", "}"))
_MIDDLE = frozenset(("then", "else", "elif", "do", "!", "time"))
_DECLARES = frozenset(("export", "readonly", "declare", "typeset"))
# Commands after which any variable may hold anything.
_UNKNOWN = frozenset((".", "source", "eval", "read", "exit", "return", "exec"))


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """`name=value`. `certain` False: only under a condition. `start` to `end` is the value with its quotes."""

    name: str
    appends: bool
    atoms: tuple[Atom, ...]
    start: int
    end: int
    certain: bool
    last_quote: Quote
    all_bare: bool


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """A command that may change any variable."""

    text: str


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What a file does to variables, in order. `broken`: why the shell would refuse it, "" if it would not."""

    statements: tuple[Assignment | Unknown, ...]
    broken: str = ""


class _Scanned(msgspec.Struct, frozen=True, kw_only=True):
    start: int
    end: int
    raw: str
    atoms: tuple[Atom, ...]
    last_quote: Quote
    all_bare: bool


class _BrokenError(Exception):
    """The shell would not read this; never leaves the module."""


def read_script(text: str, *, file: int = 0) -> Script:
    """Read a file of settings. Never raises."""
    reader = _Reader(text, file)
    try:
        reader.read()
    except _BrokenError as err:
        return Script(statements=tuple(reader.statements), broken=str(err))
    return Script(statements=tuple(reader.statements))


class _Reader:
    def __init__(self, text: str, file: int) -> None:
        self.text = text
        self.file = file
        self.at = 0
        self.depth = 0
        self.parentheses = 0
        self.functions: set[str] = set()
        self.statements: list[Assignment | Unknown] = []

    def read(self) -> None:
        chained = False
        if self.text.startswith("\ufeff"):
            raise _BrokenError("line 1: begins with a byte order mark, which is no command")
        while self._skip_blank():
            words = self._read_command()
            inside = self.parentheses > 0
            joint = self._read_joint()
            # `a && b`, `a | b`, `a &`: what is joined may not happen, or not in this shell.
            if joint == "(" and len(words) == 1 and self.text[self.at :].lstrip(" \t").startswith(")"):
                self.functions.add(words[0].raw)
                words = []
            self._take(words, certain=not chained and not inside and joint not in ("|", "&", "("))
            chained = joint in ("&&", "||", "|") or (chained and joint == "(")
            if joint == "<<":
                self.statements.append(Unknown(text="<<"))
                return

    def _skip_blank(self) -> bool:
        while self.at < len(self.text):
            if self.text.startswith("\\\n", self.at):
                self.at += 2
            elif self.text.startswith("\r\n", self.at) and not self.text[: self.at].rpartition("\n")[2].strip():
                raise _BrokenError(f"{self._line(self.at)}: a carriage return on a line of its own is no command")
            elif self.text[self.at] in " \t\r\n;":
                self.at += 1
            elif self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return True
        return False

    def _read_command(self) -> list[_Scanned]:
        words: list[_Scanned] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in "\n;&|()" or self.text.startswith("<<", self.at):
                break
            if char == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif self.text.startswith("\\\n", self.at):
                self.at += 2
            elif char in " \t\r":
                self.at += 1
            else:
                words.append(self._read_word())
        return words

    def _read_joint(self) -> str:
        for joint in ("&&", "||", "<<", ";", "&", "|", "(", ")", "\n"):
            if self.text.startswith(joint, self.at):
                self.at += len(joint)
                if joint == "(":
                    self.parentheses += 1
                elif joint == ")":
                    # Also the end of a pattern of `case`, where nothing was opened.
                    self.parentheses = max(self.parentheses - 1, 0)
                return joint
        return ""

    def _take(self, words: list[_Scanned], *, certain: bool) -> None:
        while words and words[0].raw in _OPEN | _CLOSE | _MIDDLE:
            if words[0].raw in _OPEN:
                self.depth += 1
                if words[0].raw in ("for", "case", "select"):
                    return
            elif words[0].raw in _CLOSE:
                self.depth = max(self.depth - 1, 0)
            words = words[1:]
        certain = certain and not self.depth
        if len(words) > 1 and words[1].raw.startswith("=") and _NAME.fullmatch(words[0].raw):
            raise _BrokenError(
                f"{self._line(words[0].start)}: {words[0].raw} has a blank before its `=`, so it is taken for a command"
            )
        found = [word for word in words if _ASSIGNED.match(word.raw)]
        if words and len(found) == len(words):
            self.statements += [self._assign(word, certain) for word in words]
            return
        command = next((word for word in words if not _ASSIGNED.match(word.raw)), None)
        if command is None:
            return
        rest = words[words.index(command) + 1 :]
        if command.raw in _DECLARES:
            self.statements += [self._assign(word, certain) for word in rest if _ASSIGNED.match(word.raw)]
        elif command.raw == "unset":
            self.statements += [
                Assignment(name=word.raw, appends=False, atoms=(), start=word.end, end=word.end, certain=certain,
                           last_quote="plain", all_bare=False)
                for word in rest
            ]  # fmt: skip
        elif command.raw in _UNKNOWN or command.raw in self.functions:
            self.statements.append(Unknown(text=command.raw))

    def _assign(self, word: _Scanned, certain: bool) -> Assignment:
        match = _ASSIGNED.match(word.raw)
        assert match is not None
        head = word.start + match.end()
        atoms = tuple(
            msgspec.structs.replace(atom, owner=match["name"]) for atom in word.atoms if atom.start >= head
        )  # fmt: skip
        return Assignment(
            name=match["name"],
            appends=match["op"] == "+=",
            atoms=atoms,
            start=head,
            end=word.end,
            certain=certain,
            last_quote=word.last_quote if word.end > head else "bare",
            all_bare=word.all_bare,
        )

    def _read_word(self) -> _Scanned:
        start = self.at
        atoms: list[Atom] = []
        quote: Quote = "bare"
        last: Quote = "bare"
        opened = start
        bare = True
        while self.at < len(self.text):
            char = self.text[self.at]
            if quote == "bare" and (char in " \t\r\n;&|()" or self.text.startswith("<<", self.at)):
                break
            if quote == "single":
                if char == "'":
                    quote, last = "bare", "single"
                    self.at += 1
                else:
                    self._add(atoms, char, 1, quote)
            elif char == '"':
                quote, last = ("bare", "double") if quote == "double" else ("double", last)
                opened, bare = self.at, False
                self.at += 1
            elif char == "'" and quote == "bare":
                quote, opened, bare = "single", self.at, False
                self.at += 1
            else:
                bare = self._read_char(atoms, quote) and bare
                last = quote
        if quote != "bare":
            raise _BrokenError(f"{self._line(opened)}: a quote is not closed")
        return _Scanned(
            start=start, end=self.at, raw=self.text[start : self.at], atoms=tuple(atoms), last_quote=last, all_bare=bare
        )

    def _read_char(self, atoms: list[Atom], quote: Quote) -> bool:
        """One character or expansion outside single quotes; whether it is plain."""
        text, at = self.text, self.at
        if text[at] == "\\" and at + 1 < len(text):
            if text[at + 1] == "\n":
                self.at += 2
            elif quote == "bare" or text[at + 1] in '$`"\\':
                self._add(atoms, text[at + 1], 2, quote)
            else:
                self._add(atoms, "\\", 1, quote)
            return False
        if text[at] == "`":
            self._add(atoms, OPAQUE, self._find_end(at + 1, "`") - at, quote)
            return False
        if text[at] != "$":
            self._add(atoms, text[at], 1, quote)
            return True
        if match := _EXPANSION.match(text, at):
            name = match["name"] or match["braced"] or ""
            self._add(atoms, OPAQUE, match.end() - at, quote, name=name)
        elif text.startswith("$(", at):
            self._add(atoms, OPAQUE, self._find_end(at + 2, ")") - at, quote)
        elif text.startswith("${", at):
            named = _BRACED_NAME.match(text, at)
            # "?" marks one that is not simply the variable's value.
            name = f"?{named['name']}" if named else ""
            self._add(atoms, OPAQUE, self._find_end(at + 2, "}") - at, quote, name=name)
        else:
            self._add(atoms, "$", 1, quote)
        return False

    def _add(self, atoms: list[Atom], char: str, length: int, quote: Quote, *, name: str = "") -> None:
        atoms.append(Atom(text=char, file=self.file, start=self.at, end=self.at + length, quote=quote, name=name))
        self.at += length

    def _find_end(self, at: int, closing: str) -> int:
        """Behind the character that closes a substitution, quotes and nested ones passed over."""
        begun, pairs = at, {"(": ")", "{": "}"}
        stack = [closing]
        while at < len(self.text):
            char = self.text[at]
            if char == "\\":
                at += 2
                continue
            if char == stack[-1]:
                stack.pop()
                if not stack:
                    return at + 1
            elif char == "'" and stack[-1] != '"':
                at = self.text.find("'", at + 1)
                if at < 0:
                    break
            elif char == '"':
                stack.append('"')
            elif char in pairs and (char == "(" or self.text[at - 1] == "$") and closing != "`":
                stack.append(pairs[char])
            at += 1
        raise _BrokenError(f"{self._line(begun)}: a substitution is not closed")

    def _line(self, at: int) -> str:
        return f"line {self.text.count(chr(10), 0, at) + 1}"

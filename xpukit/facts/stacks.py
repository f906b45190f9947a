"""Driver stacks: what `xpukit install` puts on a machine of a distribution and release (data/stacks/*.toml)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.core.toml import load_toml
from xpukit.facts.paths import data_dir

SCHEMA = "xpukit.stack/1"
PART_SCHEMA = "xpukit.stack-part/1"
_FILES = "stacks"


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every row has: the option that it needs ("" for always), why it is there, and who says so."""

    option: str = ""
    why: str = ""
    source: str


class PackageFacts(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A package. `needs_source`: the distribution itself does not have it. `required` False: the rest works without.

    `archives`: where the name of the package is not known, the pattern of its archives in the source directory; `name`
    is then our word for it, and `brings` a file by which one sees that it is there. `remedy` is what a user does where
    no source has it. `firmware`: it may bring what the stack's rows of firmware name.
    """

    name: str
    purpose: str
    archives: str = ""
    brings: str = ""
    minimum: str = ""
    tested: tuple[str, ...] = ()
    required: bool = True
    needs_source: bool = False
    remedy: str = ""
    firmware: bool = False


class FileFacts(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A small file of settings with its whole content. `refresh` is what has to be made anew."""

    path: str
    content: str
    mode: int = 0o644
    refresh: Literal["", "udev", "systemd", "initramfs"] = ""
    reboot: bool = False


class CopyFacts(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Programs that come without a package: the files of `pattern` below the source directory, put into `directory`."""

    name: str
    pattern: str
    directory: str


class GroupFacts(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group that users of the GPU must be in. `device` is the kind of node that it opens."""

    name: str
    device: str = ""


class ServiceFacts(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A systemd unit and how it shall stand."""

    unit: str
    want: Literal["enabled", "disabled", "masked"]


class HoldFacts(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A package that apt shall leave as it is."""

    package: str


class KernelArgumentFacts(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One word of the kernel's command line; the words of `remove` contradict it and go."""

    token: str
    remove: tuple[str, ...] = ()


class FirmwareFacts(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A firmware file below /lib/firmware with its version and hash. `devices` are PCI ids, `platforms` prefixes of
    devices.json's; neither for all. Rows of one path are versions of it that are known: the lowest is wanted."""

    path: str
    sha256: str
    version: str = ""
    devices: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()


class KernelFacts(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The kernel that the stack wants: its package, and the release from which on nothing is needed."""

    package: str
    minimum: str


class SourceFacts(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where packages come from. `remedy` is what a user does to give apt that source."""

    name: str
    kind: Literal["distribution", "ppa", "directory", "vendor"]
    remedy: str = ""


class OptionFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that a user may want; `default` chosen without being asked for."""

    name: str
    summary: str
    default: bool = False


class ProbeFacts(_Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A look at the result: a command that must end with 0, run where `package` is installed."""

    argv: tuple[str, ...]
    package: str = ""


class StackFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stack. `distribution` and `release` are os-release's ID and VERSION_ID; empty for one that fits any."""

    schema: str
    name: str
    summary: str
    date: str
    source: str
    scope: Literal["machine", "container"] = "machine"
    distribution: str = ""
    releases: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ("amd64",)
    include: tuple[str, ...] = ()
    kernel: KernelFacts | None = None
    packages: tuple[PackageFacts, ...] = ()
    copies: tuple[CopyFacts, ...] = ()
    files: tuple[FileFacts, ...] = ()
    groups: tuple[GroupFacts, ...] = ()
    services: tuple[ServiceFacts, ...] = ()
    holds: tuple[HoldFacts, ...] = ()
    kernel_arguments: tuple[KernelArgumentFacts, ...] = ()
    firmware: tuple[FirmwareFacts, ...] = ()
    sources: tuple[SourceFacts, ...] = ()
    options: tuple[OptionFacts, ...] = ()
    checks: tuple[ProbeFacts, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def default_options(self) -> frozenset[str]:
        return frozenset(option.name for option in self.options if option.default)


_LISTS = ("packages", "copies", "files", "groups", "services", "holds", "kernel_arguments", "firmware", "sources",
          "options", "checks")  # fmt: skip


def load_stack_file(path: Path) -> StackFacts:
    """A stack of a user or of ours, with the parts it includes. Raises BadFactsError."""
    raw = load_toml(path)
    if raw.get("schema") != SCHEMA:
        raise BadFactsError(f"{path}: schema is {raw.get('schema')!r}, not {SCHEMA!r}", hint="see: docs/install.md")
    for part in raw.get("include", ()):
        rows = _load_part(str(part), path)
        for name in _LISTS:
            if name in rows:
                raw[name] = [*raw.get(name, ()), *rows[name]]
    try:
        stack = msgspec.convert(raw, StackFacts)
    except msgspec.ValidationError as err:
        raise BadFactsError(f"{path}: {err}", hint="see: docs/install.md") from err
    names = {option.name for option in stack.options}
    for name in _LISTS:
        for row in getattr(stack, name):
            if (option := getattr(row, "option", "")) and option not in names:
                raise BadFactsError(f"{path}: {name}: there is no option {option!r}", hint="add it to [[options]]")
    return stack


def _load_part(name: str, asked_by: Path) -> dict[str, Any]:
    path = data_dir() / _FILES / "parts" / f"{name}.toml"
    if "/" in name or not path.is_file():
        raise BadFactsError(f"{asked_by}: there is no part {name!r}", hint=f"parts lie in {path.parent}")
    raw = load_toml(path)
    if raw.get("schema") != PART_SCHEMA:
        raise BadFactsError(
            f"{path}: schema is {raw.get('schema')!r}, not {PART_SCHEMA!r}", hint="install xpukit again"
        )
    return raw


@cache
def load_stacks() -> tuple[StackFacts, ...]:
    """All stacks, by name. Raises BadFactsError."""
    return tuple(load_stack_file(path) for path in sorted((data_dir() / _FILES).glob("*.toml")))


def find_stack(distribution: str, release: str) -> StackFacts | None:
    """The stack of a distribution's release; None where there is none."""
    return next(
        (stack for stack in load_stacks() if stack.distribution == distribution and release in stack.releases), None
    )


def get_stack(name: str) -> StackFacts:
    """A stack by its name, or a user's own by its path. Raises BadFactsError."""
    for stack in load_stacks():
        if stack.name == name:
            return stack
    if name.endswith(".toml"):
        return load_stack_file(Path(name))
    known = ", ".join(stack.name for stack in load_stacks())
    raise BadFactsError(f"there is no stack {name!r}", hint=f"one of: {known}; or the path of a .toml of your own")

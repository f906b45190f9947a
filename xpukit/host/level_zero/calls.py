"""Calls into the loader whose failures become entries in a list, never exceptions."""

from __future__ import annotations

import ctypes as c
from collections.abc import Callable
from typing import Any, TypeVar

from xpukit.host.level_zero.api import Described, Library, make
from xpukit.host.level_zero.names import name_result
from xpukit.host.level_zero.snapshot import RefusedCall

S = TypeVar("S", bound=c.Structure)
D = TypeVar("D", bound=Described)

# A driver that answers a count with rubbish must not make us allocate gigabytes.
_MOST_ITEMS = 4096


class Calls:
    """Calls a `Library`; `subject` says which device the calls are about; `trace` hears of each call beforehand."""

    def __init__(self, library: Library, trace: Callable[[str], None]) -> None:
        self.library = library
        self.subject = ""
        self._trace = trace
        self._refused: dict[tuple[str, int | None], list[str]] = {}

    def code(self, name: str, *arguments: object) -> int | None:
        """ze_result_t, recorded when it is not success; None when the loader lacks the function."""
        self._trace(f"{name} {self.subject}".rstrip())
        code = self.library.call(name, *arguments)
        if code != 0:
            subjects = self._refused.setdefault((name, code), [])
            if self.subject and self.subject not in subjects:
                subjects.append(self.subject)
        return code

    def ok(self, name: str, *arguments: object) -> bool:
        return self.code(name, *arguments) == 0

    def read(self, name: str, handle: object, kind: type[D], extension: Described | None = None) -> D | None:
        """One described structure filled by `name(handle, &structure)`."""
        made = make(kind, extension)
        return made if self.ok(name, handle, c.byref(made)) else None

    def fill(self, name: str, handle: object, kind: type[S]) -> S | None:
        """One plain structure filled by `name(handle, &structure)`."""
        made = kind()
        return made if self.ok(name, handle, c.byref(made)) else None

    def byte(self, name: str, *handles: object) -> bool | None:
        """A ze_bool_t."""
        value = c.c_uint8(0)
        return bool(value.value) if self.ok(name, *handles, c.byref(value)) else None

    def count(self, name: str, *parents: object) -> int | None:
        """How many items a list function has, without fetching them."""
        number = c.c_uint32(0)
        return min(number.value, _MOST_ITEMS) if self.ok(name, *parents, c.byref(number), None) else None

    def handles(self, name: str, *parents: object) -> list[c.c_void_p] | None:
        """All handles of a list function; None when it was refused."""
        number = self.count(name, *parents)
        if not number:
            return None if number is None else []
        found = (c.c_void_p * number)()
        size = c.c_uint32(number)
        if not self.ok(name, *parents, c.byref(size), found):
            return None
        return [c.c_void_p(found[place]) for place in range(min(size.value, number))]

    def structures(
        self, name: str, parent: object, kind: type[S], prepare: Callable[[int, S], None] | None = None
    ) -> list[S] | None:
        """All structures of a list function, each with its type set; `prepare` may chain an extension."""
        number = self.count(name, parent)
        if not number:
            return None if number is None else []
        found: Any = (kind * number)()
        for place, item in enumerate(found):
            if issubclass(kind, Described):
                item.stype = kind.STYPE
            if prepare is not None:
                prepare(place, item)
        size = c.c_uint32(number)
        if not self.ok(name, parent, c.byref(size), found):
            return None
        return [found[place] for place in range(min(size.value, number))]

    def refused(self) -> tuple[RefusedCall, ...]:
        """What was refused so far, in the order of first refusal."""
        return tuple(
            RefusedCall(
                call=name,
                code_hex="" if code is None else f"0x{code:08x}",
                name="NOT_IN_THIS_LOADER" if code is None else name_result(code),
                devices=tuple(subjects),
            )
            for (name, code), subjects in self._refused.items()
        )


def decode_name(raw: bytes) -> str:
    """A fixed-size C string as text."""
    return raw.split(b"\0", 1)[0].decode("utf-8", errors="replace").strip()


def keep_known(raw: bytes) -> str | None:
    """A sysman string property; drivers write "unknown" (the headers: "unkown") for what they cannot tell."""
    text = decode_name(raw)
    return None if text.lower() in ("", "unknown", "unkown") else text


def format_bdf(address: Any) -> str:
    """ "0000:03:00.0" from a PCI address structure."""
    return f"{address.domain:04x}:{address.bus:02x}:{address.device:02x}.{address.function:x}"


def format_version(packed: int) -> str:
    """ "1.4" from ZE_MAKE_VERSION's packing."""
    return f"{packed >> 16}.{packed & 0xFFFF}"


def keep_positive(value: float) -> float | None:
    """None for the negative numbers by which a driver says that it does not know."""
    return None if value < 0 else value


def keep_count(value: int) -> int | None:
    """The same for whole numbers."""
    return None if value < 0 else value

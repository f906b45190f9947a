"""What a CDI specification may hold, and which runtimes read it (data/images/cdi.toml)."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

import msgspec

from xpukit.facts.tables import damaged, read_table

SCHEMA = "xpukit.cdi-facts/1"
Place = Literal["document", "device", "edits", "node", "mount", "hook"]


class CdiSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The released versions, oldest first, and the form of names (regular expressions)."""

    versions: tuple[str, ...]
    kind_pattern: str
    device_pattern: str
    source: str
    date: str


class FieldSince(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first version of the specification that has a field."""

    place: Place
    field: str
    version: str


class CdiRuntime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A container runtime that reads CDI files from a version on. `newest_spec` "": not known."""

    name: str
    since: str
    note: str
    source: str
    date: str
    newest_spec: str = ""


class CdiFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The data file. `fields` are the names that each part of a document may have."""

    schema: str
    kind: str
    static_dir: str
    dynamic_dir: str
    spec: CdiSpec
    fields: dict[Place, tuple[str, ...]]
    since: tuple[FieldSince, ...]
    runtimes: tuple[CdiRuntime, ...]


@cache
def load_cdi_facts() -> CdiFacts:
    """The file, typed and checked. Raises BadFactsError when it breaks its schema."""
    name = "images/cdi.toml"
    facts = read_table("images", "cdi", CdiFacts, SCHEMA)
    try:
        re.compile(facts.spec.kind_pattern)
        re.compile(facts.spec.device_pattern)
    except re.error as err:
        raise damaged(name, err) from err
    for entry in facts.since:
        if entry.version not in facts.spec.versions or entry.field not in facts.fields.get(entry.place, ()):
            raise damaged(name, f"{entry.place}.{entry.field} is not in the tables")
    return facts

"""What is in an image: packages with versions and licences, layers, and how it starts. The values; see inventory_*."""

from __future__ import annotations

from typing import Literal

import msgspec

from xpukit.core.json_document import encode_json

SCHEMA = "xpukit.image-inventory/1"
INVENTORY_FILE = "inventory.json"
SBOM_FILE = "sbom.cdx.json"
FLAGS_FILE = "engine-flags.json"
SMOKE_FILE = "smoke.json"
PackageKind = Literal["deb", "rpm", "pypi"]


class Package(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One installed package. `place` is the site-packages directory of a Python one.

    `licences` are as the package itself states them; `licence_source` says where: "copyright" (the machine-readable
    fields of Debian's copyright file: every licence that occurs in its source, not that of the binary), "rpm",
    "expression" (SPDX), "metadata" (free text) or "classifier". Nobody reviewed them.
    """

    kind: PackageKind
    name: str
    version: str
    architecture: str = ""
    place: str = ""
    licences: tuple[str, ...] = ()
    licence_source: str = ""
    commit: str = ""


class LayerSize(msgspec.Struct, frozen=True, kw_only=True):
    """One instruction of the image's history and the bytes that it added, oldest first."""

    instruction: str
    size_bytes: int


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """An image, accounted for. `notes` say what could not be looked at."""

    image: str
    image_id: str
    created: str = ""
    architecture: str = ""
    os_id: str = ""
    os_version: str = ""
    size_bytes: int = 0
    layers: tuple[LayerSize, ...] = ()
    labels: dict[str, str] = {}
    env: dict[str, str] = {}
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    packages: tuple[Package, ...] = ()
    flags_sha256: str = ""
    notes: tuple[str, ...] = ()


def encode_inventory(inventory: Inventory) -> bytes:
    """The file's content; the same image gives the same bytes."""
    return encode_json({"schema": SCHEMA, **msgspec.to_builtins(inventory)}).encode()

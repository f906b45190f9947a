"""Images and engines that a plan takes where none was named (data/launch/images.toml)."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.facts.tables import read_table

_SCHEMA = "xpukit.launch-images/1"


class ImageRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the image of an engine's version is called. `models_dir`: where models are mounted in it.

    `start`: whether it runs the command it is given ("pass"), puts flags behind its own server ("engine"), or needs
    bash in place of its entry point ("shell").
    """

    engine: str
    vendor: str
    reference: str
    models_dir: str
    source: str
    start: Literal["pass", "engine", "shell"] = "pass"


class DefaultRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The engine for a vendor and family of GPU ("" any)."""

    vendor: str
    family: str
    engine: str
    why: str
    source: str


class LaunchImages(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    image: tuple[ImageRow, ...]
    default: tuple[DefaultRow, ...]


@cache
def load_launch_images() -> LaunchImages:
    """The tables. Raises BadFactsError."""
    return read_table("launch", "images", LaunchImages, _SCHEMA)


def find_image_row(engine: str, vendor: str) -> ImageRow | None:
    """How the engine's image is called, None where no project publishes one for this vendor that we know of."""
    rows = load_launch_images().image
    return next((row for row in rows if row.engine == engine and row.vendor == vendor), None)


def find_default_engine(vendor: str, family: str) -> DefaultRow:
    """The engine for this GPU. Raises BadFactsError when the data holds none."""
    for row in load_launch_images().default:
        if row.vendor == vendor and row.family in ("", family):
            return row
    raise BadFactsError(f"data/launch/images.toml: no engine for {vendor}", hint="restore the file from the package")

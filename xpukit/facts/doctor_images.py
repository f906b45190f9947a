"""Images that serve models, their generations and known problems (data/doctor/images.toml)."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from xpukit.facts.doctor_tables import load_table, split_version

Setvars = Literal["needed", "absent", "entrypoint"]


class KnownImage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A repository by a part of its name. `intel`: made for Intel GPUs."""

    pattern: str
    engine: str
    source: str
    link: str
    date: str
    intel: bool = False
    latest_is_wrong: bool = False


class KnownCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words that start a server."""

    words: str
    engine: str


class Generation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the environment of an image is made from a version of its tag on."""

    pattern: str
    since: str
    setvars: Setvars
    source: str
    link: str
    date: str


class Alias(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A release number and the tag it is the same image as."""

    pattern: str
    tag: str
    same_as: str
    source: str


class Newest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The newest tag we know of, and when that was."""

    pattern: str
    tag: str
    source: str
    link: str
    date: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A known problem of one tag."""

    pattern: str
    tag: str
    summary: str
    remedy: str
    status: str
    link: str
    date: str
    several_gpus: bool = False


class ImageFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    date: str
    image: tuple[KnownImage, ...]
    command: tuple[KnownCommand, ...]
    generation: tuple[Generation, ...]
    alias: tuple[Alias, ...]
    newest: tuple[Newest, ...]
    problem: tuple[Problem, ...]


class ImageName(msgspec.Struct, frozen=True, kw_only=True):
    """An image reference taken apart: `tag` is "" when none was given, `digest` likewise."""

    repository: str
    tag: str = ""
    digest: str = ""


def split_image(reference: str) -> ImageName:
    """'host:5000/intel/llm-scaler-vllm:0.26.0-b2@sha256:…' taken apart; never raises."""
    name, _, digest = reference.strip().partition("@")
    # A colon after the last slash is the tag's; one before it belongs to the registry's port.
    head, slash, last = name.rpartition("/")
    base, _, tag = last.partition(":")
    return ImageName(repository=f"{head}{slash}{base}", tag=tag, digest=digest)


@cache
def load_images() -> ImageFile:
    """The tables. Raises BadFactsError."""
    return load_table("images", ImageFile)


def find_image(repository: str) -> KnownImage | None:
    """The first row whose pattern is in the repository's name."""
    return next((row for row in load_images().image if row.pattern in repository.lower()), None)


def find_engine(command: str) -> str:
    """The engine that a command line starts, "" when it starts none we know."""
    text = " ".join(command.split()).lower()
    return next((row.engine for row in load_images().command if row.words in text), "")


def resolve_tag(image: ImageName) -> str:
    """The tag under which the same image was first released ('1.3' of llm-scaler is '0.11.1-b7')."""
    rows = load_images().alias
    return next((row.same_as for row in rows if row.pattern in image.repository and row.tag == image.tag), image.tag)


def find_generation(image: ImageName) -> Generation | None:
    """How this image's environment is made; None when its tag names no version or the image is not known."""
    version = split_version(resolve_tag(image))
    # Release numbers of 1.x that we do not know as another name for a version of vLLM say nothing.
    if not version or version >= (1,):
        return None
    found = None
    for row in load_images().generation:
        if row.pattern in image.repository and split_version(row.since) <= version:
            found = row
    return found


def find_newest(image: ImageName) -> Newest | None:
    """The newest known tag of the repository."""
    return next((row for row in load_images().newest if row.pattern in image.repository), None)


def find_problems(image: ImageName) -> tuple[Problem, ...]:
    """Known problems of exactly this tag."""
    tags = {image.tag, resolve_tag(image)} - {""}
    return tuple(row for row in load_images().problem if row.pattern in image.repository and row.tag in tags)

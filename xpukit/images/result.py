"""What `build-image` says in its documents: the recipes there are, and what a build gave."""

from __future__ import annotations

import msgspec

from xpukit.facts.recipes import Recipe
from xpukit.images.build import BuilderKind, BuildOutcome, KnownCause, Rendered
from xpukit.images.context import ContextEntry
from xpukit.images.lock import Lock


class RecipeList(msgspec.Struct, frozen=True, kw_only=True):
    """`build-image --list` and `--show`."""

    recipes: tuple[Recipe, ...]


class ImageResult(msgspec.Struct, frozen=True, kw_only=True):
    """One build. `hash` is the recipe's, with settings and context; `seconds` the builder's own time.

    `smoke` is the verdict of the smoke test, "" where there was none, `failed_checks` its rows that did not pass;
    `inventory` is a file in `directory`. `causes` is what a failure usually means, `notes` what could not be done after
    the build.
    """

    ok: bool
    recipe: str
    variant: str
    hash: str
    image_id: str
    tags: tuple[str, ...]
    builder: BuilderKind
    base_image: str
    seconds: float
    total_steps: int
    cached_steps: int
    directory: str
    log: str
    smoke: str = ""
    inventory: str = ""
    failed_step: str = ""
    last_lines: tuple[str, ...] = ()
    causes: tuple[KnownCause, ...] = ()
    notes: tuple[str, ...] = ()
    failed_checks: tuple[str, ...] = ()


class ImagePlan(msgspec.Struct, frozen=True, kw_only=True):
    """`build-image --dry-run`: `argv` and `env` of the build (empty for the classic builder), and the context."""

    recipe: str
    hash: str
    tags: tuple[str, ...]
    builder: BuilderKind
    argv: tuple[str, ...]
    env: dict[str, str]
    files: tuple[ContextEntry, ...]


class ContextListing(msgspec.Struct, frozen=True, kw_only=True):
    """`context.json` of a build directory: every file of the context, also those linked from elsewhere."""

    recipe: str
    hash: str
    files: tuple[ContextEntry, ...]


class FetchReport(msgspec.Struct, frozen=True, kw_only=True):
    """`build-image --fetch`: what is in `folder`, as its lock says it."""

    folder: str
    lock: Lock


def describe_result(rendered: Rendered, outcome: BuildOutcome, tags: tuple[str, ...], directory: str) -> ImageResult:
    """A build's outcome with what was built."""
    return ImageResult(
        ok=outcome.ok,
        recipe=rendered.recipe,
        variant=rendered.variant,
        hash=rendered.hash,
        image_id=outcome.image_id,
        tags=tags if outcome.ok else (),
        builder=outcome.builder,
        base_image=rendered.base_image,
        seconds=outcome.seconds,
        total_steps=outcome.total_steps,
        cached_steps=outcome.cached_steps,
        directory=directory,
        log=outcome.log,
        failed_step=outcome.failed_step,
        last_lines=outcome.last_lines,
        causes=outcome.causes,
    )

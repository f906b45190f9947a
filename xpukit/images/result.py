"""What `build-image` says in its documents: the recipes there are, and what a build gave."""

from __future__ import annotations

import msgspec

from xpukit.facts.recipes import Recipe
from xpukit.images.build import BuilderKind, BuildOutcome, Rendered


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
    causes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    failed_checks: tuple[str, ...] = ()


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

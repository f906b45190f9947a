"""What `build-image` prints about recipes and builds."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from xpukit.cli.render import make_console, print_fields, print_table
from xpukit.core.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xpukit.cli.session import Session
    from xpukit.facts.recipes import Recipe
    from xpukit.images.result import ImageResult

RECIPES_SCHEMA = "xpukit.recipes/1"


def print_recipes(session: Session) -> int:
    """The recipes we ship."""
    from xpukit.facts.recipes import list_recipes, load_recipe

    recipes = [load_recipe(name) for name in list_recipes()]
    if session.json:
        return _print_document(session, recipes)
    rows = [
        (
            recipe.name,
            recipe.version,
            _describe_engine(recipe),
            ", ".join(variant.name for variant in recipe.variants),
            recipe.summary,
        )
        for recipe in recipes
    ]
    print_table("Recipes", ("recipe", "version", "engine", "variants", "what it is"), rows, color=session.color)
    return int(ExitCode.OK)


def show_recipe(session: Session, name: str) -> int:
    """Everything that a recipe says about itself."""
    from xpukit.facts.recipes import load_recipe
    from xpukit.images.settings import describe_allowed, resolve_settings, write_value

    recipe = load_recipe(name)
    resolve_settings(recipe)  # a default that is not allowed is a mistake of the recipe
    if session.json:
        return _print_document(session, [recipe])
    color = session.color
    answers, needs = recipe.answers, recipe.host
    fields = [
        ("version", recipe.version),
        ("engine", _describe_engine(recipe)),
        ("environment", answers.era),
        ("port", str(answers.port or "")),
        ("health", answers.health_path),
        ("user", answers.user),
        ("hardware", {"intel": "Intel GPU", "nvidia": "NVIDIA GPU", "any": "any, no GPU needed"}[needs.vendor]),
        ("families", ", ".join(needs.families)),
        ("kernel", f"{needs.min_kernel} or newer" if needs.min_kernel else ""),
        ("drivers", ", ".join(needs.drivers)),
        ("GuC firmware", f"{needs.min_guc} or newer" if needs.min_guc else ""),
        ("Level Zero", f"{needs.min_level_zero} or newer" if needs.min_level_zero else ""),
        ("source", " ".join(filter(None, (needs.source, needs.date)))),
    ]
    print_fields(f"{recipe.name}: {recipe.summary}", fields, color=color)
    if recipe.description.strip():
        make_console(color=color).print(_join_lines(recipe.description) + "\n")
    _print_entries(
        "Settings",
        [
            (f"{key} = {write_value(setting.default)}", setting.summary, f"allowed: {describe_allowed(setting)}")
            for key, setting in recipe.settings.items()
        ],
        color,
    )
    variants = []
    for variant in recipe.variants:
        sets = " ".join(f"{key}={_write_any(value)}" for key, value in variant.settings.items())
        variants.append((variant.name, variant.summary, f"sets {sets}" if sets else ""))
    _print_entries("Variants", variants, color)
    pins = [(f"{pin.name} {pin.version}", f"{pin.kind}, {pin.date}: {pin.source}") for pin in recipe.pins]
    _print_entries("Pins", pins, color)
    fetched = [
        (file.name, file.url, f"sha256 {file.sha256 or 'unknown: see --fetch'}, {file.date}") for file in recipe.fetch
    ]
    _print_entries("Fetched files", fetched, color)
    return int(ExitCode.OK)


def print_result(result: ImageResult, *, color: bool) -> None:
    """What came of a build."""
    from xpukit.core.units import format_seconds
    from xpukit.images.builders.progress import shorten_end, shorten_instruction

    console = make_console(color=color)
    if result.ok:
        fields = [
            ("image", result.image_id),
            ("tags", ", ".join(result.tags)),
            ("recipe hash", result.hash),
            (
                "built in",
                f"{format_seconds(result.seconds)}, {result.cached_steps} of {result.total_steps} steps cached",
            ),
            ("smoke test", result.smoke),
            ("inventory", result.inventory),
            ("kept in", result.directory),
        ]
        print_fields(f"{result.recipe}: built with {result.builder}", fields, color=color)
        for check in result.failed_checks:
            console.print(f"  smoke test: {check}", style="red" if color else None)
        for note in result.notes:
            console.print(f"  note: {note}")
        return
    console.print(f"{result.recipe}: the build failed", style="bold red" if color else None)
    if result.failed_step:
        console.print(f"  step: {shorten_instruction(result.failed_step)}")
    for line in result.last_lines:
        console.print(f"  | {shorten_end(line)}")
    for cause in result.causes:
        console.print(f"  likely: {cause.title}")
        for remedy in cause.remedy:
            console.print(f"    - {remedy}")
    console.print(f"  log: {result.log}")


def _describe_engine(recipe: Recipe) -> str:
    from xpukit.images.template import fill_settings

    defaults = {key: setting.default for key, setting in recipe.settings.items()}
    return " ".join(filter(None, (recipe.answers.engine, fill_settings(recipe.answers.engine_version, defaults))))


def _join_lines(text: str) -> str:
    """Paragraphs without their own line ends: the terminal's width counts."""
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def _write_any(value: object) -> str:
    from xpukit.images.settings import write_value

    return write_value(tuple(value) if isinstance(value, list) else value)  # type: ignore[arg-type]


def _print_entries(title: str, entries: Sequence[Sequence[str]], color: bool) -> None:
    """Each with what is said of it on lines of its own: a table of such texts fits no terminal."""
    if not entries:
        return
    console = make_console(color=color)
    console.print(title, style="bold" if color else None)
    for head, *lines in entries:
        console.print(f"  {head}".rstrip(), style="bold" if color else None, soft_wrap=True)
        for line in filter(None, lines):
            for part in textwrap.wrap(line, width=console.width - 6, break_long_words=False, break_on_hyphens=False):
                console.print(f"      {part}", soft_wrap=True)
    console.print()


def _print_document(session: Session, recipes: Sequence[Recipe]) -> int:
    import msgspec

    from xpukit.core.json_document import build_document
    from xpukit.images.result import RecipeList

    # Where the files lie on this host is no property of a recipe.
    plain = tuple(msgspec.structs.replace(recipe, folder="") for recipe in recipes)
    session.print_json(build_document(RECIPES_SCHEMA, "", RecipeList(recipes=plain)))
    return int(ExitCode.OK)

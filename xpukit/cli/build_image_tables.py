"""What `build-image` prints about recipes and builds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from xpukit.cli.render import make_console, print_fields, print_table
from xpukit.core.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xpukit.cli.session import Session
    from xpukit.facts.recipes import Recipe
    from xpukit.images.result import ImageResult

_END = re.compile(
    r".*executor failed running \[.*\]: exit code: (\d+)"
    r"|(?:.*process \".*\" did not complete successfully|The command '.*' returned a non-zero code)"
    r": (?:exit code: )?(\d+)",
    re.DOTALL,
)
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
    from xpukit.images.settings import describe_allowed, write_value

    recipe = load_recipe(name)
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
        make_console(color=color).print(recipe.description.strip() + "\n")
    rows = [
        (key, setting.type, write_value(setting.default) or '""', describe_allowed(setting), setting.summary)
        for key, setting in recipe.settings.items()
    ]
    _print_part("Settings", ("setting", "type", "default", "allowed", "what it does"), rows, color)
    variants = [
        (
            variant.name,
            " ".join(f"{key}={_write_any(value)}" for key, value in variant.settings.items()),
            variant.summary,
        )
        for variant in recipe.variants
    ]
    _print_part("Variants", ("variant", "sets", "what it is"), variants, color)
    pins = [(pin.name, pin.kind, pin.version, pin.date, pin.source) for pin in recipe.pins]
    _print_part("Pins", ("pin", "kind", "version", "date", "source"), pins, color)
    fetched = [(file.name, file.url, file.sha256 or "unknown: see --fetch", file.date) for file in recipe.fetch]
    _print_part("Fetched files", ("file", "address", "sha256", "date"), fetched, color)
    return int(ExitCode.OK)


def print_result(result: ImageResult, *, color: bool) -> None:
    """What came of a build."""
    from xpukit.core.units import format_seconds
    from xpukit.images.builders.progress import shorten_instruction

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
        console.print(f"  | {_shorten_end(line)}")
    for cause in result.causes:
        console.print(f"  likely: {cause.title}")
        for remedy in cause.remedy:
            console.print(f"    - {remedy}")
    console.print(f"  log: {result.log}")


def _shorten_end(line: str) -> str:
    """The builders end with the whole instruction again and its exit code: only the latter is new."""
    found = _END.fullmatch(line)
    return f"exit code {found[1] or found[2]}" if found else line


def _describe_engine(recipe: Recipe) -> str:
    from xpukit.images.render import fill_settings

    defaults = {key: setting.default for key, setting in recipe.settings.items()}
    return " ".join(filter(None, (recipe.answers.engine, fill_settings(recipe.answers.engine_version, defaults))))


def _write_any(value: object) -> str:
    from xpukit.images.settings import write_value

    return write_value(tuple(value) if isinstance(value, list) else value)  # type: ignore[arg-type]


def _print_part(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], color: bool) -> None:
    if rows:
        print_table(title, columns, rows, color=color)


def _print_document(session: Session, recipes: Sequence[Recipe]) -> int:
    import msgspec

    from xpukit.core.json_document import build_document
    from xpukit.images.result import RecipeList

    # Where the files lie on this host is no property of a recipe.
    plain = tuple(msgspec.structs.replace(recipe, folder="") for recipe in recipes)
    session.print_json(build_document(RECIPES_SCHEMA, "", RecipeList(recipes=plain)))
    return int(ExitCode.OK)

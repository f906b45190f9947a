"""Image recipes: `dockerfiles/<recipe>/recipe.toml`, typed. One folder is one recipe."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from xpukit.core.errors import BadFactsError, UsageError
from xpukit.core.toml import load_toml
from xpukit.facts.paths import shipped_dir

SCHEMA = "xpukit.recipe/1"
RECIPE_FILE = "recipe.toml"
TEMPLATE_FILE = "Dockerfile.j2"
CHECK_FILE = "check.sh"

SettingType = Literal["string", "integer", "boolean", "choice", "list"]
SettingValue = str | int | bool | tuple[str, ...]
Era = Literal["plain", "setvars", "venv"]


class Setting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that can be chosen. `pattern` is a regular expression that a string must match in full.

    `choices` name the allowed values of type choice; `minimum` and `maximum` bound an integer.
    """

    summary: str
    type: SettingType
    default: str | int | bool | tuple[str, ...]
    choices: tuple[str, ...] = ()
    pattern: str = ""
    minimum: int | None = None
    maximum: int | None = None


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named set of settings, e.g. one image generation. `settings` overrides the defaults."""

    name: str
    summary: str
    settings: dict[str, Any] = {}


class Pin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version that the image is built with (package, git commit, branch), who names it and when."""

    name: str
    version: str
    kind: Literal["apt", "pip", "git", "image", "file"]
    source: str
    date: str
    note: str = ""


class Fetched(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that the build fetches. Without a known `sha256` the build asks for a lock (`build-image --fetch`).

    `when` limits it to settings with these values; `{name}` in `url` and `file` stands for a setting's value.
    """

    name: str
    url: str
    file: str
    sha256: str = ""
    size_bytes: int | None = None
    source: str
    date: str
    when: dict[str, Any] = {}


class HostNeeds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the host must have for the image to work: minima as versions, "" where none is known.

    `families` are device families of our device table that the image is for, empty for any.
    """

    min_kernel: str = ""
    drivers: tuple[str, ...] = ()
    min_guc: str = ""
    min_level_zero: str = ""
    families: tuple[str, ...] = ()
    vendor: Literal["intel", "nvidia", "any"] = "intel"
    source: str = ""
    date: str = ""


class Answers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the finished image answers to.

    `engine` and `engine_version` name the argument schema that `serve` validates against; `era` says how its
    environment comes: "setvars" (a script must be sourced), "venv" (/opt/venv first in PATH) or "plain".
    `engine_argv` starts the engine inside, before its own arguments; `version_argv` prints its version; `imports` are
    Python modules that must import; `health_path` is asked on `port`. `healthy_alone` false: the image becomes healthy
    only beside others (a load balancer with its engines).
    """

    engine: str = "none"
    engine_version: str = ""
    era: Era = "plain"
    engine_argv: tuple[str, ...] = ()
    version_argv: tuple[str, ...] = ()
    help_argv: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    port: int | None = None
    health_path: str = ""
    healthy_alone: bool = True
    user: str = ""


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One recipe. `folder` is where its files lie; `context` names further files of the folder that the build needs."""

    schema: str
    name: str
    summary: str
    version: str
    description: str = ""
    settings: dict[str, Setting] = {}
    variants: tuple[Variant, ...] = ()
    pins: tuple[Pin, ...] = ()
    fetch: tuple[Fetched, ...] = ()
    host: HostNeeds = HostNeeds()
    answers: Answers = Answers()
    context: tuple[str, ...] = ()
    folder: str = ""

    def find_variant(self, name: str) -> Variant:
        """A variant by name. Raises UsageError with the names there are."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        names = [variant.name for variant in self.variants]
        near = get_close_matches(name, names, n=1)
        hint = f"variants: {', '.join(names) or 'it has none'}"
        if near:
            hint = f"did you mean {near[0]}? {hint}"
        raise UsageError(f"recipe {self.name} has no variant {name!r}", hint=hint)


def list_recipes() -> tuple[str, ...]:
    """Names of the recipes we ship."""
    return tuple(sorted(path.parent.name for path in shipped_dir("dockerfiles").glob(f"*/{RECIPE_FILE}")))


def load_recipe(name: str) -> Recipe:
    """A shipped recipe by name, or the user's own by the path of its folder (a name with a `/`, or `.`).

    Raises UsageError for an unknown name and BadFactsError for a file that breaks the schema.
    """
    if "/" in name or name in (".", ".."):
        folder = Path(name)
        if not (folder / RECIPE_FILE).exists():
            raise UsageError(f"{name}: no folder with a {RECIPE_FILE}", hint=_hint_folder(folder))
        return parse_recipe(load_toml(folder / RECIPE_FILE), folder=folder)
    if name not in list_recipes():
        hint = f"recipes: {', '.join(list_recipes())}"
        if near := get_close_matches(name, list_recipes(), n=1):
            hint = f"did you mean {near[0]}? {hint}"
        if name and (Path(name) / RECIPE_FILE).exists():
            hint = f"for the folder here write ./{name}"
        raise UsageError(f"no recipe named {name!r}", hint=hint)
    folder = shipped_dir("dockerfiles") / name
    return parse_recipe(load_toml(folder / RECIPE_FILE), folder=folder)


def _hint_folder(folder: Path) -> str:
    if folder.name == RECIPE_FILE and folder.exists():
        return f"name its folder: {folder.parent}/"
    if folder.name in list_recipes():
        return f"the shipped recipe is named without a path: {folder.name}"
    return "check the path; docs/recipes.md and dockerfiles/README.md say what a recipe is"


def parse_recipe(raw: dict[str, Any], *, folder: Path) -> Recipe:
    """Check and type a recipe's content. Raises BadFactsError."""
    source = folder / RECIPE_FILE
    if raw.get("schema") != SCHEMA:
        raise BadFactsError(f"{source}: schema is {raw.get('schema')!r}, not {SCHEMA!r}")
    try:
        recipe = msgspec.convert({**raw, "folder": str(folder)}, Recipe)
    except msgspec.ValidationError as err:
        raise BadFactsError(f"{source}: {err}", hint="compare with dockerfiles/smoke/recipe.toml") from err
    _check_texts(recipe, source)
    for key in (*recipe.settings, *(key for variant in recipe.variants for key in variant.settings)):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", key):
            raise BadFactsError(f"{source}: setting {key!r}: lower-case letters, digits and _ only")
        if key not in recipe.settings:
            raise BadFactsError(f"{source}: a variant sets {key!r}, which is no setting")
    for key, setting in recipe.settings.items():
        if problem := _find_problem(key, setting):
            raise BadFactsError(
                f"{source}: setting {key!r}: {problem}", hint="compare with dockerfiles/smoke/recipe.toml"
            )
    for name in (TEMPLATE_FILE, *recipe.context):
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or str(pure) == ".":
            raise BadFactsError(
                f"{source}: context {name!r} lies outside of the recipe", hint="copy it into the folder"
            )
        if not (folder / name).exists():
            raise BadFactsError(f"{folder / name}: named by the recipe and not there")
    return recipe


def _check_texts(recipe: Recipe, source: Path) -> None:
    """Name and version are part of the image's name; these texts are labels, of one line each. Raises BadFactsError."""
    if not re.fullmatch(r"[a-z0-9]+(?:(?:[._-]|__)[a-z0-9]+)*", recipe.name):
        raise BadFactsError(
            f"{source}: name {recipe.name!r}: lower-case letters and digits, joined by single . _ or -",
            hint="it is part of the image's name",
        )
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}", recipe.version):
        raise BadFactsError(
            f"{source}: version {recipe.version!r}: letters, digits and . _ + - only",
            hint="it is part of the image's tag",
        )
    texts = {"summary": recipe.summary, "engine": recipe.answers.engine, "version": recipe.answers.engine_version}
    for what, text in (*texts.items(), *(("variant", variant.name) for variant in recipe.variants)):
        if not text.isprintable():
            raise BadFactsError(f"{source}: {what} {text!r} has more than one line", hint="a description may be longer")


def _find_problem(key: str, setting: Setting) -> str:
    """What makes a setting impossible; "" for nothing."""
    if hasattr(dict, key):
        return "a template could not read it as s.NAME; take another name"
    try:
        re.compile(setting.pattern)
    except re.error as err:
        return f"pattern {setting.pattern!r} is no regular expression: {err}"
    if (setting.type == "choice") != bool(setting.choices):
        return "choices belong to type choice, which needs some"
    if setting.minimum is not None and setting.maximum is not None and setting.minimum > setting.maximum:
        return f"minimum {setting.minimum} is above maximum {setting.maximum}"
    return ""

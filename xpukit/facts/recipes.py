"""Image recipes: `dockerfiles/<recipe>/recipe.toml`, typed. One folder is one recipe."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
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
    """A shipped recipe by name, or the user's own by the path of its folder (a name with a `/`).

    Raises UsageError for an unknown name and BadFactsError for a file that breaks the schema.
    """
    folder = Path(name) if "/" in name else shipped_dir("dockerfiles") / name
    if "/" not in name and name not in list_recipes():
        from difflib import get_close_matches

        near = get_close_matches(name, list_recipes(), n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"no recipe named {name!r}", hint=f"{meant}recipes: {', '.join(list_recipes())}")
    return parse_recipe(load_toml(folder / RECIPE_FILE), folder=folder)


def parse_recipe(raw: dict[str, Any], *, folder: Path) -> Recipe:
    """Check and type a recipe's content. Raises BadFactsError."""
    source = folder / RECIPE_FILE
    if raw.get("schema") != SCHEMA:
        raise BadFactsError(f"{source}: schema is {raw.get('schema')!r}, not {SCHEMA!r}")
    try:
        recipe = msgspec.convert({**raw, "folder": str(folder)}, Recipe)
    except msgspec.ValidationError as err:
        raise BadFactsError(f"{source}: {err}", hint="compare with dockerfiles/smoke/recipe.toml") from err
    for key in (*recipe.settings, *(key for variant in recipe.variants for key in variant.settings)):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", key):
            raise BadFactsError(f"{source}: setting {key!r}: lower-case letters, digits and _ only")
        if key not in recipe.settings:
            raise BadFactsError(f"{source}: a variant sets {key!r}, which is no setting")
    for name in (TEMPLATE_FILE, *recipe.context):
        if not (folder / name).exists():
            raise BadFactsError(f"{folder / name}: named by the recipe and not there")
    return recipe

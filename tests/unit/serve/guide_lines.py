"""The lines of docs/recipes.toml, run as a user would, and what the engine's parser makes of a command."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from xpukit.cli import app
from xpukit.core.toml import load_toml
from xpukit.facts.engines import EngineSchema
from xpukit.serve.validate_read import read_command

RECIPES = Path(__file__).parents[3] / "docs" / "recipes.toml"


@cache
def load_recipes() -> tuple[dict[str, Any], ...]:
    """The recipes, in order."""
    return tuple(load_toml(RECIPES)["recipe"])


def list_words(recipe: dict[str, Any], version: str, *more: str) -> list[str]:
    """Our line with the engine's version put in."""
    words = shlex.split(recipe["ours"])
    place = words.index("--") if "--" in words else len(words)
    words[place:place] = ["--engine", f"{recipe['engine']}:{version}" if version else recipe["engine"], *more]
    return words


@cache
def _run(words: tuple[str, ...]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = app.run(list(words))
    return code, out.getvalue(), err.getvalue()


def make_plan(recipe: dict[str, Any], version: str) -> dict[str, Any]:
    """The plan that our line gives."""
    code, out, err = _run(tuple(list_words(recipe, version, "--json")))
    assert code == 0, err or out[:400]
    document: dict[str, Any] = json.loads(out)
    return document


def list_commands(plan: dict[str, Any]) -> list[tuple[list[str], dict[str, str]]]:
    """Each process: its argv and its variables (of a benchmark's document: the one)."""
    if "program" in plan:
        return [([*plan["program"], *(word for flag in plan["flags"] for word in flag["words"])], {})]
    return [
        (
            [*launch["program"], *(word for flag in launch["flags"] for word in flag["words"])],
            {one["name"]: one["value"] for one in launch["variables"]},
        )
        for launch in plan["launches"]
    ]


def read_meaning(argv: Sequence[str], schema: EngineSchema) -> dict[str, tuple[str, ...]] | None:
    """Argument -> values, as the engine's parser takes them; None for another program (`ray start`)."""
    reading = read_command(argv, schema, env={})
    if reading.parsed is None:
        return None
    return {given.flag.dest: tuple(_plain(value) for value in given.values) for given in reading.parsed.given}


def _plain(value: str) -> str:
    """JSON without its blanks; a folder without its last slash."""
    try:
        found = json.loads(value)
    except ValueError:
        return value.rstrip("/") or value
    return json.dumps(found, sort_keys=True) if isinstance(found, (dict, list)) else value

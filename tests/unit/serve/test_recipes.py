"""Every command of the guides is a line of ours: for the version of the guide and, corrected, for the newest.

The guides themselves lie beside the project and are compared with where they are there; what our lines give is tested
everywhere.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.serve.guide_lines import list_commands, load_recipes, make_plan, read_meaning
from xpukit.facts.engine_versions import version_key
from xpukit.serve.validate import load_schema, replace_for, validate

GUIDES = Path(__file__).parents[4] / "shared" / "engines" / "commands.json"
SERVE = list(load_recipes())
IDS = [recipe["ids"][0] for recipe in SERVE]


def _used(plan: dict[str, Any]) -> str:
    engine = plan["engine"]
    return str(engine["version"] if isinstance(engine, dict) else plan["version"])


def _versions(recipe: dict[str, Any]) -> tuple[str, str]:
    return recipe["version"], recipe.get("newest", "")


@pytest.mark.parametrize("recipe", SERVE, ids=IDS)
def test_our_line_gives_commands_that_the_engine_takes(recipe: dict[str, Any]) -> None:
    for version in _versions(recipe):
        plan = make_plan(recipe, version)
        assert "memory" not in plan or plan["memory"]["fits"]
        assert not [one for one in plan["problems"] if one["severity"] == "error"]
        for argv, env in list_commands(plan):
            if argv[0] != "ray":
                found = validate(recipe["engine"], _used(plan), "", argv, env=env)
                assert found.accepted, found.errors


@pytest.mark.skipif(not GUIDES.exists(), reason="the guides' commands lie beside the project, and not here")
@pytest.mark.parametrize("recipe", SERVE, ids=IDS)
def test_our_line_means_what_the_guide_means(recipe: dict[str, Any]) -> None:
    guides = {command["id"]: command for command in json.loads(GUIDES.read_text(encoding="utf-8"))}
    for version in _versions(recipe):
        plan = make_plan(recipe, version)
        used = _used(plan)
        schema = load_schema(recipe["engine"], used)
        ours = [(read_meaning(argv, schema), env) for argv, env in list_commands(plan)]
        for name in recipe["ids"]:
            wanted = read_meaning(replace_for(recipe["engine"], used, guides[name]["argv"]).argv, schema)
            assert wanted is not None
            missing = min(
                (
                    {key: value for key, value in wanted.items() if meaning.get(key) != value}
                    for meaning, _ in ours
                    if meaning
                ),
                key=len,
            )
            assert not set(missing) - set(recipe.get("differs", {})), (name, used, missing)
            if _needs_variables(recipe, used):
                _check_variables(guides[name]["env"], [env for meaning, env in ours if meaning])


def _needs_variables(recipe: dict[str, Any], version: str) -> bool:
    """Work-arounds of the guide may end with a version."""
    until = recipe.get("variables_until")
    if until is None:
        return True
    here, last = (version_key(one, engine=recipe["engine"]) for one in (version, until))
    assert here is not None
    assert last is not None
    return here <= last


def _check_variables(wanted: list[str], ours: list[dict[str, str]]) -> None:
    pairs = [entry.partition("=")[::2] for entry in wanted]
    assert any(all(env.get(name) == value for name, value in pairs) for env in ours), wanted


@pytest.mark.skipif(not GUIDES.exists(), reason="the guides' commands lie beside the project, and not here")
def test_no_command_of_the_guides_is_left_out() -> None:
    wanted = {command["id"] for command in json.loads(GUIDES.read_text(encoding="utf-8"))}
    assert wanted == {name for recipe in load_recipes() for name in recipe["ids"]}


def test_an_unneeded_difference_is_found_out() -> None:
    """The comparison can fail: another context is seen as one."""
    recipe = next(one for one in SERVE if "003:2+" in one["ids"])
    other = {**recipe, "ours": recipe["ours"].replace("114432", "4096")}
    schema = load_schema(recipe["engine"], recipe["version"])
    meanings = [read_meaning(list_commands(make_plan(one, recipe["version"]))[0][0], schema) for one in (recipe, other)]
    assert meanings[0] != meanings[1]

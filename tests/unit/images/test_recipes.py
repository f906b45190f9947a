"""`recipe.toml`: what the loader takes and refuses; every shipped recipe renders for every variant and builder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from xpukit.core.errors import BadFactsError, UsageError
from xpukit.facts.recipes import Recipe, list_recipes, load_recipe, parse_recipe
from xpukit.images.settings import check_value, resolve_settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile.j2").write_text("FROM {{ base_image }}\n")
    return tmp_path


def make_raw(**more: Any) -> dict[str, Any]:
    return {"schema": "xpukit.recipe/1", "name": "made", "summary": "s", "version": "1", **more}


SETTING = {"summary": "s", "type": "choice", "default": "a", "choices": ["a", "b"]}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"schema": "xpukit.recipe/2"}, "xpukit.recipe/2"),
        ({"frob": 1}, "frob"),
        ({"settings": {"Bad-Key": SETTING}}, "Bad-Key"),
        ({"settings": {"x": {**SETTING, "type": "colour"}}}, "colour"),
        ({"settings": {"x": SETTING}, "variants": [{"name": "v", "summary": "s", "settings": {"y": "a"}}]}, "'y'"),
        ({"context": ["missing.sh"]}, "missing.sh"),
        ({"version": 1}, "version"),
        ({"version": "1 beta"}, "version"),
        ({"version": ""}, "version"),
        ({"name": "My Recipe"}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "a..b"}, "name"),
        ({"summary": "one\nLABEL two=1"}, "more than one line"),
        ({"answers": {"engine": "e\n"}}, "more than one line"),
        ({"variants": [{"name": "v\nw", "summary": "s"}]}, "more than one line"),
        ({"settings": {"items": SETTING}}, "'items'"),
        ({"settings": {"x": {**SETTING, "choices": []}}}, "choices"),
        ({"settings": {"x": {**SETTING, "type": "string"}}}, "choices"),
        (
            {"settings": {"x": {"summary": "s", "type": "string", "default": "", "pattern": "["}}},
            "no regular expression",
        ),
        (
            {"settings": {"x": {"summary": "s", "type": "integer", "default": 5, "minimum": 9, "maximum": 1}}},
            "above maximum",
        ),
        ({"context": ["../up.sh"]}, "outside"),
        ({"context": ["/etc/passwd"]}, "outside"),
        ({"context": ["."]}, "outside"),
    ],
)
def test_a_bad_recipe_is_refused_with_its_place(folder: Path, more: dict[str, Any], words: str) -> None:
    with pytest.raises(BadFactsError) as caught:
        parse_recipe(make_raw(**more), folder=folder)
    assert words in caught.value.message
    assert str(folder) in caught.value.message


def test_a_recipe_of_ones_own_is_named_by_its_folder(folder: Path) -> None:
    (folder / "recipe.toml").write_text('schema = "xpukit.recipe/1"\nname = "own"\nsummary = "s"\nversion = "1"\n')
    assert load_recipe(str(folder)).name == "own"


def test_a_folder_that_is_no_recipe_says_how_to_name_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder / "own"
    place.mkdir()
    (place / "recipe.toml").write_text('schema = "xpukit.recipe/1"\nname = "own"\nsummary = "s"\nversion = "1"\n')
    (place / "Dockerfile.j2").write_text("FROM x:1\n")
    monkeypatch.chdir(folder)
    for name, hint in (
        ("own", "write ./own"),
        ("./own/recipe.toml", "name its folder: own/"),
        ("./smoke/", "without a path: smoke"),
        ("./absent", "check the path"),
    ):
        with pytest.raises(UsageError) as caught:
            load_recipe(name)
        assert hint in caught.value.hint, name
    monkeypatch.chdir(place)
    assert load_recipe(".").name == "own"


@pytest.mark.parametrize(("name", "words"), [("smoek", "did you mean smoke?"), ("zzzz", "recipes: ")])
def test_an_unknown_recipe_names_the_nearest(name: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe(name)
    assert words in caught.value.hint


def test_an_unknown_variant_names_those_there_are(folder: Path) -> None:
    recipe = parse_recipe(make_raw(variants=[{"name": "old", "summary": "s"}]), folder=folder)
    with pytest.raises(UsageError) as caught:
        recipe.find_variant("odl")
    assert "old" in caught.value.hint


@pytest.mark.parametrize("name", list_recipes())
def test_defaults_and_variants_of_shipped_recipes_are_allowed_values(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    for key, setting in recipe.settings.items():
        assert check_value(setting, key, setting.default, source="default") == setting.default
    for variant in recipe.variants:
        assert set(resolve_settings(recipe, variant=variant.name)) == set(recipe.settings)


@pytest.mark.parametrize("name", list_recipes())
def test_pins_and_fetched_files_have_a_source_and_a_date(name: str) -> None:
    recipe = load_recipe(name)
    for row in (*recipe.pins, *recipe.fetch):
        assert row.source
        assert len(row.date) == 10
    assert len({file.name for file in recipe.fetch}) == len(recipe.fetch)


def test_a_recipe_survives_json() -> None:
    recipe = load_recipe("smoke")
    assert msgspec.json.decode(msgspec.json.encode(recipe), type=Recipe) == recipe

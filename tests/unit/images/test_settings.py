"""Settings of a recipe: their layers, their types, what is said about a bad one; and asking for them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.core.errors import BadFactsError, UsageError
from xpukit.facts.recipes import Recipe, Setting, Variant, load_recipe
from xpukit.images.prompt import AT_MOST_TRIES, ask_settings, ask_variant, write_command
from xpukit.images.settings import check_value, describe_allowed, refuse_secret, resolve_settings, write_value

SETTINGS = {
    "base": Setting(summary="s", type="string", default="a:1", pattern="[a-z]+:[0-9]+"),
    "era": Setting(summary="s", type="choice", default="venv", choices=("venv", "setvars")),
    "jobs": Setting(summary="s", type="integer", default=4, minimum=1, maximum=64),
    "tools": Setting(summary="s", type="boolean", default=False),
    "wheels": Setting(summary="s", type="list", default=(), pattern="[a-z]+==[0-9.]+"),
}
RECIPE = Recipe(
    schema="xpukit.recipe/1",
    name="made",
    summary="s",
    version="1",
    settings=SETTINGS,
    variants=(Variant(name="old", summary="s", settings={"era": "setvars", "jobs": 2}),),
)


def test_later_layers_win_and_the_order_is_the_recipes(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('jobs = 8\nwheels = ["six==1.16"]\n')
    values = resolve_settings(RECIPE, variant="old", file=file, given=["jobs=16", "tools=yes"])
    assert values == {"base": "a:1", "era": "setvars", "jobs": 16, "tools": True, "wheels": ("six==1.16",)}
    assert list(values) == list(SETTINGS)
    assert resolve_settings(RECIPE, variant="old")["jobs"] == 2


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("tools", "maybe", "true or false"),
        ("tools", 3, "true or false"),
        ("jobs", "many", "an integer from 1 to 64"),
        ("jobs", "0", "from 1 to 64"),
        ("jobs", 65, "from 1 to 64"),
        ("jobs", True, "an integer"),
        ("jobs", 2.5, "an integer"),
        ("era", "setvras", "did you mean setvars?"),
        ("era", 1, "one of venv, setvars"),
        ("base", "latest", "matches [a-z]+:[0-9]+"),
        ("base", "a:1\nRUN evil", "matches"),
        ("wheels", "six", "each match"),
        ("wheels", [1], "separated by commas"),
        ("wheels", 7, "separated by commas"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(key: str, value: object, allowed: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_value(SETTINGS[key], key, value, source="--set")
    assert key in caught.value.message
    assert allowed in caught.value.hint


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        (["jbos=1"], "did you mean jobs?"),
        (["zz=1"], "settings of made: base"),
        (["jobs"], "key=value"),
        (["=1"], "key=value"),
    ],
)
def test_an_unknown_key_names_the_nearest(given_: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_settings(RECIPE, given=given_)
    assert words in caught.value.message + caught.value.hint


def test_a_settings_file_that_is_missing_or_wrong(tmp_path: Path) -> None:
    with pytest.raises(BadFactsError):
        resolve_settings(RECIPE, file=tmp_path / "none.toml")
    (tmp_path / "s.toml").write_text("jbos = 1\n")
    with pytest.raises(UsageError, match=r"s\.toml"):
        resolve_settings(RECIPE, file=tmp_path / "s.toml")


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.lists(st.one_of(st.text(), st.integers()))))
def test_any_value_is_taken_in_the_settings_type_or_refused(value: object) -> None:
    types = {"string": str, "choice": str, "integer": int, "boolean": bool, "list": tuple}
    for key, setting in SETTINGS.items():
        try:
            checked = check_value(setting, key, value, source="x")
        except UsageError:
            continue
        assert type(checked) is types[setting.type]
        # What was taken once is taken again, also as it would be typed.
        assert check_value(setting, key, checked, source="x") == checked
        assert check_value(setting, key, write_value(checked), source="x") == checked


def make_reader(lines: list[str]) -> Callable[[str], str]:
    left = iter(lines)

    def read_line(prompt: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    return read_line


def test_asking_takes_answers_defaults_and_asks_again() -> None:
    said: list[str] = []
    answers = ["", "setvras", "setvars", "9\n", "true", "six==1"]
    values = ask_settings(RECIPE, resolve_settings(RECIPE), read_line=make_reader(answers), say=said.append)
    assert values == {"base": "a:1", "era": "setvars", "jobs": 9, "tools": True, "wheels": ("six==1",)}
    assert any("did you mean setvars?" in line for line in said)
    assert sum("one of venv, setvars" in line for line in said) >= 1


def test_a_dash_empties_a_list_and_an_image_must_be_pinned() -> None:
    said: list[str] = []
    recipe = load_recipe("vllm-xpu")
    start = resolve_settings(recipe)
    answers = {"base_image": "ubuntu", "packages": "-", "vllm": "-"}
    again = {"base_image": "own/base:1", "vllm": ""}
    lines = []
    for key in recipe.settings:
        lines.append(answers.get(key, ""))
        if key in again:
            lines.append(again[key])
    values = ask_settings(recipe, start, read_line=make_reader(lines), say=said.append)
    assert values == {**start, "base_image": "own/base:1", "packages": ()}
    assert any("base_image 'ubuntu' is not pinned" in line for line in said)
    assert any(line.endswith("; - for none") for line in said)


@pytest.mark.parametrize(
    ("lines", "chosen"), [(["venv-lean"], "venv-lean"), ([""], ""), ([], ""), (["venv-0.2", "venv-0.21"], "venv-0.21")]
)
def test_a_variant_is_asked_for(lines: list[str], chosen: str) -> None:
    said: list[str] = []
    assert ask_variant(load_recipe("vllm-xpu"), read_line=make_reader(lines), say=said.append) == chosen
    assert any("venv-0.26: " in line for line in said)
    assert (len(lines) > 1) == any("did you mean venv-0.26?" in line for line in said)


def test_a_variant_is_not_asked_for_for_ever() -> None:
    with pytest.raises(UsageError, match="no variant in 5 answers"):
        ask_variant(load_recipe("vllm-xpu"), read_line=make_reader(["x"] * AT_MOST_TRIES), say=lambda _: None)


def test_the_command_that_chooses_the_same() -> None:
    recipe = load_recipe("vllm-xpu")
    plain = resolve_settings(recipe, variant="venv-lean")
    after = {**plain, "jobs": 9, "sym_int4": False, "wheels": (), "packages": ("jq", "g++")}
    words = shlex.split(write_command("vllm-xpu", "venv-lean", plain, after))
    assert words[:5] == ["xpukit", "build-image", "vllm-xpu", "--variant", "venv-lean"]
    assert set(words[5::2]) == {"--set"}
    assert resolve_settings(recipe, variant="venv-lean", given=words[6::2]) == after
    assert write_command("smoke", "", {"a": 1}, {"a": 1}) == "xpukit build-image smoke"


def test_the_end_of_input_takes_what_is_left_as_it_is() -> None:
    start = resolve_settings(RECIPE, given=["jobs=3"])
    assert ask_settings(RECIPE, start, read_line=make_reader(["b:2"]), say=lambda _: None) == {**start, "base": "b:2"}


def test_asking_ends_after_too_many_bad_answers() -> None:
    with pytest.raises(UsageError, match="no allowed value"):
        ask_settings(RECIPE, resolve_settings(RECIPE), read_line=make_reader(["Z"] * AT_MOST_TRIES), say=lambda _: None)


@pytest.mark.parametrize("key", SETTINGS)
def test_every_type_says_what_is_allowed(key: str) -> None:
    assert describe_allowed(SETTINGS[key])


@pytest.mark.parametrize(
    ("key", "value", "secret"),
    [
        ("hf_token", "abc", True),
        ("hf_token", "", False),
        ("mirror", "https://user:S3cr3tW0rd@host.example/simple", True),
        ("mirror", "https://host.example/simple", False),
        ("mirror", "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH", True),
        ("pad_token", "151643", False),
        ("commit", "dc2387458abbe38829bc4e1fbcc8dc987546e8ca", False),
        ("base", "debian:12@sha256:" + "0123456789abcdef" * 4, False),
        ("wheels", ["six==1.16.0", "x @ https://user:S3cr3tW0rd@host.example/x.whl"], True),
    ],
)
def test_a_secret_is_refused_and_not_said(key: str, value: object, secret: bool) -> None:
    if not secret:
        refuse_secret(key, value, source="--set")
        return
    with pytest.raises(UsageError, match=key) as caught:
        refuse_secret(key, value, source="--set")
    said = caught.value.message + caught.value.hint
    assert not any(word in said for word in ("S3cr3tW0rd", "abcdefghij", " abc "))


def test_secrets_are_refused_wherever_settings_come_from(tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(RECIPE, settings={"hub_token": Setting(summary="s", type="string", default="")})
    file = tmp_path / "s.toml"
    file.write_text('hub_token = "Zx81Zx81"\n')
    with pytest.raises(UsageError, match="secret"):
        resolve_settings(recipe, given=["hub_token=Zx81Zx81"])
    with pytest.raises(UsageError, match="secret"):
        resolve_settings(recipe, file=file)
    said: list[str] = []
    with pytest.raises(UsageError, match="no allowed value"):
        ask_settings(recipe, {"hub_token": ""}, read_line=lambda prompt: "Zx81Zx81", say=said.append)
    assert "Zx81" not in " ".join(said)


@pytest.mark.parametrize(
    "setting",
    [
        Setting(summary="s", type="integer", default="many"),
        Setting(summary="s", type="choice", default="c", choices=("a", "b")),
        Setting(summary="s", type="string", default="A", pattern="[a-z]"),
        Setting(summary="s", type="list", default=3),
    ],
)
def test_a_default_that_is_not_allowed_is_a_mistake_of_the_recipe(setting: Setting) -> None:
    recipe = msgspec.structs.replace(RECIPE, settings={"x": setting}, variants=())
    with pytest.raises(UsageError, match="recipe made: default: x"):
        resolve_settings(recipe)

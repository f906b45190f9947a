"""argparse's rules as we read them, against argparse itself; and values by the names of their types."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.facts.engine_import import Action, Extracted
from xpukit.facts.engines import EngineProgram, build_schema
from xpukit.serve.validate_parse import Word, parse_arguments
from xpukit.serve.validate_types import convert_value, read_human_int

ACTIONS: list[dict[str, Any]] = [
    {"dest": "model", "nargs": "?"},
    {"flags": ["--port"], "dest": "port", "type": "int"},
    {"flags": ["--ratio"], "dest": "ratio", "type": "float"},
    {"flags": ["--dtype"], "dest": "dtype", "choices": ["auto", "half"]},
    {"flags": ["--level"], "dest": "level", "type": "int", "choices": [0, 1, 2]},
    {"flags": ["--enforce-eager"], "dest": "enforce_eager", "action": "StoreTrueAction", "nargs": 0},
    {"flags": ["--enable-lora"], "dest": "enable_lora", "action": "StoreTrueAction", "nargs": 0},
    {"flags": ["--names"], "dest": "names", "nargs": "+"},
    {"flags": ["--any"], "dest": "any", "nargs": "*"},
    {"flags": ["--token"], "dest": "token", "nargs": "?"},
    {"flags": ["--pair"], "dest": "pair", "nargs": 2},
    {"flags": ["--tensor-parallel-size", "-tp"], "dest": "tp", "type": "int"},
]
WORDS = [
    "m", "x", "7", "-1", "0.5", "auto", "half", "two words", "-", "--port", "--port=8", "--po", "--ratio", "--dtype",
    "--dtype=half", "--en", "--enf", "--enforce-eager", "--enable-lora=1", "--names", "--any", "--token", "--pair",
    "--level", "--t", "-tp", "-tp=2", "--unknown", "--unknown=1", "-x", "",
]  # fmt: skip
TYPES = {"int": int, "float": float, "": str}


def build_program(actions: list[dict[str, Any]]) -> EngineProgram:
    parsers = {"vllm serve": [Action(**{**action, "flags": tuple(action.get("flags", ()))}) for action in actions]}
    schema = build_schema(Extracted(engine="vllm", version="1", parsers=parsers), source="here", date="")
    return schema.programs["vllm serve"]


def build_argparse(actions: list[dict[str, Any]]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(exit_on_error=False, add_help=False)
    for action in actions:
        names = action.get("flags") or [action["dest"]]
        if action.get("action") == "StoreTrueAction":
            parser.add_argument(*names, action="store_true", dest=action["dest"])
            continue
        extra = {"dest": action["dest"]} if action.get("flags") else {}
        if "choices" in action:
            extra["choices"] = action["choices"]
        parser.add_argument(*names, nargs=action.get("nargs"), type=TYPES[action.get("type", "")], **extra)
    return parser


class _Refused(Exception):
    pass


def ask_argparse(parser: argparse.ArgumentParser, words: list[str]) -> tuple[bool, list[str], dict[str, Any]]:
    """(Accepted, unrecognised words, values)."""

    def refuse(message: str) -> None:
        raise _Refused(message)

    parser.error = refuse  # type: ignore[method-assign, assignment]
    try:
        values, extras = parser.parse_known_args(words)
    except (_Refused, argparse.ArgumentError):
        return False, [], {}
    return True, extras, vars(values)


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="compared with argparse of 3.10 and 3.11; later ones differ in corners"
)
@given(st.lists(st.sampled_from(WORDS), max_size=7))
def test_reads_like_argparse(words: list[str]) -> None:
    program, parser = build_program(ACTIONS), build_argparse(ACTIONS)
    accepted, extras, values = ask_argparse(parser, words)
    parsed = parse_arguments([Word(text=word, origin=at) for at, word in enumerate(words)], program)
    assert (not parsed.refusals) == accepted, (words, parsed.refusals)
    if not accepted:
        return
    assert sorted(word.text for word in parsed.extras) == sorted(extras)
    for name in ("port", "tp", "enforce_eager", "names", "pair"):
        found = parsed.find(name)
        if found is None:
            assert not values[name]
        elif found.flag.nargs == 0:
            assert values[name] is True
        elif found.flag.nargs is None:
            assert str(values[name]) == str(int(found.values[0]))
        else:
            assert values[name] == list(found.values)


def test_goes_on_after_a_mistake() -> None:
    words = [
        Word(text=text, origin=at)
        for at, text in enumerate(["m", "--port", "x", "--en", "--dtype", "bad", "--pair", "1", "--zzz"])
    ]
    parsed = parse_arguments(words, build_program(ACTIONS))
    assert [(r.fault, r.argument, r.origin) for r in parsed.refusals] == [
        ("ambiguous", "--en", 3),
        ("type", "--port", 1),
        ("choice", "--dtype", 4),
        ("argument-count", "--pair", 6),
    ]
    assert [word.text for word in parsed.extras] == ["--zzz"]


def test_required_arguments() -> None:
    program = build_program([{"dest": "model"}, {"flags": ["--path"], "dest": "path", "required": True}])
    assert [(r.fault, r.argument) for r in parse_arguments([], program).refusals] == [
        ("missing", "model"),
        ("missing", "--path"),
    ]


@pytest.mark.parametrize(
    ("type_name", "text", "value"),
    [
        ("int", "12", 12),
        ("human_readable_int", "1k", 1000),
        ("human_readable_int", "1K", 1024),
        ("human_readable_int", "25.6k", 25_600),
        ("human_readable_int_or_auto", "auto", -1),
        ("optional_type(int)", "None", None),
        ("optional_type(parse_type(loads))", '{"a": 1}', {"a": 1}),
        ("union_dict_and_str", "text", "text"),
        ("union_dict_and_str", '{"a": 1}', {"a": 1}),
        ("json_list_type", "[1]", [1]),
        ("a_type_of_tomorrow", "anything", "anything"),
    ],
)
def test_values_by_type(type_name: str, text: str, value: object) -> None:
    assert convert_value(type_name, text) == value


@pytest.mark.parametrize(
    ("type_name", "text"),
    [
        ("int", "1.5"), ("float", "x"), ("loads", "{"), ("human_readable_int", "1.5K"), ("human_readable_int", "1q"),
        ("json_list_type", "{}"), ("_finite_positive_float", "inf"), ("optional_type(int)", "two"),
    ],
)  # fmt: skip
def test_refused_values(type_name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        convert_value(type_name, text)


@given(st.integers(0, 10**6), st.sampled_from("kmgt"))
def test_decimal_suffixes_are_powers_of_a_thousand(number: int, suffix: str) -> None:
    assert read_human_int(f"{number}{suffix}") == number * 1000 ** ("kmgt".index(suffix) + 1)


@given(st.text(max_size=30))
def test_no_text_breaks_a_type(text: str) -> None:
    for name in ("int", "float", "loads", "human_readable_int", "union_dict_and_str", "json_list_type"):
        try:
            json.dumps(convert_value(name, text))
        except (ValueError, OverflowError):
            continue

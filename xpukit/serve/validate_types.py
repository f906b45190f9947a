"""What an engine's parser makes of a value, by the name of the argument's type in the schema.

Only whether the value is refused matters here, and what it is compared to the choices as. A type that we do not know
refuses nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from xpukit.core.json_document import BAD_JSON

_HUMAN = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT])")
_DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_DICT = re.compile(r"(?s)^\s*{.*}\s*$")
_OPTIONAL = re.compile(r"optional_type\((.*)\)")


def convert_value(type_name: str, text: str) -> Any:
    """The value as the engine's parser sees it. Raises ValueError with what is wrong."""
    optional = _OPTIONAL.fullmatch(type_name)
    if optional is not None:
        return None if text in ("", "None") else convert_value(optional[1], text)
    convert = _TYPES.get(type_name)
    return text if convert is None else convert(text)


def read_human_int(text: str) -> int:
    """`1k` is 1,000, `1K` 1,024, `25.6k` 25,600. Raises ValueError."""
    text = text.strip()
    match = _HUMAN.fullmatch(text)
    if match is None:
        return _read_int(text)
    number, suffix = match.groups()
    if suffix in _DECIMAL:
        return int(float(number) * _DECIMAL[suffix])
    if "." in number:
        raise ValueError(f"no decimals with the binary suffix {suffix}; {number}{suffix.lower()} is allowed")
    return _read_int(number) * _BINARY[suffix]


def _read_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{_short(text)} is not a whole number") from None


def _read_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{_short(text)} is not a number") from None


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except BAD_JSON as err:
        raise ValueError(f"{_short(text)} is not valid JSON ({err})") from None


def _read_dict_or_text(text: str) -> Any:
    return _read_json(text) if _DICT.match(text) else text


def _read_human_int_or_auto(text: str) -> int:
    return -1 if text.strip() == "-1" or text.strip().lower() == "auto" else read_human_int(text)


def _read_json_list(text: str) -> Any:
    value = _read_json(text)
    if not isinstance(value, list):
        raise ValueError(f"{_short(text)} is not a JSON list")
    return value


def _read_positive(text: str) -> float:
    value = _read_float(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{_short(text)} is not a finite number above 0")
    return value


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


_TYPES: dict[str, Callable[[str], Any]] = {
    "int": _read_int,
    "float": _read_float,
    "loads": _read_json,
    "parse_type(loads)": _read_json,
    # vLLM's configuration objects: the JSON is read into a class whose fields the schemas do not hold.
    "_compute_kwargs": _read_json,
    "get_kwargs": _read_json,
    "union_dict_and_str": _read_dict_or_text,
    "human_readable_int": read_human_int,
    "human_readable_int_or_auto": _read_human_int_or_auto,
    "json_list_type": _read_json_list,
    "_finite_positive_float": _read_positive,
    # An anonymous function of vLLM's arg_utils, used for names of back ends.
    "EngineArgs.add_cli_args": lambda text: text.lower().replace("-", "_"),
}

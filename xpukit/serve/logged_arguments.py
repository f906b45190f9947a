"""The arguments that an engine writes into its start-up log: a dictionary, or the call of a class."""

from __future__ import annotations

import ast
import re
from typing import Any

# A member of an enumeration stands for its value; other objects that Python cannot read back are passed over.
_MEMBER = re.compile(r"<\w+\.\w+: ([^<>]*)>")
_PLAIN = r"('[^'\\]*'|True|False|None|-?\d+(?:\.\d+)?)(?=[,})])"
_PAIR = re.compile(r"(?:'([a-z][a-z0-9_]*)': |\b([a-z][a-z0-9_]*)=)" + _PLAIN)
_UNREADABLE = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)


def read_arguments(text: str) -> dict[str, Any]:
    """`{'a': 1}` or `(a=1, b=Other(...))`: the plain values by name. Never raises."""
    text = _MEMBER.sub(r"\1", text)
    try:
        tree = ast.parse(f"made{text}" if text.startswith("(") else text, mode="eval").body
    except _UNREADABLE:
        return _pick_pairs(text)
    if isinstance(tree, ast.Call):
        pairs = [(word.arg, word.value) for word in tree.keywords if word.arg]
    elif isinstance(tree, ast.Dict):
        keys = [key.value if isinstance(key, ast.Constant) else None for key in tree.keys]
        pairs = [(key, value) for key, value in zip(keys, tree.values, strict=True) if isinstance(key, str)]
    else:
        return {}
    found: dict[str, Any] = {}
    for name, node in pairs:
        try:
            found[name] = ast.literal_eval(node)
        except _UNREADABLE:
            continue
    return found


def _pick_pairs(text: str) -> dict[str, Any]:
    """The plain ones, where others are objects that no parser reads."""
    found = {}
    for key, name, value in _PAIR.findall(text):
        try:
            found[key or name] = ast.literal_eval(value)
        except _UNREADABLE:
            continue
    return found

"""`--mount` of docker and podman, taken apart."""

from __future__ import annotations

import csv


def read_mount(text: str) -> dict[str, str | bool]:
    """type, source, target and read_only, with Compose's names. It is a line of CSV."""
    found: dict[str, str | bool] = {}
    for part in next(csv.reader([text])):
        name, _, value = part.partition("=")
        if name == "readonly":
            found["read_only"] = True
        else:
            found[name] = value
    return found

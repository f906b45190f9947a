"""`--mount` of docker and podman, taken apart."""

from __future__ import annotations


def read_mount(text: str) -> dict[str, str | bool]:
    """type, source, target and read_only, with Compose's names. A path holds no comma (plan_run refuses one)."""
    found: dict[str, str | bool] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name == "readonly":
            found["read_only"] = True
        else:
            found[name] = value
    return found

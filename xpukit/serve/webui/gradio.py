"""The chat page of the recipe `chat-ui`, as a service beside the engine."""

from __future__ import annotations

from typing import Any

from xpukit.facts.recipes import load_recipe
from xpukit.serve.forms import FormFile
from xpukit.serve.forms.yaml_text import Noted
from xpukit.serve.webui import UiPage

NAME = "gradio"
SUMMARY = "a chat page: text, images, sound and video in, streamed answers, thoughts apart"
HAS_USERS = True
_RECIPE = "chat-ui"
# The same inside, whatever it is published as: the recipe's default.
PORT = int(str(load_recipe(_RECIPE).settings["port"].default))


def default_image() -> str:
    """The image that `xpukit build-image chat-ui --tag` of this name makes."""
    return f"xpukit/{_RECIPE}:{load_recipe(_RECIPE).version}"


def write_service(page: UiPage) -> dict[str, Any]:
    """The Compose service. A page that others reach starts only with a password."""
    environment: list[Any] = [f"XPUKIT_UI_URL={page.url}"]
    if page.key:
        environment.append(_note(page, f"XPUKIT_UI_API_KEY=${{{page.key}:?is not set}}", "the endpoint's key"))
    if page.is_open:
        why = f"others reach {page.address}: the page asks for user and password (XPUKIT_UI_USER, xpukit by default)"
        environment.append(_note(page, "XPUKIT_UI_PASSWORD=${XPUKIT_UI_PASSWORD:?is not set}", why))
        environment.append("XPUKIT_UI_USER=${XPUKIT_UI_USER:-xpukit}")
    environment.append(f"XPUKIT_UI_PUBLISHED={page.address}")
    image = _note(page, default_image(), f"xpukit build-image {_RECIPE} --tag {default_image()}")
    service: dict[str, Any] = {"image": image, "restart": "unless-stopped", "init": True}
    if page.host_network:
        service["network_mode"] = _note(page, "host", "the engine has the host's network")
        environment += [f"XPUKIT_LISTEN={page.address}", f"XPUKIT_PORT={page.port}"]
    else:
        inside = page.address if ":" not in page.address else f"[{page.address}]"
        service["ports"] = [f"{inside}:{page.port}:{PORT}"]
    service["environment"] = environment
    service["cap_drop"] = ["ALL"]
    service["security_opt"] = ["no-new-privileges:true"]
    if page.after:
        service["depends_on"] = list(page.after)
    return service


def write_files(page: UiPage) -> tuple[FormFile, ...]:
    """None: all that the page needs is in its image."""
    del page
    return ()


def _note(page: UiPage, value: str, why: str) -> Any:
    return Noted(value, (why,)) if page.comments else value

"""The forms a plan is written in: one file a form, found by scan. A form adds nothing to the plan's choices.

A module has `NAME`, `SUMMARY`, `ALIASES`, `NEEDS_IMAGE` and `render(plan, options) -> tuple[FormFile, ...]`;
`start(names)` gives the command that starts what was written to those files, () where there is none.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import msgspec

from xpukit.core.errors import UsageError
from xpukit.serve.plan_types import Plan

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class FormOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a form is written. `models` are "HOST[:INSIDE]" directories; `log_file` gets the engine's output too.

    `balance`: how HAProxy shares out requests to several engines of a Compose file (leastconn, prefix, session), "none"
    for a port each; the last `spare` engines start only while others are replaced.
    `with_ui`: a page beside the engine (xpukit.serve.webui), its port published on `ui_address` (`ui_port` 0: its own).
    """

    name: str = "xpukit"
    log_file: str = ""
    models: tuple[str, ...] = ()
    privileged: bool = False
    cdi: bool = False
    restart: bool = True
    comments: bool = True
    balance: str = "none"
    balancer_image: str = ""
    spare: int = 0
    with_ui: str = ""
    ui_address: str = "127.0.0.1"
    ui_port: int = 0


class FormFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a form. `name` is relative to where it is written."""

    name: str
    text: str
    executable: bool = False


class FormModule(Protocol):
    """The shape of a module here."""

    NAME: str
    SUMMARY: str
    ALIASES: tuple[str, ...]
    NEEDS_IMAGE: bool

    def render(self, plan: Plan, options: FormOptions) -> tuple[FormFile, ...]: ...

    def start(self, names: Sequence[str]) -> tuple[str, ...]: ...


@cache
def list_forms() -> tuple[FormModule, ...]:
    """All forms, by name."""
    found: list[Any] = []
    for entry in pkgutil.iter_modules(__path__):
        module: Any = importlib.import_module(f"{__name__}.{entry.name}")
        if hasattr(module, "NAME"):
            found.append(module)
    return tuple(sorted(found, key=lambda module: str(module.NAME)))


def find_form(name: str) -> FormModule:
    """A form by its name or another name of it. Raises UsageError."""
    wanted = name.strip().lower()
    for form in list_forms():
        if wanted == form.NAME or wanted in form.ALIASES:
            return form
    raise UsageError(f"no form {name!r}", hint=f"forms: {', '.join(form.NAME for form in list_forms())}")


def render_form(name: str, plan: Plan, options: FormOptions) -> tuple[FormFile, ...]:
    """The files of a plan in a form.

    Raises UsageError for an unknown form, a name that cannot be one, a plan without launches, or one without the image
    that the form needs.
    """
    form = find_form(name)
    if not _NAME.fullmatch(options.name):
        hint = "letters, digits, hyphens, dots and underscores: it names files, containers and units"
        raise UsageError(f"--name {options.name!r} cannot be used", hint=hint)
    if not plan.launches:
        raise UsageError("the plan starts nothing: the model does not fit", hint="xpukit serve shows the ways out")
    if form.NEEDS_IMAGE and not plan.engine.image:
        raise UsageError(
            f"--form {form.NAME} needs an image, and none of {plan.engine.name} for this GPU is known",
            hint="--image NAME:TAG, or build one: xpukit build-image --list",
        )
    files = form.render(plan, options)
    if not options.with_ui:
        return files
    from xpukit.serve.webui import list_page_files

    return (*files, *list_page_files(plan, options, form.NAME))

"""Pages beside an engine (`serve --with-ui`): one file a page, found by scan.

A module has `NAME`, `SUMMARY`, `HAS_USERS` (whether it can ask for a password), `PORT`, and either
`write_service(page) -> service` for the Compose file or `write_files(page) -> tuple[FormFile, ...]`.
"""

from __future__ import annotations

import importlib
import ipaddress
import pkgutil
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import msgspec

from xpukit.core.errors import UsageError
from xpukit.serve.forms import FormFile, FormOptions
from xpukit.serve.plan_types import Launch, Plan

_FORMS_WITH_SERVICES = ("compose",)
_ANY_ADDRESS = ("", "0.0.0.0", "::", "*")
# Tasks whose endpoint answers chat requests.
_CHAT_TASKS = ("generate", "chat", "ocr", "image", "video", "audio", "omni")


class UiPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page and the endpoint that it asks.

    `url`: ends in /v1, as the page reaches it; `model` "": the first that the endpoint names. `key`: the name of the
    variable that holds the endpoint's key, "" for none. `host_network`: the engine has the host's network, so the page
    too. `after`: services that it needs. `comments`: whether reasons are written too.
    """

    name: str
    url: str
    model: str
    key: str
    address: str
    port: int
    host_network: bool = False
    after: tuple[str, ...] = ()
    comments: bool = True

    @property
    def is_open(self) -> bool:
        """Whether others than this machine reach it."""
        return not ipaddress.ip_address(self.address).is_loopback


class UiModule(Protocol):
    """The shape of a module here."""

    NAME: str
    SUMMARY: str
    HAS_USERS: bool
    PORT: int

    def write_service(self, page: UiPage) -> dict[str, Any]: ...

    def write_files(self, page: UiPage) -> tuple[FormFile, ...]: ...


@cache
def list_pages() -> tuple[UiModule, ...]:
    """All pages, by name."""
    found: list[Any] = [importlib.import_module(f"{__name__}.{entry.name}") for entry in pkgutil.iter_modules(__path__)]
    return tuple(sorted((one for one in found if hasattr(one, "NAME")), key=lambda one: str(one.NAME)))


def find_page(name: str) -> UiModule:
    """A page by its name. Raises UsageError."""
    for page in list_pages():
        if name.strip().lower() == page.NAME:
            return page
    raise UsageError(f"--with-ui {name!r}", hint=f"one of: {', '.join(page.NAME for page in list_pages())}")


def plan_page(
    plan: Plan,
    options: FormOptions,
    *,
    url: str,
    host_network: bool = False,
    after: Sequence[str] = (),
) -> UiPage:
    """The page for this plan's endpoint. Raises UsageError for a model that cannot chat and for a bad address."""
    module = find_page(options.with_ui)
    if plan.model.task not in _CHAT_TASKS:
        raise UsageError(
            f"--with-ui {module.NAME}: {plan.model.id} is for {plan.model.task}, and the page is for chat",
            hint="xpukit check URL shows what such an endpoint answers",
        )
    try:
        address = ipaddress.ip_address(options.ui_address)
    except ValueError:
        hint = "an address of this machine, for example 127.0.0.1 or 0.0.0.0"
        raise UsageError(f"--ui-address {options.ui_address!r} is not an address", hint=hint) from None
    if not address.is_loopback and not module.HAS_USERS:
        raise UsageError(
            f"{module.NAME} knows no users: it is not opened to {options.ui_address}",
            hint="leave it on 127.0.0.1 and reach it with ssh -L, or put a proxy that asks for a password before it",
        )
    return UiPage(
        name=module.NAME,
        url=url,
        model=plan.request.served_name,
        key=plan.request.api_key_env,
        address=str(address),
        port=options.ui_port or module.PORT,
        host_network=host_network,
        after=tuple(after),
        comments=options.comments,
    )


def list_page_files(plan: Plan, options: FormOptions, form: str) -> tuple[FormFile, ...]:
    """The files of a page that is no service; the page asks the server of this plan on this machine.

    Raises UsageError for a page that is a service, in a form without services.
    """
    module = find_page(options.with_ui)
    host = plan.request.host
    shown = "127.0.0.1" if host in _ANY_ADDRESS else f"[{host}]" if ":" in host else host
    page = plan_page(plan, options, url=f"http://{shown}:{find_server(plan).port}/v1")
    if module.write_service(page) and form not in _FORMS_WITH_SERVICES:
        hint = f"--form {_FORMS_WITH_SERVICES[0]}, or start the page's image yourself: docs/serve-ui.md"
        raise UsageError(
            f"--with-ui {module.NAME} is a container beside the engine, and --form {form} has none", hint=hint
        )
    return module.write_files(page)


def find_server(plan: Plan) -> Launch:
    """The process that clients talk to: the proxy in front of engines, else the first engine of the first machine."""
    servers = [launch for launch in plan.launches if launch.role in ("proxy", "engine")]
    return min(servers, key=lambda launch: (launch.role != "proxy", launch.node))

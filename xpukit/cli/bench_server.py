"""The server that a subcommand of `bench` asks or starts, and where it keeps results: options of several commands."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from xpukit.cli.bench_options import (
    ApiOption,
    FormOption,
    KeyOption,
    ModelDirOption,
    ModelOption,
    NameOption,
    OutOption,
    PlanOption,
    ReadyOption,
    ResumeOption,
    ServeOption,
    UrlOption,
    check_source,
    choose_directory,
    read_api,
    read_key,
)
from xpukit.cli.session import Session

if TYPE_CHECKING:
    from xpukit.cli.bench_engine import StartChoice


class AskedServer(msgspec.Struct, frozen=True, kw_only=True):
    """As asked for on the command line."""

    url: str
    serve: str
    plan_file: Path | None
    form: str
    name: str
    model_dir: list[str] | None
    ready_s: float | None
    model: str
    api: str
    api_key_env: str
    out: Path | None
    resume: bool

    def read(self, session: Session, command: str) -> Server:
        """What every command needs of it. Raises UsageError for no server, several, a bad API, an unset key."""
        spoken = read_api(self.api)
        place = choose_directory(command, self.out, resume=self.resume)
        check_source(self.url, self.serve, self.plan_file)
        return Server(asked=self, api=spoken, key=read_key(session, self.api_key_env), place=place)


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """`place`: the directory of the run; `choice`: how one is started that does not run yet."""

    asked: AskedServer
    api: Literal["chat", "completions"]
    key: str
    place: Path

    @property
    def choice(self) -> StartChoice:
        from xpukit.cli.bench_engine import StartChoice

        asked = self.asked
        return StartChoice(form=asked.form, name=asked.name, models=tuple(asked.model_dir or ()), ready_s=asked.ready_s)


def _list_options(
    *,
    url: UrlOption = "",
    serve: ServeOption = "",
    plan_file: PlanOption = None,
    form: FormOption = "shell",
    name: NameOption = "xpukit-bench",
    model_dir: ModelDirOption = None,
    ready_s: ReadyOption = None,
    model: ModelOption = "",
    api: ApiOption = "chat",
    api_key_env: KeyOption = "",
    out: OutOption = None,
    resume: ResumeOption = False,
) -> None:
    """Their names are the fields of AskedServer."""


def takes_server(function: Callable[..., int]) -> Callable[..., int]:
    """The command gets these options, in place of its parameter `server`, as one AskedServer."""
    shared = inspect.signature(_list_options, eval_str=True).parameters
    own = inspect.signature(function, eval_str=True).parameters
    listed = [one for name in own for one in (shared.values() if name == "server" else (own[name],))]

    @functools.wraps(function)
    def run(**given: Any) -> int:
        asked = AskedServer(**{name: given.pop(name) for name in shared})
        return function(server=asked, **given)

    # By these Typer knows the options.
    run.__annotations__ = {one.name: one.annotation for one in listed}
    run.__signature__ = inspect.Signature(listed)  # type: ignore[attr-defined]
    return run

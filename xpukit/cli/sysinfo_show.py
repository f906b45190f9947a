"""`xpukit sysinfo show`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xpukit.cli.session import JsonOption, Session, current_session
from xpukit.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from xpukit.sysinfo.opened import OpenedBundle

_SHOWN_COMPLAINTS = 5
HELP = "Show what a bundle holds, one answer of it ('read /etc/os-release', 'uname -a'), or unpack it."


def show(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Archive or directory.")],
    what: Annotated[
        str | None, typer.Argument(metavar="[WHAT]", help="A file of it, a path, a command or a whole question.")
    ] = None,
    unpack: Annotated[
        Path | None, typer.Option("--unpack", metavar="DIR", help="Write all answers as files below a new directory.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="List the questions without an answer.")] = False,
    entries: Annotated[bool, typer.Option("--entries", help="List all questions of each collector.")] = False,
    json: JsonOption = False,
) -> int:
    """Open it and print what was asked for."""
    session = current_session()
    session.take(json=json)
    if session.source is not None:
        raise UsageError("sysinfo show takes the bundle as its argument", hint="leave --from out")
    if sum((what is not None, unpack is not None, failed, entries)) > 1:
        raise UsageError("WHAT, --unpack, --failed and --entries exclude each other", hint="choose one")
    from xpukit.sysinfo.opened import OpenedBundle

    opened = OpenedBundle(bundle)
    _warn(session, bundle, opened.complaints)
    if what is not None:
        _print_bytes(opened.find_text(what))
    elif unpack is not None:
        said = len(opened.complaints)
        count = opened.unpack(unpack)
        _warn(session, bundle, opened.complaints[said:])
        session.say(f"{unpack}: {count} files")
        return int(ExitCode.COULD_NOT_JUDGE if opened.complaints else ExitCode.OK)
    elif session.json:
        _print_json(session, opened)
    else:
        from xpukit.cli.sysinfo_show_tables import print_contents, print_entries

        if failed or entries:
            print_entries(opened, only_failed=failed)
        else:
            print_contents(opened, color=session.color)
    return int(ExitCode.OK)


def _warn(session: Session, bundle: Path, complaints: Sequence[str]) -> None:
    for complaint in complaints[:_SHOWN_COMPLAINTS]:
        session.warn(f"{bundle}: {complaint}")
    if len(complaints) > _SHOWN_COMPLAINTS:
        session.warn(f"{bundle}: and {len(complaints) - _SHOWN_COMPLAINTS} more")


def _print_bytes(content: bytes) -> None:
    if sys.stdout.isatty():
        from xpukit.cli.sysinfo_show_tables import CONTROLS

        sys.stdout.write(content.decode("utf-8", errors="replace").translate(CONTROLS))
        return
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:  # a stream that takes text only
        sys.stdout.write(content.decode("utf-8", errors="replace"))
    else:
        buffer.write(content)
        buffer.flush()


def _print_json(session: Session, opened: OpenedBundle) -> None:
    from xpukit.core.json_document import build_document
    from xpukit.sysinfo.limits import name_question

    session.print_json(
        build_document(
            "xpukit.sysinfo-show/1",
            opened.manifest.host,
            {
                "manifest": opened.manifest,
                "documents": dict(opened.list_documents()),
                "report": opened.report,
                "questions": [name_question(question) for question in opened.questions],
            },
        )
    )

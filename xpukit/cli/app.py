"""The command tree, global options, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from xpukit import __version__
from xpukit.cli.commands import COMMANDS, add_command, add_name
from xpukit.cli.session import Session, current_session, reset_session
from xpukit.core.errors import ExitCode, OutputError, UnrecordedQuestionError, XpukitError
from xpukit.host.terminal import is_completing

# Files name themselves in their errors; these, of no file, are those of standard output.
_LOST_OUTPUT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def _print_version(value: bool) -> None:
    if value:
        print(f"xpukit {__version__}")
        raise typer.Exit


def take_globals(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="BUNDLE", help="Look at a recording, not at this machine.")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="DIR", help="Write every question to the machine and its answer there."),
    ] = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="Show pseudonyms for names and addresses, as a bundle would.")
    ] = False,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Say more on standard error.")] = 0,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour, also on a terminal.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Global options."""
    session = current_session()
    session.take(json=json, source=source)
    session.command = context.invoked_subcommand or ""
    session.record = record
    session.redact = redact
    session.verbose = verbose
    session.debug = debug
    session.no_color = no_color


@cache
def build_tree(wanted: frozenset[str]) -> typer.Typer:
    """The commands; of those not in `wanted` only the names."""
    tree = typer.Typer(
        name="xpukit",
        help="From a bare Intel XPU server to a verified, tuned LLM endpoint, with evidence at each step.",
        no_args_is_help=True,
        # Plain help: it is read in logs and over serial lines, and rich would double the start-up time.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    tree.callback()(take_globals)
    for command in COMMANDS:
        add = add_command if command.name in wanted else add_name
        add(tree, command)
    return tree


def _find_wanted(argv: Sequence[str]) -> frozenset[str]:
    """Every command that is named anywhere: an option's value may look like one."""
    names = frozenset(command.name for command in COMMANDS)
    return names if is_completing() else names.intersection(argv)


def run(argv: Sequence[str]) -> int:
    """Run one command line; the exit code of docs/exit-codes.md."""
    session = reset_session()
    session.argv = argv
    # An error in the global options themselves must already know whether to show a traceback or speak JSON.
    session.debug = "--debug" in argv
    session.json = "--json" in argv
    try:
        code = _invoke(session, list(argv))
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
        return int(ExitCode.OK)
    except OSError as err:  # what was still in the buffer
        return _report_lost_output(session, err)
    return code


def _invoke(session: Session, argv: list[str]) -> int:
    try:
        try:
            result = build_tree(_find_wanted(argv))(argv, standalone_mode=False, prog_name="xpukit")
        finally:
            session.close()
        return int(result) if isinstance(result, int) else int(ExitCode.OK)
    except typer.Exit as leave:
        return leave.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _report(session, "Interrupted", "interrupted", "", ExitCode.INTERRUPTED)
    except XpukitError as err:
        if session.debug:
            traceback.print_exc()
        return _report(session, type(err).__name__, err.message, err.hint, err.exit_code)
    except UnrecordedQuestionError as err:
        if session.debug:
            traceback.print_exc()
        hint = f"record again with: xpukit --record DIR {session.command or 'probe'}"
        return _report(session, "UnrecordedQuestion", str(err), hint, ExitCode.COULD_NOT_JUDGE)
    except BrokenPipeError:
        raise
    except Exception as err:
        if session.debug:
            traceback.print_exc()
        format_message = getattr(err, "format_message", None)
        if format_message is not None:  # click's, or the copy of click inside newer typers: no common type to name
            if not argv:  # the help text, given where a command is missing
                session.say(format_message())
                return int(ExitCode.USAGE)
            return _report(session, "UsageError", format_message(), _hint_usage(err), ExitCode.USAGE)
        if isinstance(err, OSError) and err.errno in _LOST_OUTPUT and err.filename is None:
            return _report_lost_output(session, err)
        # A defect of ours: say so, with the way to report it.
        text = f"internal error: {type(err).__name__}: {err}"
        hint = "this is a defect in xpukit: run again with --debug and report what it prints"
        return _report(session, "InternalError", text, hint, ExitCode.EXTERNAL_FAILURE)


def _report_lost_output(session: Session, err: OSError) -> int:
    _silence_stdout()
    text = f"standard output cannot be written: {err.strerror or err}"
    return _report(
        session, "OutputError", text, "free space where it goes, or send it elsewhere", OutputError.exit_code
    )


def _hint_usage(err: Exception) -> str:
    context = getattr(err, "ctx", None)
    return f"see: {context.command_path} --help" if context is not None else "see: xpukit --help"


def _report(session: Session, kind: str, message: str, hint: str, code: ExitCode) -> int:
    session.say(f"xpukit: {_show(message)}")
    if hint:
        session.say(f"  next: {_show(hint)}")
    if session.json:
        from xpukit.core.json_document import build_document

        error = {"class": kind, "message": message, "hint": hint, "exit_code": int(code)}
        session.print_json(build_document("xpukit.error/1", "", {"error": error}))
    return int(code)


def _show(text: str) -> str:
    """What a server or a file said may hold orders to the terminal: they are shown, not obeyed."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def _silence_stdout() -> None:
    """The reader went away (`| head`) or the disk is full: nothing more to say, no complaint at interpreter exit."""
    import io

    sys.stdout = io.TextIOWrapper(io.BytesIO())

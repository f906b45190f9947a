"""`xpukit install index`: an unpacked offline installer made into a source of packages."""

from __future__ import annotations

from typing import Annotated

import typer

from xpukit.cli.install_options import RootOption, open_site
from xpukit.cli.session import JsonOption, current_session
from xpukit.core.errors import ExitCode, UsageError

HELP = "Make a directory of .deb files (an unpacked offline installer) a source for --source."


def index(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="An absolute path; below --root with that.")],
    json: JsonOption = False,
    root: RootOption = "/",
) -> int:
    """Writes `Packages` into it. Exit code 1 when an archive is damaged: it is left out."""
    session = current_session()
    session.take(json=json)
    session.require_live("install index")
    if not directory.startswith("/"):
        raise UsageError(f"{directory}: not an absolute path", hint="as the machine itself names it")
    from xpukit.core.json_document import build_document
    from xpukit.install.documents import INDEX_SCHEMA
    from xpukit.install.index_directory import index_directory

    site = open_site(session, root)
    done = index_directory(site, directory.rstrip("/") or "/")
    if session.json:
        session.print_json(build_document(INDEX_SCHEMA, site.host.identity().hostname, done))
    else:
        for line in (*done.doubled, *done.damaged):
            session.say(f"left out: {line}")
        print(f"{done.path}: {len(done.packages)} packages")
        print(f"next: xpukit install plan --source {directory} --trust-source")
    return int(ExitCode.JUDGED_FAILING if done.damaged else ExitCode.OK)

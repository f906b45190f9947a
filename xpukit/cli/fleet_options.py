"""Options that the commands over many machines share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HostsOption = Annotated[str, typer.Option("--hosts", metavar="A,B|FILE", help="Hosts, or a file with one a line.")]
SshConfigOption = Annotated[
    Path | None, typer.Option("--ssh-config", metavar="FILE", help="As ssh -F: users, keys, ports, jump hosts.")
]
StrictOption = Annotated[
    bool, typer.Option("--strict-host-keys", help="Only hosts whose keys are known already; never add one.")
]

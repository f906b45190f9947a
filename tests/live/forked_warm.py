"""Imported by the process that runs are forked from: everything that `xpukit install` loads, loaded once."""

import contextlib
import importlib
import io

from xpukit.cli.app import run
from xpukit.install.registry import list_handlers, list_refreshes, list_steps

for _name in (
    "rich.console", "rich.table", "xpukit.cli.install_progress", "xpukit.cli.install_tables", "xpukit.host.terminal",
    "xpukit.host.writable", "xpukit.install.apply", "xpukit.install.apt_locks", "xpukit.install.bundle.open",
    "xpukit.install.documents", "xpukit.install.export", "xpukit.install.index_directory", "xpukit.install.plan",
    "xpukit.install.status", "xpukit.install.undo", "xpukit.probe.machine",
):  # fmt: skip
    importlib.import_module(_name)
list_steps(), list_handlers(), list_refreshes()
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    run(["install", "plan", "--list"])

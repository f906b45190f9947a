"""Python environments with their packages; nothing of the serving stack is imported."""

from __future__ import annotations

import posixpath

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.inquire import ask_listed
from xpukit.sysinfo.python_places import list_interpreters, list_site_packages

_NAME = "python"


def collect(asker: Asker) -> None:
    ask_listed(asker, _NAME)
    version_files = load_inquiry(_NAME).words("version_files")
    interpreters = list_interpreters(asker)
    if not interpreters:
        asker.note("no python3 found")
    for home in asker.env("HOME").values():
        for place in asker.glob(f"{home}/.local/lib/python3*/site-packages"):
            asker.list(place)
    for interpreter in interpreters:
        asker.resolve(interpreter)
        # -I: neither the working directory nor PYTHONPATH is looked into.
        asker.run(interpreter, "-I", "-V", timeout_s=5, typical_bytes=20)
        asker.read(f"{posixpath.dirname(posixpath.dirname(interpreter))}/pyvenv.cfg", limit_bytes=4096)
        for place in list_site_packages(asker, interpreter):
            # The names of dist-info folders say what `pip list` says, in a thousandth of its time and also without pip.
            asker.list(place)
            for name in version_files:
                if not asker.stat(f"{place}/{name}").error:
                    asker.read(f"{place}/{name}", limit_bytes=4096)


COLLECTOR = Collector(
    name=_NAME,
    summary="Python environments: packages, and versions of torch and the engines without importing them",
    preset="default",
    collect=collect,
    timeout_s=70,
    order=480,
)

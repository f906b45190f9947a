"""apt as this machine has it, or with one more source in directories of our own: asking changes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from xpukit.core.errors import ExternalError
from xpukit.core.json_document import now_utc
from xpukit.host.answers import Ran
from xpukit.install.apt_parse import (
    DPKG_FORMAT,
    PackageState,
    Policy,
    Simulation,
    parse_needed_bytes,
    parse_packages,
    parse_policy,
    parse_simulation,
    parse_uris,
)
from xpukit.install.apt_sources import has_lists, key_path, only_options, render_source
from xpukit.install.backups import make_directories
from xpukit.install.site import Site
from xpukit.install.step import Source
from xpukit.install.work import complain, describe_failure

ASK_LIMIT_S = 60.0
UPDATE_LIMIT_S = 600.0
# A version that was asked for may be older: the plan shows it, and the newer archive is kept.
_INSTALL = ("--no-install-recommends", "--allow-downgrades", "install")
# A source that cannot be reached is an error, which apt otherwise says in a warning only.
STRICT = ("-o", "APT::Update::Error-Mode=any")
_QUIET = ("-o", "Debug::NoLocking=1", "-o", "APT::Get::Show-User-Simulation-Note=0", "-q")


class NotRecordedError(ExternalError):
    """A recorded machine was not asked this when it was recorded."""


class AptView:
    """Questions to apt with some options in front; `options` select lists and sources."""

    def __init__(self, site: Site, options: Sequence[str] = ()) -> None:
        self._site = site
        self.options = tuple(options)

    def ask_policy(self, names: Sequence[str]) -> tuple[dict[str, Policy], str]:
        """Policy by name, and why it could not be had ("" when it was)."""
        ran = self._ask("apt-cache", "policy", *names)
        return (parse_policy(ran.text), "") if ran.ok else ({}, ran.describe_failure())

    def simulate(self, request: Sequence[str]) -> tuple[Simulation, str]:
        """What installing would do, and apt's words when it would not."""
        ran = self._ask("apt-get", *_QUIET, "-s", "-y", *_INSTALL, *request)
        return (parse_simulation(ran.text), "") if ran.ok else (Simulation(), describe_failure(ran))

    def ask_sizes(self, request: Sequence[str]) -> tuple[dict[str, int], int]:
        """Bytes to fetch by "name version", and bytes that will be taken on the disk."""
        argv = ("apt-get", *_QUIET, "-y", "--print-uris", *_INSTALL, *request)
        ran = self._ask(*argv)
        return (parse_uris(ran.text), parse_needed_bytes(ran.text)) if ran.ok else ({}, 0)

    def _ask(self, program: str, *words: str) -> Ran:
        return self._site.ask((program, *self.options, *words), timeout_s=ASK_LIMIT_S)


def read_packages(site: Site) -> dict[str, PackageState]:
    """All packages that dpkg knows, by "name:architecture". Raises ExternalError where dpkg cannot be asked."""
    ran = site.ask(("dpkg-query", "-W", "-f", DPKG_FORMAT))
    if ran.ok:
        return parse_packages(ran.text)
    if ran.failure == "UNRECORDED":
        return _read_recorded(site)
    raise ExternalError(f"dpkg cannot be asked: {ran.describe_failure()}", hint="only machines with dpkg and apt")


def _read_recorded(site: Site) -> dict[str, PackageState]:
    """A support bundle holds the packages of the GPU stack, as its collector asked for them."""
    from xpukit.facts.sysinfo import load_inquiry

    inquiry = load_inquiry("packages")
    ran = site.ask(("dpkg-query", "-W", "-f", DPKG_FORMAT, *inquiry.lists["patterns"].words))
    if ran.failure:
        raise NotRecordedError("the recording holds no list of packages", hint="record with: xpukit sysinfo")
    return parse_packages(ran.text)


@contextlib.contextmanager
def open_view(site: Site, source: Source) -> Iterator[AptView]:
    """apt as it will be with `source`; without one, or once it is in place, apt as it is.

    Where the source is not in place yet, lists of our own are made in a temporary directory of the machine's /tmp and
    removed again. Raises ExternalError when the source cannot be read.
    """
    path, content = render_source(source, key=source.key)
    placed, placed_content = render_source(source, key=key_path(source))
    if not path:
        yield AptView(site)
        return
    if site.read(placed).data == placed_content.encode() and has_lists(site, placed):
        yield AptView(site, only_options(placed) if source.exclusive else ())
        return
    stamp = now_utc().replace(":", "").replace("-", "")
    home = f"/tmp/xpukit-plan-{stamp}-{site.host.identity().uid}"
    try:
        yield AptView(site, _build_view(site, source, home, path.rsplit("/", 1)[1], content))
    finally:
        site.run(("rm", "-rf", home), timeout_s=ASK_LIMIT_S)


def _build_view(site: Site, source: Source, home: str, name: str, content: str) -> tuple[str, ...]:
    for directory in ("lists/partial", "cache/archives/partial", "parts"):
        make_directories(site, f"{home}/{directory}")
    listing = f"{home}/parts/{name}"
    if error := site.changer.write_file(site.locate(listing), content.encode(), mode=0o644):
        raise ExternalError(f"{listing}: {error}", hint="/tmp of the machine must be writable for a plan with --source")
    own = ("-o", f"Dir::State::lists={home}/lists", "-o", f"Dir::Cache={home}/cache")
    update = (
        "apt-get", *own, *only_options(listing), "-q", "-o", "APT::Get::List-Cleanup=0",
        "-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=1",
        *STRICT, "update",
    )  # fmt: skip
    ran = site.run(update, timeout_s=UPDATE_LIMIT_S)
    if not ran.ok or "\nE: " in "\n" + ran.err_text:
        raise ExternalError(f"the source cannot be read: {complain(ran)}", hint="see: docs/install.md, sources")
    if source.exclusive:
        return (*own, *only_options(listing))
    site.run(("cp", "-rsn", "/var/lib/apt/lists/.", f"{home}/lists/"), timeout_s=ASK_LIMIT_S)
    site.run(("cp", "-rn", "/etc/apt/sources.list.d/.", f"{home}/parts/"), timeout_s=ASK_LIMIT_S)
    return (*own, "-o", f"Dir::Etc::sourceparts={home}/parts")

"""Which packages the target lacks: this machine's apt says it, asked with the target's dpkg status; and the fetch."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from xpukit.core.errors import ExternalError, OutputError
from xpukit.host.door import Host
from xpukit.host.network_environment import read_network_environment, strip_credentials
from xpukit.install.apt_parse import Policy, parse_policy
from xpukit.install.apt_view import STRICT
from xpukit.install.bundle.manifest import hash_file
from xpukit.install.bundle.target import Target
from xpukit.install.work import complain

_ASK_LIMIT_S = 120.0
_UPDATE_LIMIT_S = 900.0
_DOWNLOAD_LIMIT_S = 8 * 3600.0
# 'ADDRESS' FILE BYTES SHA256:HEX, as `apt-get --print-uris` writes it with ForceHash.
_URI = re.compile(r"^'(?P<url>[^']+)' (?P<file>\S+\.deb) (?P<size>\d+) SHA256:(?P<hash>[0-9a-f]{64})$")


_ANY_URI = re.compile(r"^'[^']+' (?P<file>\S+\.deb) \d+")


class DebSource(msgspec.Struct, frozen=True, kw_only=True):
    """A package that the target lacks: `cached` is its name in apt's cache, `file` the one in our repository."""

    name: str
    version: str
    url: str
    cached: str
    size_bytes: int
    sha256: str

    @property
    def file(self) -> str:
        """Without the "%3a" of an epoch, which not every tool reads back."""
        return self.cached.replace("%3a", ".")


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """What to fetch; `versions` are those of the packages asked for, `absent` what no source has."""

    debs: tuple[DebSource, ...]
    versions: dict[str, str]
    absent: tuple[str, ...] = ()


class TargetApt:
    """This machine's apt in directories of its own (`home`), with the target's packages. Needs no root.

    `own_sources` False leaves this machine's sources out and asks only the files of `sources`.
    """

    def __init__(
        self, host: Host, home: Path, target: Target, *, sources: Sequence[Path] = (), own_sources: bool = True
    ) -> None:
        self._host = host
        self._home = home.absolute()
        self._env = read_network_environment(host)
        self._options = self._prepare(target, sources, own_sources)

    def _prepare(self, target: Target, sources: Sequence[Path], own_sources: bool) -> tuple[str, ...]:
        home = self._home
        try:
            for name in ("lists/partial", "archives/partial", "asked/partial", "parts"):
                (home / name).mkdir(parents=True, exist_ok=True)
            (home / "status").write_bytes(target.status)
            for old in (home / "parts").iterdir():
                old.unlink()
            given = {f"given-{number:02d}-{path.name}": path.read_bytes() for number, path in enumerate(sources)}
            for name, content in {**(self._read_own_sources() if own_sources else {}), **given}.items():
                (home / "parts" / name).write_bytes(content)
        except OSError as err:
            raise OutputError(
                f"{err.filename}: {err.strerror}", hint="check the path, permissions, free space"
            ) from err
        architecture = target.about.architecture
        options = {
            "Dir::State::status": home / "status",
            "Dir::State::lists": home / "lists",
            "Dir::State::extended_states": home / "extended_states",
            "Dir::Cache": home,
            "Dir::Cache::archives": home / "archives",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": home / "parts",
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "",
            "APT::Get::List-Cleanup": "0",
            "Debug::NoLocking": "1",
            "Acquire::Retries": "3",
            "Acquire::ForceHash": "SHA256",
        }
        if target.about.described != "here":
            # This machine's pins are not the target's.
            options |= {"Dir::Etc::preferences": "/dev/null", "Dir::Etc::preferencesparts": "/dev/null"}
        return tuple(word for name, value in options.items() for word in ("-o", f"{name}={value}"))

    def _read_own_sources(self) -> dict[str, bytes]:
        folder = "/etc/apt/sources.list.d"
        paths = [f"{folder}/{name}" for name in self._host.list(folder).names if name.endswith((".list", ".sources"))]
        answers = {path.rpartition("/")[2]: self._host.read(path) for path in (*paths, "/etc/apt/sources.list")}
        return {name: answer.data for name, answer in answers.items() if not answer.error}

    def update(self) -> None:
        """Read the sources' lists. Raises ExternalError with the source that could not be read."""
        argv = ("apt-get", *self._options, "-q", *STRICT, "update")
        ran = self._host.run(argv, timeout_s=_UPDATE_LIMIT_S, env=self._env)
        if not ran.ok:
            raise ExternalError(
                f"apt cannot read its sources: {complain(ran)}",
                hint="check network and proxies; --source FILE.sources",
            )

    def resolve(self, wanted: dict[str, str], required: frozenset[str]) -> Resolved:
        """What installing `wanted` (versions by name, "" for the newest) takes. Raises ExternalError."""
        policies, versions, absent = self._ask_policies(tuple(wanted)), {}, []
        for name, pin in wanted.items():
            policy = policies.get(name)
            version = pin or (policy.candidate if policy else "")
            if policy is None or not version or (version not in policy.available and version != policy.installed):
                absent.append(f"{name} {pin}".strip())
            else:
                versions[name] = version
        if lacking := [word for word in absent if word.split()[0] in required]:
            raise ExternalError(
                f"no source has: {', '.join(lacking)}", hint="give one that does: --source FILE.sources"
            )
        if not versions:
            return Resolved(debs=(), versions={}, absent=tuple(absent))
        argv = (
            "apt-get", *self._options, "-o", f"Dir::Cache::archives={self._home}/asked", "-q", "-y",
            "--no-install-recommends", "--print-uris", "install", *(f"{name}={versions[name]}" for name in versions),
        )  # fmt: skip
        ran = self._host.run(argv, timeout_s=_ASK_LIMIT_S, env=self._env)
        if not ran.ok:
            raise ExternalError(
                f"apt cannot install this on the target: {complain(ran)}", hint="see the target's `install plan`"
            )
        if unhashed := find_unhashed(ran.text):
            raise ExternalError(
                f"{unhashed[0]}: its source has no SHA-256 for it", hint="index that source anew with SHA256 fields"
            )
        return Resolved(debs=parse_debs(ran.text), versions=versions, absent=tuple(absent))

    def find_candidate(self, name: str) -> str:
        """The version of a package that apt would install, "" for none."""
        policy = self._ask_policies((name,)).get(name)
        return (policy.installed or policy.candidate) if policy else ""

    def _ask_policies(self, names: tuple[str, ...]) -> dict[str, Policy]:
        ran = self._host.run(("apt-cache", *self._options, "policy", *names), timeout_s=_ASK_LIMIT_S, env=self._env)
        if not ran.ok:
            raise ExternalError(f"apt cannot be asked: {complain(ran)}", hint="is apt installed here?")
        return parse_policy(ran.text)

    def download(self, resolved: Resolved, folder: Path, say: Callable[[str], None]) -> None:
        """Fetch the packages into `folder`; what is there whole is kept, what is there in part goes on.

        Raises ExternalError, for a file with another hash too, which is not kept.
        """
        archives = self._home / "archives"
        for deb in resolved.debs:
            _drop_unless(archives / deb.cached, deb.sha256)
        missing = [deb for deb in resolved.debs if not _is_whole(folder / deb.file, deb.sha256)]
        say(f"packages: {len(resolved.debs)}, to fetch: {len(missing)}")
        if missing:
            argv = (
                "apt-get", *self._options, "-q", "-y", "--no-install-recommends", "--download-only", "install",
                *(f"{name}={version}" for name, version in resolved.versions.items()),
            )  # fmt: skip
            ran = self._host.run(argv, timeout_s=_DOWNLOAD_LIMIT_S, env=self._env, on_line=say)
            if not ran.ok:
                raise ExternalError(
                    f"apt cannot fetch the packages: {complain(ran)}", hint="run it again: it goes on where it stopped"
                )
        for deb in missing:
            cached = archives / deb.cached
            if deb.url.startswith(("file:", "copy:")) and not cached.exists():
                _copy_local(deb.url, cached)  # apt reads those where they lie
            if not _is_whole(cached, deb.sha256):
                cached.unlink(missing_ok=True)
                raise ExternalError(
                    f"{deb.cached}: not what the archive's signed index says", hint="run it again: it is fetched anew"
                )
            try:
                cached.replace(folder / deb.file)
            except OSError as err:
                raise OutputError(f"{folder}: {err.strerror}", hint="check free space and permissions") from err


def parse_debs(text: str) -> tuple[DebSource, ...]:
    """The packages of `apt-get --print-uris`; other lines are passed over."""
    found = []
    for line in text.splitlines():
        if match := _URI.match(line.strip()):
            name, _, rest = match["file"].removesuffix(".deb").partition("_")
            found.append(
                DebSource(
                    name=name,
                    version=unquote(rest.rpartition("_")[0]),
                    url=strip_credentials(match["url"]),
                    cached=match["file"],
                    size_bytes=int(match["size"]),
                    sha256=match["hash"],
                )
            )
    return tuple(sorted(found, key=lambda deb: deb.file))


def find_unhashed(text: str) -> tuple[str, ...]:
    """Archives of `apt-get --print-uris` that come without a SHA-256."""
    lines = [line.strip() for line in text.splitlines()]
    return tuple(match["file"] for line in lines if (match := _ANY_URI.match(line)) and not _URI.match(line))


def _is_whole(path: Path, sha256: str) -> bool:
    return path.is_file() and hash_file(path)[0] == sha256


def _copy_local(url: str, target: Path) -> None:
    try:
        shutil.copyfile(unquote(urlsplit(url).path), target)
    except OSError as err:
        raise OutputError(f"{err.filename or url}: {err.strerror}", hint="check the source and free space") from err


def _drop_unless(path: Path, sha256: str) -> None:
    if path.is_file() and not _is_whole(path, sha256):
        path.unlink(missing_ok=True)

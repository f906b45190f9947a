"""`build-image --fetch`: everything that an offline build needs, collected into one folder with a lock."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import ExternalError, OutputError
from xpukit.core.json_document import BAD_JSON, now_utc
from xpukit.facts.recipes import Fetched
from xpukit.host.door import Host
from xpukit.host.network_environment import read_network_environment, strip_credentials
from xpukit.images.build import Rendered
from xpukit.images.context import hash_file
from xpukit.images.fetch_apt import DebPlan, render_index
from xpukit.images.lock import (
    BASE_FILE,
    DEBS_DIR,
    FILES_DIR,
    LOCK_FILE,
    WHEELS_DIR,
    Lock,
    LockItem,
    load_lock,
    sort_items,
    write_lock,
)

_DOWNLOAD_S = 4 * 3600.0
_RESOLVE_S = 900.0
_ASK_S = 30.0
# Images are for x86-64: that is where Intel's data-center and Arc Pro GPUs are. glibc up to the newest Ubuntu LTS's.
_PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in range(39, 4, -1)),
    "manylinux2014_x86_64",
    "manylinux2010_x86_64",
    "manylinux1_x86_64",
    "linux_x86_64",
)


class WheelSource(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel that pip chose: where it lies and, where the index says it, its SHA-256."""

    name: str
    url: str
    sha256: str = ""


def fetch_build(
    host: Host,
    rendered: Rendered,
    fetched: Sequence[Fetched],
    folder: Path,
    *,
    python_argv: Sequence[str],
    python_version: str,
    base_id: str = "",
    debs: DebPlan | None = None,
    save_base: Callable[[Path], None] | None = None,
    ca_bundle: Path | None = None,
    say: Callable[[str], None] = print,
) -> Lock:
    """Collect what a rendered recipe needs into `folder` and write its lock; what is there whole is kept.

    `base_id` is the base image's id, `debs` what its apt would install and `save_base` writes it to a file; "" and None
    where no daemon could be asked. Raises ExternalError for what cannot be had
    (with what is done kept: run it again) and for a file that is not what its checksum says.
    """
    before = _load_before(folder)
    fetcher = _Fetcher(host, folder, before, ca_bundle, say)
    items = [LockItem(kind="base", name=rendered.base_image, sha256=base_id, date=now_utc()[:10])]
    for file in fetched:
        items.append(fetcher.take("file", file.name, file.url, f"{FILES_DIR}/{file.file}", file.sha256))
    for wheel in _resolve_wheels(host, rendered.wheels, python_argv, python_version, ca_bundle):
        name = unquote(urlsplit(wheel.url).path.rpartition("/")[2])
        items.append(fetcher.take("wheel", wheel.name, wheel.url, f"{WHEELS_DIR}/{name}", wheel.sha256))
    absent = rendered.apt_packages
    if debs is not None:
        items += _take_debs(fetcher, folder, debs)
        absent = debs.absent
    if save_base is not None:
        items.append(_save_base(folder, before, rendered.base_image, base_id, save_base, say))
    lock = Lock(
        recipe=rendered.recipe,
        created=now_utc(),
        wheels=rendered.wheels,
        apt_packages=rendered.apt_packages,
        apt_absent=absent,
        item=sort_items(items),
    )
    write_lock(folder / LOCK_FILE, lock)
    return lock


def _take_debs(fetcher: _Fetcher, folder: Path, debs: DebPlan) -> list[LockItem]:
    """The Debian packages and their index. An index of nothing counts too: the base image then has all of them."""
    items = [fetcher.take("deb", deb.name, deb.url, f"{DEBS_DIR}/{deb.file}", deb.sha256) for deb in debs.debs]
    path = folder / DEBS_DIR / "Packages"
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as err:
        raise OutputError(f"{path.parent}: cannot be made: {err.strerror}", hint="check permissions") from err
    write_atomic(path, render_index(debs.debs))
    digest, size = hash_file(path)
    file = f"{DEBS_DIR}/{path.name}"
    items.append(LockItem(kind="index", name=path.name, file=file, sha256=digest, size_bytes=size, date=now_utc()[:10]))
    return items


def _save_base(
    folder: Path,
    before: Mapping[str, LockItem],
    name: str,
    base_id: str,
    save: Callable[[Path], None],
    say: Callable[[str], None],
) -> LockItem:
    """The base image as `docker load` takes it. Its `url` is the image's id: the archive itself differs each time."""
    path, known = folder / BASE_FILE, before.get(BASE_FILE)
    if known and known.url == base_id and path.is_file() and hash_file(path)[0] == known.sha256:
        say(f"kept     {BASE_FILE}")
        return known
    save(path)
    digest, size = hash_file(path)
    say(f"saved    {BASE_FILE} ({size} bytes)")
    return LockItem(
        kind="image", name=name, url=base_id, file=BASE_FILE, sha256=digest, size_bytes=size, date=now_utc()[:10]
    )


def parse_report(text: str) -> tuple[WheelSource, ...]:
    """The packages of pip's installation report. What is no report gives none."""
    try:
        report = json.loads(text)
    except BAD_JSON:
        return ()
    found = []
    for item in _list_of(report, "install"):
        info = _dict_of(item, "download_info")
        url = info.get("url")
        if not isinstance(url, str):
            continue
        metadata = _dict_of(item, "metadata")
        hashes = _dict_of(_dict_of(info, "archive_info"), "hashes")
        name = f"{metadata.get('name', '')}=={metadata.get('version', '')}"
        found.append(WheelSource(name=name, url=url, sha256=str(hashes.get("sha256", ""))))
    return tuple(sorted(found, key=lambda wheel: wheel.name))


def _dict_of(value: object, key: str) -> dict[str, Any]:
    inner = value.get(key) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _list_of(value: object, key: str) -> list[Any]:
    inner = value.get(key) if isinstance(value, dict) else None
    return inner if isinstance(inner, list) else []


class _Fetcher:
    """Downloads with curl: it goes on where it stopped, and knows every proxy a firm can have."""

    def __init__(
        self, host: Host, folder: Path, before: Mapping[str, LockItem], ca: Path | None, say: Callable[[str], None]
    ) -> None:
        self._host = host
        self._folder = folder
        self._before = before
        self._ca = ca
        self._say = say
        self._env = read_network_environment(host)

    def take(self, kind: str, name: str, url: str, file: str, sha256: str) -> LockItem:
        target = self._folder / file
        known = self._before.get(file)
        wanted = sha256 or (known.sha256 if known else "")
        if target.is_file() and wanted:
            digest, size = hash_file(target)
            if digest == wanted:
                self._say(f"kept     {file}")
                date = known.date if known else now_utc()[:10]
                return self._make_item(kind, name, url, file, digest, size, date)
        self._download(url, target)
        digest, size = hash_file(target)
        if sha256 and digest != sha256:
            target.unlink(missing_ok=True)
            raise ExternalError(
                f"{file}: SHA-256 is {digest}, not {sha256}",
                hint="the file was changed where it comes from, or a proxy answered in its place; it was not kept",
            )
        self._say(f"fetched  {file} ({size} bytes)")
        return self._make_item(kind, name, url, file, digest, size, now_utc()[:10])

    def _make_item(
        self, kind: str, name: str, url: str, file: str, digest: str, size_bytes: int, date: str
    ) -> LockItem:
        raw = {"kind": kind, "name": name, "url": strip_credentials(url), "file": file}
        return msgspec.convert({**raw, "sha256": digest, "size_bytes": size_bytes, "date": date}, LockItem)

    def _download(self, url: str, target: Path) -> None:
        part = target.with_name(target.name + ".part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise OutputError(f"{target.parent}: cannot be made: {err.strerror}", hint="check permissions") from err
        argv = ["curl", "--fail", "--silent", "--show-error", "--location", "--retry", "3", "--continue-at", "-"]
        if self._ca is not None:
            argv += ["--cacert", str(self._ca)]
        ran = self._host.run([*argv, "--output", str(part), url], timeout_s=_DOWNLOAD_S, env=self._env)
        if not ran.ok:
            hint = "install curl" if ran.failure == "not-found" else "run it again: it goes on where it stopped"
            said = ran.describe_failure().replace(url, strip_credentials(url))
            raise ExternalError(f"{target.name} cannot be fetched: {said}", hint=hint)
        try:
            part.replace(target)
        except OSError as err:
            raise OutputError(f"{target}: cannot be written: {err.strerror}", hint="check free space") from err


def _resolve_wheels(
    host: Host, wheels: Sequence[str], python_argv: Sequence[str], python_version: str, ca_bundle: Path | None
) -> tuple[WheelSource, ...]:
    """What pip would install into the image for these requirements, their dependencies included."""
    if not wheels:
        return ()
    argv = [*python_argv, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--report", "-"]
    argv += ["--only-binary", ":all:", "--python-version", python_version, "--implementation", "cp"]
    # pip takes foreign platforms only with a target of their own; nothing is written there in a dry run.
    argv += ["--target", "xpukit-fetch", "--disable-pip-version-check"]
    for platform in _PLATFORMS:
        argv += ["--platform", platform]
    if ca_bundle is not None:
        argv += ["--cert", str(ca_bundle)]
    ran = host.run([*argv, *wheels], timeout_s=_RESOLVE_S, env=read_network_environment(host))
    found = parse_report(ran.text)
    if not ran.ok or not found:
        raise ExternalError(
            f"pip cannot find the wheels: {_last_error(ran.err_text) or ran.describe_failure()}",
            hint=f"are there wheels for Python {python_version}? is the index reachable (--ca-bundle, proxies)?",
        )
    return found


def _last_error(text: str) -> str:
    errors = [line for line in text.splitlines() if line.startswith("ERROR:")]
    return errors[-1].removeprefix("ERROR: ") if errors else ""


def _load_before(folder: Path) -> dict[str, LockItem]:
    """Items of an earlier lock by file; none where there was none. Raises OutputError for an unwritable folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputError(f"{folder}: cannot be made: {err.strerror}", hint="check permissions") from err
    path = folder / LOCK_FILE
    return {item.file: item for item in load_lock(path).item if item.file} if path.exists() else {}

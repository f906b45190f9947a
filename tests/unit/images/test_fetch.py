"""Collecting for an offline build, and the lock: what is kept, what is refused, what is named."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.dict_host import DictHost
from xpukit.core.errors import BadFactsError, ExternalError, UsageError
from xpukit.facts.recipes import Fetched, load_recipe
from xpukit.host.answers import Ran
from xpukit.images.build import Rendered
from xpukit.images.fetch import fetch_build, parse_report
from xpukit.images.fetch_apt import DebPlan, DebSource
from xpukit.images.lock import (
    Lock,
    LockItem,
    check_base,
    check_covers,
    check_files,
    find_debs,
    hashes_of,
    load_lock,
    wheel_names,
    write_lock,
)
from xpukit.images.render import render_recipe
from xpukit.images.settings import resolve_settings

WHEEL_URL = "https://user:secret@index.example/six-1.16.0-py2.py3-none-any.whl"
FILE_URL = "https://get.example/tool"
CONTENT = {WHEEL_URL: b"wheel", FILE_URL: b"tool"}


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_report(url: str = WHEEL_URL, digest: str = sha(b"wheel")) -> str:
    info = {"url": url, "archive_info": {"hashes": {"sha256": digest}}}
    return json.dumps({"install": [{"metadata": {"name": "six", "version": "1.16.0"}, "download_info": info}]})


class Network(DictHost):
    """A host whose curl and pip answer from CONTENT; `asked` are the argv."""

    def __init__(self, content: Mapping[str, bytes] = CONTENT, report: str | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.content = dict(content)
        self.report = make_report() if report is None else report
        self.argvs: list[tuple[str, ...]] = []
        self.envs: list[Mapping[str, str]] = []

    def run(self, argv: Sequence[str], **more: Any) -> Ran:  # type: ignore[override]
        self.argvs.append(tuple(argv))
        self.envs.append(more.get("env") or {})
        if argv[0] == "curl":
            if argv[-1] not in self.content:
                return Ran(argv=tuple(argv), rc=22, err=f"curl: (22) {argv[-1]} returned error: 404".encode())
            Path(argv[argv.index("--output") + 1]).write_bytes(self.content[argv[-1]])
            return Ran(argv=tuple(argv), rc=0)
        return Ran(
            argv=tuple(argv), rc=0 if self.report else 1, out=self.report.encode(), err=b"ERROR: No matching x\n"
        )

    @property
    def fetched(self) -> list[str]:
        return [argv[-1] for argv in self.argvs if argv[0] == "curl"]


@pytest.fixture
def rendered() -> Rendered:
    recipe = load_recipe("smoke")
    return render_recipe(recipe, resolve_settings(recipe, given=["wheels=six==1.16.0"]), builder="buildkit")


def make_file(sha256: str = "") -> Fetched:
    return Fetched(name="tool", url=FILE_URL, file="tool", sha256=sha256, source="s", date="2026-11-21")


def fetch(host: Network, rendered: Rendered, folder: Path, file: Fetched | None = None, **more: Any) -> Lock:
    said: list[str] = []
    return fetch_build(
        host,
        rendered,
        [file or make_file()],
        folder,
        python_argv=("python3",),
        python_version="3.11",
        say=said.append,
        **{"base_id": "sha256:base", **more},
    )


def test_everything_is_collected_and_locked(rendered: Rendered, tmp_path: Path) -> None:
    host = Network()
    lock = fetch(host, rendered, tmp_path)
    assert load_lock(tmp_path / "lock.toml") == lock
    assert [(item.kind, item.name, item.file) for item in lock.item] == [
        ("base", "debian:12-slim", ""),
        ("file", "tool", "files/tool"),
        ("wheel", "six==1.16.0", "wheels/six-1.16.0-py2.py3-none-any.whl"),
    ]
    assert hashes_of(lock) == {"tool": sha(b"tool")}
    assert wheel_names(lock) == ("six-1.16.0-py2.py3-none-any.whl",)
    assert lock.wheels == ("six==1.16.0",)
    assert "python3-venv" in lock.apt_packages
    assert "secret" not in (tmp_path / "lock.toml").read_text(encoding="utf-8")
    check_files(lock, tmp_path)
    check_covers(lock, rendered, own_apt_repo=True)
    with pytest.raises(UsageError, match=r"not fetched: .*python3-venv"):  # no daemon was asked
        check_covers(lock, rendered)
    assert find_debs(lock, tmp_path) is None
    pip = next(argv for argv in host.argvs if argv[0] == "python3")
    assert pip[pip.index("--python-version") + 1] == "3.11"
    assert ("--only-binary", ":all:") in itertools.pairwise(pip)


DEB_URL = "http://archive.example/pool/tool_1.0%2b1_amd64.deb"
DEB = DebSource(
    name="tool=1.0+1",
    url=DEB_URL,
    file="tool_1.0+1_amd64.deb",
    sha256=sha(b"deb"),
    stanza="Package: tool\nFilename: ./tool_1.0+1_amd64.deb\n",
)


def save_base(path: Path) -> None:
    path.write_bytes(b"the image")


def test_debian_packages_and_the_base_are_collected(rendered: Rendered, tmp_path: Path) -> None:
    network = Network({**CONTENT, DEB_URL: b"deb"})
    lock = fetch(network, rendered, tmp_path, debs=DebPlan(debs=(DEB,)), save_base=save_base)
    found = {item.kind: item for item in lock.item}
    assert (found["deb"].name, found["deb"].file) == ("tool=1.0+1", "debs/tool_1.0+1_amd64.deb")
    assert (tmp_path / "debs/tool_1.0+1_amd64.deb").read_bytes() == b"deb"
    assert (tmp_path / "debs/Packages").read_text(encoding="utf-8") == DEB.stanza + "\n"
    assert (found["image"].file, found["image"].url) == ("base.tar", "sha256:base")
    assert load_lock(tmp_path / "lock.toml") == lock
    check_files(lock, tmp_path)
    check_covers(lock, rendered)
    assert find_debs(lock, tmp_path) == tmp_path / "debs"
    with pytest.raises(UsageError, match="does not cover: htop"):
        check_covers(lock, msgspec.structs.replace(rendered, apt_packages=("htop", *rendered.apt_packages)))
    again = Network({})
    assert fetch(again, rendered, tmp_path, debs=DebPlan(debs=(DEB,)), save_base=not_again).item == lock.item
    assert again.fetched == []
    (tmp_path / "debs/Packages").write_text("")
    with pytest.raises(UsageError, match="debs/Packages was changed"):
        check_files(lock, tmp_path)


def not_again(path: Path) -> None:
    raise AssertionError(f"{path} is written again")


def test_another_base_is_saved_again(rendered: Rendered, tmp_path: Path) -> None:
    fetch(Network(), rendered, tmp_path, save_base=save_base)
    with pytest.raises(AssertionError, match=r"base\.tar"):
        fetch(Network(), rendered, tmp_path, save_base=not_again, base_id="sha256:other")


def test_a_base_that_needs_no_package_leaves_an_empty_repository(rendered: Rendered, tmp_path: Path) -> None:
    lock = fetch(Network(), rendered, tmp_path, debs=DebPlan())
    assert (tmp_path / "debs/Packages").read_bytes() == b""
    assert find_debs(lock, tmp_path) == tmp_path / "debs"
    check_covers(lock, rendered)


def test_packages_that_no_archive_has_must_come_from_elsewhere(rendered: Rendered, tmp_path: Path) -> None:
    plan = DebPlan(absent=("numactl",))
    lock = fetch(Network(), rendered, tmp_path, debs=plan)
    assert find_debs(lock, tmp_path) is None
    with pytest.raises(UsageError, match="not fetched: numactl"):
        check_covers(lock, rendered)
    check_covers(lock, rendered, own_apt_repo=True)


def test_what_is_whole_is_kept_and_the_rest_is_fetched_again(rendered: Rendered, tmp_path: Path) -> None:
    first = fetch(Network(), rendered, tmp_path)
    again = Network()
    assert fetch(again, rendered, tmp_path).item == first.item
    assert again.fetched == []
    (tmp_path / "files" / "tool").write_bytes(b"cut")
    more = Network()
    fetch(more, rendered, tmp_path)
    assert more.fetched == [FILE_URL]
    assert (tmp_path / "files" / "tool").read_bytes() == b"tool"


def test_a_file_that_is_not_what_the_recipe_says_is_not_kept(rendered: Rendered, tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match="files/tool: SHA-256"):
        fetch(Network(), rendered, tmp_path, make_file("0" * 64))
    assert not (tmp_path / "files" / "tool").exists()
    assert not (tmp_path / "lock.toml").exists()


def test_a_wheel_that_is_not_what_the_index_says_is_not_kept(rendered: Rendered, tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match="six"):
        fetch(Network(report=make_report(digest="0" * 64)), rendered, tmp_path)


def test_a_failed_download_is_told_without_the_password(rendered: Rendered, tmp_path: Path) -> None:
    with pytest.raises(ExternalError) as caught:
        fetch(Network({FILE_URL: b"tool"}), rendered, tmp_path)
    assert "404" in caught.value.message
    assert "secret" not in caught.value.message
    assert (tmp_path / "files" / "tool").exists()


def test_wheels_that_are_not_to_be_had(rendered: Rendered, tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match="No matching x"):
        fetch(Network(report=""), rendered, tmp_path)


def test_proxies_mirrors_and_the_ca_are_used(rendered: Rendered, tmp_path: Path) -> None:
    environment = {"https_proxy": "http://proxy.example:3128", "PIP_INDEX_URL": "https://mirror.example/simple"}
    host = Network(environment=environment)
    fetch(host, rendered, tmp_path, ca_bundle=Path("/ca.pem"))
    assert all(env.get("https_proxy") for env in host.envs)
    assert all({"--cacert", "--cert"} & set(argv) for argv in host.argvs)


@pytest.mark.parametrize(
    ("change", "words"),
    [("changed", "files/tool was changed"), ("cut", "was changed"), ("missing", "files/tool is missing")],
)
def test_a_changed_file_is_refused_with_its_name(rendered: Rendered, tmp_path: Path, change: str, words: str) -> None:
    lock = fetch(Network(), rendered, tmp_path)
    path = tmp_path / "files" / "tool"
    if change == "missing":
        path.unlink()
    else:
        path.write_bytes(b"TOOL" if change == "changed" else b"to")
    with pytest.raises(UsageError, match=words):
        check_files(lock, tmp_path)


def test_a_lock_that_does_not_cover_the_build(rendered: Rendered, tmp_path: Path) -> None:
    lock = fetch(Network(), rendered, tmp_path)
    more = msgspec.structs.replace(rendered, wheels=("six==1.17.0",))
    with pytest.raises(UsageError, match=r"six==1\.17\.0"):
        check_covers(lock, more)
    with pytest.raises(UsageError, match="for recipe smoke, not other"):
        check_covers(lock, msgspec.structs.replace(rendered, recipe="other"))
    with pytest.raises(UsageError, match="base image debian:13"):
        check_covers(lock, msgspec.structs.replace(rendered, base_image="debian:13"))


def test_another_base_under_the_same_name(rendered: Rendered, tmp_path: Path) -> None:
    lock = fetch(Network(), rendered, tmp_path)
    check_base(lock, "debian:12-slim", "sha256:base")
    with pytest.raises(UsageError, match="was changed"):
        check_base(lock, "debian:12-slim", "sha256:other")
    saved = fetch(Network(), rendered, tmp_path, save_base=save_base)
    with pytest.raises(UsageError, match="not on this host") as caught:
        check_base(saved, "debian:12-slim", "", folder=tmp_path)
    assert caught.value.hint == f"docker load -i {tmp_path}/base.tar"
    check_base(fetch(Network(), rendered, tmp_path, base_id=""), "debian:12-slim", "sha256:other")


@pytest.mark.parametrize("text", ["", "schema = 1", 'schema = "xpukit.lock/1"', 'schema = "xpukit.lock/1"\nfrob = 1'])
def test_a_lock_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock.toml").write_text(text)
    with pytest.raises(BadFactsError):
        load_lock(tmp_path / "lock.toml")


@given(st.text(), st.text(), st.integers(0, 1 << 62))
def test_any_name_survives_the_lock(tmp_path_factory: pytest.TempPathFactory, name: str, url: str, size: int) -> None:
    path = tmp_path_factory.mktemp("lock") / "lock.toml"
    item = LockItem(kind="file", name=name, url=url, size_bytes=size)
    lock = Lock(recipe="r", created="2026-11-21T00:00:00Z", item=(item,))
    write_lock(path, lock)
    assert load_lock(path) == lock


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.one_of(st.text(), JSON.map(json.dumps), JSON.map(lambda value: json.dumps({"install": value}))))
def test_no_report_makes_the_parser_fail(text: str) -> None:
    parse_report(text)

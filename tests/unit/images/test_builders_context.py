"""The build context: same bytes whatever the checkout's modes and times; nothing gets out of it or gets lost."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from xpukit.core.errors import UsageError
from xpukit.images.build import ContextFile, Rendered
from xpukit.images.builders.context import list_context, name_context, pack_context, write_context


def render(*files: ContextFile) -> Rendered:
    return Rendered(recipe="r", variant="", settings={}, builder="classic", files=files, labels={}, hash="0")


GOOD = render(
    ContextFile(path="Dockerfile", content=b"FROM x\n"), ContextFile(path="a/run.sh", content=b"#!", mode=0o755)
)


def make_house(tmp_path: Path, mode: int = 0o644) -> Path:
    house = tmp_path / f"house{mode}"
    (house / "sub").mkdir(parents=True)
    (house / "b.whl").write_bytes(b"wheel b")
    (house / "sub" / "a.whl").write_bytes(b"wheel a")
    (house / "b.whl").chmod(mode)
    return house


def test_directory_and_tar_hold_the_same(tmp_path: Path) -> None:
    trees = {"wheelhouse": make_house(tmp_path)}
    write_context(GOOD, tmp_path / "out", trees=trees, epoch=1700000000)
    buffer = io.BytesIO()
    entries = pack_context(GOOD, buffer, trees=trees, epoch=1700000000)
    assert [entry.path for entry in entries] == ["Dockerfile", "a/run.sh", "wheelhouse/b.whl", "wheelhouse/sub/a.whl"]
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        for member in tar.getmembers():
            path = tmp_path / "out" / member.name
            found = path.stat()
            assert (member.mode, member.mtime) == (found.st_mode & 0o7777, int(found.st_mtime)), member.name
            assert member.mtime == 1700000000
            assert (member.uid, member.gid) == (0, 0)
            if member.isfile():
                handle = tar.extractfile(member)
                assert handle is not None
                assert handle.read() == path.read_bytes()


def test_modes_and_times_of_the_source_do_not_matter(tmp_path: Path) -> None:
    first, second = io.BytesIO(), io.BytesIO()
    open_house, closed_house = make_house(tmp_path, 0o664), make_house(tmp_path, 0o600)
    os.utime(closed_house / "b.whl", (5, 5))
    pack_context(GOOD, first, trees={"w": open_house})
    pack_context(GOOD, second, trees={"w": closed_house})
    assert first.getvalue() == second.getvalue()
    third = io.BytesIO()
    pack_context(GOOD, third, trees={"w": open_house}, epoch=1)
    assert third.getvalue() != first.getvalue()


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../b", "", "."])
def test_path_that_leaves_the_context(path: str) -> None:
    with pytest.raises(UsageError, match="no path inside"):
        list_context(render(ContextFile(path=path, content=b"")))


def test_trees_that_cannot_be_taken(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    with pytest.raises(UsageError, match="twice"):
        list_context(GOOD, {"Dockerfile": house / "b.whl"})
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        list_context(GOOD, {"w": tmp_path / "absent"})
    os.mkfifo(house / "pipe")
    with pytest.raises(UsageError, match="not a regular file"):
        list_context(GOOD, {"w": house})
    (house / "pipe").unlink()
    (house / "linked").symlink_to(house / "sub")
    with pytest.raises(UsageError, match="link to a directory"):
        list_context(GOOD, {"w": house})


def test_one_file_as_a_tree(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    (house / "link.pem").symlink_to(house / "b.whl")
    entry = list_context(GOOD, {"ca.pem": house / "link.pem"})[2]
    assert (entry.path, entry.size_bytes) == ("ca.pem", 7)


def test_no_two_contexts_have_one_name(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    trees = {"wheelhouse": house}
    name = name_context(GOOD, trees)
    assert name == name_context(GOOD, dict(trees))
    edited = render(
        ContextFile(path="Dockerfile", content=b"FROM y\n"), ContextFile(path="a/run.sh", content=b"#!", mode=0o755)
    )
    others = [name_context(edited, trees), name_context(GOOD), name_context(GOOD, trees, epoch=1)]
    (house / "b.whl").write_bytes(b"WHEEL B")  # the same size
    os.utime(house / "b.whl", ns=(1, 1))
    others.append(name_context(GOOD, trees))
    assert len({name, *others}) == 5

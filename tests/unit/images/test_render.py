"""Rendering: the same bytes each time, for each builder, and nothing of this host in them."""

from __future__ import annotations

import locale
import os
import re
from pathlib import Path

import msgspec
import pytest

from xpukit.core.errors import BadFactsError, UsageError
from xpukit.facts.recipes import Fetched, Recipe, Setting, load_recipe
from xpukit.images import build
from xpukit.images.builders.context import list_context
from xpukit.images.context import list_entries, split_linked
from xpukit.images.render import check_base_image, render_recipe
from xpukit.images.settings import resolve_settings
from xpukit.images.sources import Sources
from xpukit.images.tags import choose_tags
from xpukit.images.template import quote_label

KINDS: tuple[build.BuilderKind, ...] = ("buildx", "buildkit", "classic")
SMOKE = load_recipe("smoke")


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "ca.crt"
    path.write_text("-----BEGIN CERTIFICATE-----\n")
    return path


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "six-1.16.0-py2.py3-none-any.whl").write_bytes(b"wheel")
    (folder / "notes.txt").write_text("no wheel")
    return folder


@pytest.fixture
def apt_repo(tmp_path: Path) -> Path:
    folder = tmp_path / "debs"
    folder.mkdir()
    (folder / "Packages").write_text("Package: x\n")
    (folder / "x.deb").write_bytes(b"deb")
    return folder


def render(kind: build.BuilderKind = "buildkit", sources: Sources | None = None, *given: str) -> build.Rendered:
    return render_recipe(SMOKE, resolve_settings(SMOKE, given=given), builder=kind, sources=sources)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_input_gives_the_same_bytes(
    kind: build.BuilderKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = render(kind, None, "wheels=six==1.16.0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    locale.setlocale(locale.LC_ALL, "C")
    before = os.umask(0o077)
    try:
        second = render(kind, None, "wheels=six==1.16.0")
    finally:
        os.umask(before)
    assert msgspec.json.encode(first) == msgspec.json.encode(second)


def test_modes_do_not_come_from_the_checkout(tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "smoke"
    shutil.copytree(SMOKE.folder, folder)
    for path in folder.iterdir():
        path.chmod(0o600)
    copy = load_recipe(str(folder))
    assert render_recipe(copy, resolve_settings(copy), builder="buildkit").files == render().files
    modes = {file.path: file.mode for file in render().files}
    assert (modes["entrypoint.sh"], modes["Dockerfile"]) == (0o755, 0o644)


@pytest.mark.parametrize("kind", ["buildkit", "classic"])
def test_smoke_is_golden(kind: build.BuilderKind, golden: object) -> None:
    assert callable(golden)
    plain = re.sub(r'"xpukit-[0-9][^"]*"', '"xpukit-VERSION"', render(kind, None, "wheels=six==1.16.0").dockerfile)
    golden(f"build-image-smoke-{kind}.Dockerfile", plain)


def test_any_change_changes_the_hash(wheelhouse: Path, ca: Path) -> None:
    hashes = {
        render().hash,
        render("classic").hash,
        render("buildkit", None, "port=9000").hash,
        render("buildkit", None, "packages=curl").hash,
        render("buildkit", Sources(base_image="debian:13-slim")).hash,
        render("buildkit", Sources(wheelhouse=wheelhouse), "wheels=six==1.16.0").hash,
    }
    (wheelhouse / "six-1.16.0-py2.py3-none-any.whl").write_bytes(b"changed")
    hashes.add(render("buildkit", Sources(wheelhouse=wheelhouse), "wheels=six==1.16.0").hash)
    assert len(hashes) == 7


def test_what_a_ca_bundle_holds_is_not_hashed(ca: Path) -> None:
    before = render("classic", Sources(ca_bundle=ca)).hash
    ca.write_text("another\n")
    assert render("classic", Sources(ca_bundle=ca)).hash == before


def test_the_ca_is_a_secret_with_buildkit_and_in_no_final_stage_with_classic(ca: Path) -> None:
    buildkit = render("buildkit", Sources(ca_bundle=ca), "wheels=six==1.16.0")
    assert buildkit.secrets == (build.BuildSecret(id="ca", source=str(ca)),)
    assert "COPY ca.pem" not in buildkit.dockerfile
    assert "PIP_CERT=/run/ca.pem" in buildkit.dockerfile
    assert not [file for file in buildkit.files if file.path == "ca.pem"]
    classic = render("classic", Sources(ca_bundle=ca), "wheels=six==1.16.0")
    assert classic.secrets == ()
    stages = classic.dockerfile.split("\nFROM ")
    assert "COPY ca.pem /run/ca.pem" in stages[0]
    assert "ca.pem" not in stages[-1]
    assert "--mount" not in classic.dockerfile


def test_a_wheelhouse_is_the_only_source_of_wheels(wheelhouse: Path) -> None:
    rendered = render("buildkit", Sources(wheelhouse=wheelhouse), "wheels=six==1.16.0")
    assert "--no-index --find-links /run/wheelhouse" in rendered.dockerfile
    linked = split_linked(rendered)[1]
    assert list(linked) == ["wheelhouse/six-1.16.0-py2.py3-none-any.whl"]
    entry = next(entry for entry in list_entries(rendered) if entry.path.startswith("wheelhouse/"))
    assert (entry.size_bytes, len(entry.sha256)) == (5, 64)
    with pytest.raises(UsageError, match="no Python package"):
        render("buildkit", Sources(wheelhouse=wheelhouse, wheel_names=("other.whl",)))


def test_a_folder_of_debian_packages_is_mounted(apt_repo: Path) -> None:
    text = render("buildkit", Sources(apt_repo=str(apt_repo))).dockerfile
    assert "--mount=type=bind,source=apt-repo,target=/run/apt-repo" in text
    assert "deb [trusted=yes] file:/run/apt-repo ./" in text
    (apt_repo / "InRelease").write_text("signed")
    (apt_repo / "key.asc").write_text("key")
    assert "signed-by=/run/apt-repo/key.asc" in render("buildkit", Sources(apt_repo=str(apt_repo))).dockerfile


def test_the_classic_builder_gets_a_folder_over_loopback(apt_repo: Path) -> None:
    rendered = render("classic", Sources(apt_repo=str(apt_repo)))
    served = rendered.served
    assert served is not None
    assert served.folder == str(apt_repo)
    assert 20000 <= served.port < 30000
    assert f'echo "deb [trusted=yes] http://127.0.0.1:{served.port}/{served.prefix}/ ./"' in rendered.dockerfile
    assert rendered.network == "host"
    assert not [file for file in rendered.files if file.path.startswith("apt-repo")]
    # The same files, the same address, and so the same cache; others, another.
    assert render("classic", Sources(apt_repo=str(apt_repo))).hash == rendered.hash
    (apt_repo / "x.deb").write_bytes(b"other")
    other = render("classic", Sources(apt_repo=str(apt_repo)))
    assert other.hash != rendered.hash
    assert other.served != served
    with pytest.raises(UsageError, match="over this host's loopback"):
        render("classic", Sources(apt_repo=str(apt_repo), network="none"))
    (apt_repo / "Packages").unlink()
    with pytest.raises(UsageError, match="no flat apt repository"):
        render("classic", Sources(apt_repo=str(apt_repo)))


def test_an_archive_by_its_url_is_verified_by_the_base(ca: Path) -> None:
    text = render("classic", Sources(apt_repo="http://mirror.example/debian bookworm main")).dockerfile
    assert 'echo "deb http://mirror.example/debian bookworm main" >/tmp/xpukit.list' in text
    assert "trusted=yes" not in text


def test_a_folder_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no flat apt repository"):
        render("buildkit", Sources(apt_repo=str(tmp_path)))
    with pytest.raises(UsageError, match="no such folder"):
        render("buildkit", Sources(apt_repo=str(tmp_path / "none")))


@pytest.mark.parametrize("name", ["debian", "debian:latest", "reg.example:5000/team/base", "a/b:latest"])
def test_a_base_that_moves_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="not pinned"):
        check_base_image(name)
    with pytest.raises(UsageError, match="not pinned"):
        render("buildkit", Sources(base_image=name))


@pytest.mark.parametrize("name", ["debian:12-slim", f"debian@sha256:{'0' * 64}", "reg.example:5000/b:1", "scratch"])
def test_a_pinned_base_is_taken(name: str) -> None:
    check_base_image(name)


def test_labels_say_what_it_is_and_the_time_only_where_one_is_given() -> None:
    rendered = render()
    assert rendered.labels[build.LABEL_RECIPE_HASH] == rendered.hash
    assert rendered.hash not in rendered.dockerfile
    assert "org.opencontainers.image.created" not in rendered.dockerfile
    timed = render_recipe(SMOKE, resolve_settings(SMOKE), builder="buildkit", source_date_epoch=1_700_000_000)
    assert timed.labels["org.opencontainers.image.created"] == "2023-11-14T22:13:20Z"
    assert timed.source_date_epoch == 1_700_000_000


@pytest.mark.parametrize("text", ['a"b', "a\\b", "$HOME", "plain"])
def test_labels_are_quoted(text: str) -> None:
    quoted = quote_label(text)
    assert quoted.startswith('"')
    assert re.sub(r"\\(.)", r"\1", quoted[1:-1]) == text


def test_what_the_steps_install_is_known() -> None:
    rendered = render("buildkit", None, "wheels=six==1.16.0", "packages=curl")
    assert rendered.wheels == ("six==1.16.0",)
    assert {"curl", "numactl", "python3-venv"} <= set(rendered.apt_packages)


@pytest.fixture
def own(tmp_path: Path) -> Recipe:
    """A recipe with a fetched file, an archive of its own, and nothing else."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "Dockerfile.j2").write_text(
        '{% import "macros.j2" as m with context %}\nFROM {{ base_image }} AS get\n{{ m.inputs() }}\n'
        '{{ m.apt_source("vendor", "key", "https://apt.example/x any main") }}\n'
        'RUN {{ m.fetch_mounts() }}{{ m.download("tool", "/tmp/tool") }}\n{{ m.apt(["x"]) }}\n'
    )
    row = {"source": "s", "date": "2026-11-21"}
    return Recipe(
        schema="xpukit.recipe/1",
        name="own",
        summary="s",
        version="1",
        folder=str(folder),
        settings={
            "base_image": Setting(summary="s", type="string", default="debian:12-slim"),
            "tool": Setting(summary="s", type="string", default="1.2"),
        },
        fetch=(
            Fetched(name="key", url="https://apt.example/key.asc", file="key.asc", sha256="a" * 64, **row),
            Fetched(name="tool", url="https://get.example/tool-{tool}", file="tool-{tool}", **row),
            Fetched(name="other", url="https://get.example/o", file="o", when={"tool": "2"}, **row),
        ),
    )


def test_a_file_without_a_checksum_is_not_built_but_may_be_looked_at(own: Recipe) -> None:
    with pytest.raises(UsageError, match=r"tool-1\.2"):
        render_recipe(own, resolve_settings(own), builder="buildkit")
    text = render_recipe(own, resolve_settings(own), builder="buildkit", require_hashes=False).dockerfile
    assert 'echo "unknown-checksum  /tmp/tool" | sha256sum -c -' in text


def test_fetched_files_are_checked_and_come_from_where_they_are_told(own: Recipe, tmp_path: Path) -> None:
    sources = Sources(hashes={"tool": "b" * 64})
    rendered = render_recipe(own, resolve_settings(own), builder="buildkit", sources=sources)
    assert 'curl -fsSL --retry 3 -o /tmp/tool "https://get.example/tool-1.2"' in rendered.dockerfile
    assert f'echo "{"b" * 64}  /tmp/tool" | sha256sum -c -' in rendered.dockerfile
    assert "deb [signed-by=/usr/share/keyrings/vendor.asc] https://apt.example/x any main" in rendered.dockerfile
    assert rendered.downloads == ("key", "tool")
    files = tmp_path / "files"
    files.mkdir()
    (files / "key.asc").write_bytes(b"k")
    (files / "tool-1.2").write_bytes(b"t")
    with pytest.raises(UsageError, match=r"key\.asc: SHA-256 is"):
        render_recipe(
            own, resolve_settings(own), builder="buildkit", sources=Sources(files=files, hashes={"tool": "b"})
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"FROM {{ bsae }}", "Dockerfile.j2:1: .*bsae"),
        (b"FROM x\n{{ s.tol }}", "Dockerfile.j2:2: .*tol"),
        (b"{% if %}", "Dockerfile.j2:1"),
        (b"FROM x\n{{ 1 // 0 }}", "Dockerfile.j2:2: .*ZeroDivisionError"),
        (b"FROM x\n\n{{ 'a' + 1 }}", "Dockerfile.j2:3: .*TypeError"),
        (b"FROM x\n{{ 'x' | frob }}", "Dockerfile.j2:2: .*frob"),
        (b"FROM x\n{% include 'absent.j2' %}", "Dockerfile.j2:2: includes absent.j2, which is not there"),
        (b"{% include '../own/Dockerfile.j2' %}", "includes ../own/Dockerfile.j2, which is not there"),
        (b"{% include 'Dockerfile.j2' %}", "without end"),
        (b"{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "without end"),
        (b"FROM x\n{% include 'part.j2' %}", "part.j2:2: .*ZeroDivisionError"),
        (b"FROM x \xff", "no UTF-8"),
    ],
)
def test_a_template_with_a_mistake_is_named_with_its_place(own: Recipe, text: bytes, words: str) -> None:
    (Path(own.folder) / "Dockerfile.j2").write_bytes(text)
    (Path(own.folder) / "part.j2").write_text("RUN x\n{{ 1 // 0 }}\n")
    with pytest.raises(BadFactsError, match=words):
        render_recipe(own, resolve_settings(own), builder="buildkit", require_hashes=False)


def test_a_misspelt_name_in_a_template_has_its_nearest(own: Recipe) -> None:
    for text, hint in (("{{ s.tol }}", "s.tool"), ("{{ has_mount }}", "has_mounts"), ("{{ zzzzzzzz }}", "")):
        (Path(own.folder) / "Dockerfile.j2").write_text(text)
        with pytest.raises(BadFactsError) as caught:
            render_recipe(own, resolve_settings(own), builder="buildkit", require_hashes=False)
        assert caught.value.hint == (f"did you mean {hint}?" if hint else "")


def render_with(own: Recipe, *context: str) -> build.Rendered:
    plain = msgspec.structs.replace(own, fetch=(), context=context)
    (Path(own.folder) / "Dockerfile.j2").write_text("FROM {{ base_image }}\n")
    return render_recipe(plain, resolve_settings(plain), builder="buildkit")


def test_what_a_context_cannot_hold_is_refused_and_nothing_is_lost(own: Recipe) -> None:
    folder = Path(own.folder)
    more = folder / "more"
    more.mkdir()
    (more / "a.txt").write_text("a")
    os.mkfifo(folder / "pipe")  # reading one waits for ever
    with pytest.raises(UsageError, match="pipe is not a regular file"):
        render_with(own, "pipe")
    assert [file.path for file in render_with(own, "more").files] == ["Dockerfile", "more/a.txt"]
    (more / "gone").symlink_to("nowhere")
    with pytest.raises(UsageError, match="gone: cannot be read"):
        render_with(own, "more")
    (more / "gone").unlink()
    (more / "tree").symlink_to(folder)
    with pytest.raises(UsageError, match="tree is a link to a directory"):
        render_with(own, "more")


@pytest.mark.parametrize("names", [("a", "a.j2"), ("Dockerfile",)])
def test_one_name_twice_in_the_context_is_refused(own: Recipe, names: tuple[str, ...]) -> None:
    for name in names:
        (Path(own.folder) / name).write_text("x")
    with pytest.raises(BadFactsError, match="is twice in the build context"):
        render_with(own, *names)


def test_a_large_file_is_not_held_in_memory(own: Recipe) -> None:
    large = Path(own.folder) / "model.bin"
    with large.open("wb") as file:
        file.truncate((8 << 20) + 1)
    large.chmod(0o755)
    rendered = render_with(own, "model.bin")
    listed = {entry.path: entry for entry in list_entries(rendered)}
    assert listed["model.bin"].size_bytes == (8 << 20) + 1
    kept, linked = split_linked(rendered)
    assert linked == {"model.bin": large}
    # What the listing says is what the builder gets.
    built = {entry.path: entry for entry in list_context(kept, linked)}
    assert f"{built['model.bin'].mode:04o}" == listed["model.bin"].mode == "0755"


def test_a_wheelhouse_may_hold_other_things(tmp_path: Path) -> None:
    house = tmp_path / "downloads"
    house.mkdir()
    (house / "six-1.16.0-py2.py3-none-any.whl").write_bytes(b"w")
    os.mkfifo(house / "pipe")
    rendered = render(sources=Sources(wheelhouse=house))
    assert [file.path for file in rendered.files if file.source] == ["wheelhouse/six-1.16.0-py2.py3-none-any.whl"]


@pytest.mark.parametrize(
    ("given", "tags"),
    [
        ((), ("xpukit/smoke:1-HASH",)),
        (("team/x",), ("team/x:1-HASH",)),
        (("reg.example:5000/team/x",), ("reg.example:5000/team/x:1-HASH",)),
        (("a:1", "a:1", "b:2"), ("a:1", "b:2")),
    ],
)
def test_tags(given: tuple[str, ...], tags: tuple[str, ...]) -> None:
    rendered = render()
    assert choose_tags(rendered, given) == tuple(tag.replace("HASH", rendered.hash[:8]) for tag in tags)


@pytest.mark.parametrize("text", ["a:latest", "A:1", "a:b c", ":1", "a::1", "-a:1"])
def test_names_that_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        choose_tags(render(), (text,))


@pytest.mark.live
@pytest.mark.parametrize("kind", ["buildkit", "classic"])
@pytest.mark.parametrize("given", [(), ("wheels=six==1.16.0", "packages=curl")], ids=["plain", "packages"])
@pytest.mark.parametrize("offline", ["online", "ca", "wheelhouse", "apt"])
def test_smoke_is_clean_under_hadolint(
    kind: build.BuilderKind, given: tuple[str, ...], offline: str, ca: Path, wheelhouse: Path, apt_repo: Path
) -> None:
    import shutil
    import subprocess
    import sys

    program = shutil.which("hadolint") or str(Path(sys.executable).parent / "hadolint")
    place = str(apt_repo) if kind == "buildkit" else "http://mirror.example/debian bookworm main"
    sources = {
        "online": Sources(),
        "ca": Sources(ca_bundle=ca),
        "wheelhouse": Sources(wheelhouse=wheelhouse, ca_bundle=ca),
        "apt": Sources(apt_repo=place),
    }[offline]
    text = render(kind, sources, *given).dockerfile
    ran = subprocess.run([program, "-"], input=text, capture_output=True, text=True, check=False)
    assert ran.stdout == ""
    assert ran.returncode == 0

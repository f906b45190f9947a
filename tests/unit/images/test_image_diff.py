"""What changed between two images."""

from __future__ import annotations

from typing import Any

import msgspec

from xpukit.images.engine_flags import EngineFlags
from xpukit.images.image_diff import ImageDiff, diff_images
from xpukit.images.inventory import Inventory, LayerSize, Package


def package(name: str, version: str, **more: Any) -> Package:
    return Package(**{"kind": "pypi", "name": name, "version": version, **more})


OLD = Inventory(
    image="a:1", image_id="sha256:1", os_id="debian", os_version="12", architecture="amd64", size_bytes=100,
    layers=(LayerSize(instruction="RUN a", size_bytes=60), LayerSize(instruction="ENV x", size_bytes=0),
            LayerSize(instruction="RUN a", size_bytes=40)),
    labels={"version": "1"}, env={"PATH": "/bin"}, entrypoint=("/e",), user="serving",
    packages=(package("torch", "2.9"), package("vllm", "0.20"), package("numpy", "1", place="/a"),
              package("numpy", "2", place="/b"), package("bash", "5", kind="deb")),
)  # fmt: skip
FLAGS = EngineFlags(
    engine="vllm", version="1", method="parser", allow_abbrev={"vllm serve": True},
    parsers={"vllm serve": (
        {"flags": ["--dtype", "-d"], "dest": "dtype", "choices": ["auto", "half"], "default": "auto"},
        {"flags": ["--gone"], "dest": "gone", "type": "int", "default": 3},
    )},
)  # fmt: skip


def diff(new: Inventory, flags: EngineFlags | None = FLAGS, old_flags: EngineFlags | None = FLAGS) -> ImageDiff:
    return diff_images(OLD, new, flags_before=old_flags, flags_after=flags)


def change(**more: Any) -> Inventory:
    return msgspec.structs.replace(OLD, image="a:2", image_id="sha256:2", **more)


def rows(found: ImageDiff) -> set[tuple[str, str, str, str, str]]:
    return {(one.area, one.change, one.name, one.before, one.after) for one in found.changes}


def test_nothing_differs() -> None:
    found = diff(change())
    assert found.changes == found.notes == ()
    assert (found.before, found.after) == ("a:1", "a:2")


def test_packages_by_kind_and_name() -> None:
    packages = (
        package("Torch", "2.10"),
        package("new_one", "1"),
        package("numpy", "2", place="/b"),
        package("bash", "5"),
    )
    assert rows(diff(change(packages=packages))) == {
        ("package", "changed", "pypi torch", "2.9", "2.10"),
        ("package", "removed", "pypi vllm", "0.20", ""),
        ("package", "added", "pypi new-one", "", "1"),
        ("package", "changed", "pypi numpy", "1, 2", "2"),
        ("package", "added", "pypi bash", "", "5"),
        ("package", "removed", "deb bash", "5", ""),
    }


def test_start_environment_labels_system() -> None:
    found = diff(
        change(
            labels={"version": "2"}, env={"PATH": "/bin", "A": "1"}, entrypoint=("/f", "x"), user="", os_version="13"
        )
    )
    assert rows(found) == {
        ("label", "changed", "version", "1", "2"),
        ("environment", "added", "A", "", "1"),
        ("start", "changed", "entrypoint", "/e", "/f x"),
        ("start", "changed", "user", "serving", "root"),
        ("system", "changed", "os", "debian 12", "debian 13"),
    }


def test_layers_of_the_same_instruction_count_together() -> None:
    layers = (LayerSize(instruction="RUN a", size_bytes=110), LayerSize(instruction="ENV y", size_bytes=0))
    found = diff(change(layers=layers, size_bytes=110))
    assert rows(found) == {("layer", "changed", "RUN a", "100", "110")}
    assert (found.size_before_bytes, found.size_after_bytes) == (100, 110)


def test_flags_with_what_changed_of_them() -> None:
    parsers: dict[str, tuple[dict[str, Any], ...]] = {
        "vllm serve": (
            {"flags": ["--dtype"], "dest": "dtype", "choices": ["auto"], "default": "auto"},
            {"flags": ["--new"], "dest": "new", "default": None},
        )
    }
    found = diff(change(), msgspec.structs.replace(FLAGS, parsers=parsers))
    assert rows(found) == {
        ("flag", "changed", "--dtype", "choices auto,half", "choices auto"),
        ("flag", "removed", "-d", "default auto", ""),
        ("flag", "removed", "--gone", "type int; default 3", ""),
        ("flag", "added", "--new", "", "default none"),
    }


def test_what_cannot_be_compared_is_said() -> None:
    assert diff(change(), None).notes == ("the engine's flags are known of one of the two only",)
    assert diff(change(), None, None).notes == ()
    guessed = msgspec.structs.replace(FLAGS, method="help")
    assert any("help text" in note for note in diff(change(), guessed).notes)
    from_sbom = Inventory(image="s", image_id="", packages=OLD.packages, notes=("read from an SBOM",))
    found = diff(from_sbom, None, None)
    assert found.changes == ()
    assert found.notes == ("read from an SBOM",)


def test_settings_of_the_recipe_are_differences_of_their_own() -> None:
    def label(text: str) -> Inventory:
        return change(labels={"version": "1", "io.xpukit.settings": text})

    before = label('{"port":8000,"packages":["jq"],"tools":true,"same":""}')
    after = label('{"port":9000,"packages":[],"tools":false,"same":""}')
    found = diff_images(before, after, flags_before=FLAGS, flags_after=FLAGS)
    assert rows(found) == {
        ("setting", "changed", "port", "8000", "9000"),
        ("setting", "changed", "packages", "jq", ""),
        ("setting", "changed", "tools", "true", "false"),
    }
    for text in ("no JSON", "[1]", ""):
        assert {row[0] for row in rows(diff_images(before, label(text), flags_before=None, flags_after=None))} == {
            "setting", "label",
        }  # fmt: skip

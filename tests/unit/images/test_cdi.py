"""The CDI specification: from recorded machines, by the schema, and compared with the file on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.recorded_machines import list_machines, open_loosely, open_machine, read_machine
from xpukit.container.gpu_nodes import GpuNodes, find_gpu_nodes
from xpukit.facts.cdi import load_cdi_facts
from xpukit.host.answers import FileAnswer
from xpukit.host.overlay import OverlayHost
from xpukit.images.cdi import build_cdi, check_cdi, find_needed_version
from xpukit.images.cdi_file import compare_cdi, encode_cdi, render_systemd, write_cdi

# The parts of the Container Device Interface's JSON schema that we use, written after its SPEC.md (1.1.0).
_EDITS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "deviceNodes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path"],
                "additionalProperties": False,
                "properties": {
                    "path": {"type": "string"},
                    "hostPath": {"type": "string"},
                    "permissions": {"enum": ["r", "w", "rw", "rwm"]},
                },
            },
        },
        "mounts": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["hostPath", "containerPath"],
                "additionalProperties": False,
                "properties": {
                    "hostPath": {"type": "string"},
                    "containerPath": {"type": "string"},
                    "options": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
        "additionalGids": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 2**32 - 1}},
    },
}
SCHEMA = {
    "type": "object",
    "required": ["cdiVersion", "kind", "devices"],
    "additionalProperties": False,
    "properties": {
        "cdiVersion": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "kind": {"type": "string", "pattern": r"^[a-z.]+/[a-z]+$"},
        "devices": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "containerEdits"],
                "additionalProperties": False,
                "properties": {"name": {"type": "string"}, "containerEdits": _EDITS},
            },
        },
    },
}


def gpus_of(name: str) -> tuple[GpuNodes, ...]:
    return find_gpu_nodes(open_machine(name), read_machine(name))


@pytest.mark.parametrize("name", [name for name in list_machines() if name != "unbound"])
def test_every_recorded_machine_gives_a_valid_specification(name: str) -> None:
    document = build_cdi(gpus_of(name))
    jsonschema.validate(document, SCHEMA)
    assert check_cdi(document) == ()
    names = [device["name"] for device in document["devices"]]
    assert names[-1] == "all"
    assert len(names) == len(set(names)) == 2 * len([gpu for gpu in gpus_of(name) if not gpu.missing]) + 1


def test_one_gpu_gives_its_own_nodes_links_and_groups_only() -> None:
    document = build_cdi(gpus_of("b60x4_bmc"))
    edits = {device["name"]: device["containerEdits"] for device in document["devices"]}
    assert document["cdiVersion"] == "0.7.0"
    assert edits["0"] == edits["0000:18:00.0"]
    assert [node["path"] for node in edits["0"]["deviceNodes"]] == ["/dev/dri/renderD128", "/dev/dri/card1"]
    assert {mount["containerPath"] for mount in edits["0"]["mounts"]} == {
        "/dev/dri/by-path/pci-0000:18:00.0-card",
        "/dev/dri/by-path/pci-0000:18:00.0-render",
    }
    assert edits["0"]["additionalGids"] == [44, 992]
    assert len(edits["all"]["deviceNodes"]) == 8


def test_gpus_without_a_render_node_are_left_out() -> None:
    assert build_cdi(gpus_of("unbound"))["devices"] == []
    names = [device["name"] for device in build_cdi(gpus_of("sriov"))["devices"]]
    assert "0000:18:00.2" not in names  # given to a virtual machine
    assert "0000:18:00.1" in names


def test_without_groups_an_older_version_does() -> None:
    unknown = [msgspec.structs.replace(gpu, groups=()) for gpu in gpus_of("b580")]
    for document in (build_cdi(unknown), build_cdi(gpus_of("b580"), groups=False)):
        assert document["cdiVersion"] == "0.5.0"
        assert "additionalGids" not in document["devices"][0]["containerEdits"]
        jsonschema.validate(document, SCHEMA)
        assert check_cdi(document) == ()


@pytest.mark.parametrize(
    ("edits", "version"),
    [
        ({"env": ["A=b"]}, "0.5.0"),
        ({"mounts": [{"type": "none"}]}, "0.5.0"),
        ({"intelRdt": {}}, "0.7.0"),
        ({"netDevices": [], "additionalGids": []}, "1.1.0"),
    ],
)
def test_the_version_is_the_oldest_that_has_all_fields(edits: dict[str, Any], version: str) -> None:
    assert find_needed_version({"devices": [{"name": "0", "containerEdits": edits}]}) == version
    assert find_needed_version({"containerEdits": edits}) == version


def change(**edits: Any) -> dict[str, Any]:
    document = build_cdi(gpus_of("b60x4_bmc"))
    return {**document, **edits}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "no JSON object"),
        (change(cdiVersion="0.5.0"), "additionalGids needs cdiVersion 0.7.0"),
        (change(cdiVersion="new"), "no released version"),
        (change(cdiVersion="9.0.0"), "no released version"),
        (change(cdiVersion="0.5.0", annotations={}), "annotations needs cdiVersion 0.6.0"),
        (change(containerEdits={"gids": [1]}), "unknown field 'gids'"),
        (change(containerEdits={"hooks": [{"hookName": "prestart", "path": "x"}]}), "a hook without"),
        (change(containerEdits={"deviceNodes": [{"path": "/a", "mode": 1}]}), "unknown field 'mode'"),
        (change(kind="gpu"), "vendor/class"),
        (change(devices=[]), "no device"),
        (change(extra=1), "unknown field 'extra'"),
        (change(devices=[{"name": "-x", "containerEdits": {"env": []}}]), "bad device name"),
        (change(devices=[{"name": "0", "containerEdits": {}}]), "no containerEdits"),
        (change(devices=[{"name": "0", "containerEdits": {"deviceNodes": [{"permissions": "rx"}]}}]), "permissions"),
        (change(devices=[{"name": "0", "containerEdits": {"mounts": [{"hostPath": "/a"}]}}]), "a mount without"),
        (change(devices=[{"name": "0", "containerEdits": {"additionalGids": [-1]}}]), "no group numbers"),
    ],
)
def test_what_a_runtime_refuses_is_said(document: object, said: str) -> None:
    assert any(said in text for text in check_cdi(document))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["devices", "kind", "name", "mounts"]), inner),
    )
)
def test_checking_never_raises(document: object) -> None:
    assert isinstance(check_cdi(document), tuple)


def compare(content: bytes, error: str = "") -> Any:
    question = ("read", "/etc/cdi/x.json")
    host = OverlayHost(open_loosely("b60x4_bmc"), {question: FileAnswer(data=content, error=error)})
    gpus = gpus_of("b60x4_bmc")
    return compare_cdi(host, "/etc/cdi/x.json", build_cdi(gpus), also=[build_cdi(gpus, groups=False)])


def test_the_form_without_groups_is_as_true() -> None:
    gpus = gpus_of("b60x4_bmc")
    assert compare(encode_cdi(build_cdi(gpus, groups=False))).state == "current"
    stale = compare(encode_cdi(build_cdi(gpus[:3], groups=False)))
    assert stale.state == "stale"
    assert not any("cdiVersion" in text or "additionalGids" in text for text in stale.differences)


def test_the_file_is_current_right_after_writing(tmp_path: Path) -> None:
    path = tmp_path / "cdi" / "intel.json"
    document = build_cdi(gpus_of("b60x4_bmc"))
    write_cdi(document, path)
    assert json.loads(path.read_bytes()) == document
    assert path.stat().st_mode & 0o777 == 0o644
    assert compare(path.read_bytes()).state == "current"


def test_a_file_of_other_hardware_is_stale_and_says_what_changed() -> None:
    gpus = gpus_of("b60x4_bmc")
    fewer = compare(encode_cdi(build_cdi(gpus[:3])))
    assert fewer.state == "stale"
    assert "device 0000:7e:00.0 is in the machine and not in the file" in fewer.differences
    more = [*gpus, msgspec.structs.replace(gpus[0], index=9, bdf="0000:99:00.0")]
    assert "device 9 is in the file and no longer in the machine" in compare(encode_cdi(build_cdi(more))).differences
    renamed = [msgspec.structs.replace(gpus[0], card_node="/dev/dri/card7"), *gpus[1:]]
    text = " ".join(compare(encode_cdi(build_cdi(renamed))).differences)
    assert "/dev/dri/card7, is /dev/dri/renderD128, /dev/dri/card1" in text


def test_missing_unreadable_and_broken_files_are_told_apart() -> None:
    assert compare(b"", "ENOENT").state == "missing"
    assert compare(b"", "EACCES").state == "unreadable"
    assert compare(b"{").state == "stale"
    assert compare(b"[]").state == "stale"


def test_the_unit_runs_the_program_that_printed_it() -> None:
    text = render_systemd("/opt/x/bin/xpukit", "/var/run/cdi/a.json")
    assert "ExecStart=/opt/x/bin/xpukit cdi --write --output /var/run/cdi/a.json" in text
    assert 'KERNEL=="renderD*"' in text
    assert "cdi --write --no-groups --output" in render_systemd("/x", "/var/run/cdi/a.json", groups=False)


def test_every_runtime_has_a_source() -> None:
    runtimes = load_cdi_facts().runtimes
    assert [runtime.since for runtime in runtimes if runtime.name == "Docker"] == ["28.2", "25.0"]
    assert all(runtime.source and runtime.date for runtime in runtimes)

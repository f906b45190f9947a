"""The tool probes through the real process runner, against programs that behave as real ones were seen to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.live.docker_engine import find_processes
from tests.machines.four_b60 import BDFS, LEVEL_ZERO_ORDER, MEMORY_BYTES, NAME, make_answer, make_devices
from tests.native.build import build_fake_level_zero, find_missing, write_config
from xpukit.host.live import LiveHost
from xpukit.probe import findings, join, level_zero, selectors, sycl, xpu_smi

pytestmark = pytest.mark.live

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
Use = Callable[..., LiveHost]
STAND_INS = Path(__file__).resolve().parents[1] / "data" / "stand_ins"


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """`use("xpu-smi-1x")` puts a stand-in before everything else on PATH; time-outs are short."""
    monkeypatch.setattr(xpu_smi, "LIST_TIMEOUT_S", 2.0)
    monkeypatch.setattr(sycl, "TIMEOUT_S", 10.0)
    for name in selectors.NAMES:
        monkeypatch.delenv(name, raising=False)

    def put(*names: str) -> LiveHost:
        monkeypatch.setenv("PATH", ":".join([*(str(STAND_INS / name) for name in names), SYSTEM_PATH]))
        return LiveHost()

    return put


def test_xpu_smi_1x(use: Use) -> None:
    answer = xpu_smi.read_machine(use("xpu-smi-1x"), (), {})
    assert [seen.bdf for seen in answer["sightings"]] == list(BDFS)
    assert [seen.memory_bytes for seen in answer["sightings"]] == [None, MEMORY_BYTES, None, None]
    assert answer["software"][0].version == "1.3.7.20260301"
    assert [row.why for row in answer["unread"]] == ["device not found"] * 3


def test_xpu_smi_2x_with_errors_before_its_output(use: Use) -> None:
    answer = xpu_smi.read_machine(use("xpu-smi-2x"), (), {})
    assert [seen.bdf for seen in answer["sightings"]] == list(BDFS)
    assert answer["sightings"][0].memory_bytes == MEMORY_BYTES
    assert answer["software"][0].version == "2.0.0.20260601"
    assert any("survivability" in row.why for row in answer["unread"])


def test_a_hanging_tool_is_ended_with_its_children(use: Use) -> None:
    host = use("xpu-smi-hanging")
    answer = xpu_smi.read_machine(host, (), {})
    assert "stopped after" in answer["unread"][0].why
    assert answer["asked"]["xpu-smi"] != "ok"
    assert find_processes("xpu-smi-hanging") == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("xpu-smi-crashing", "killed by signal 11"),
        ("xpu-smi-garbage", "no list of devices"),
        ("xpu-smi-error-exit-0", "Level Zero Initialization Error"),
        ("xpu-smi-flooding", "stopped after"),
    ],
)
def test_broken_tools_cost_their_row(use: Use, name: str, why: str) -> None:
    answer = xpu_smi.read_machine(use(name), (), {})
    assert why in answer["unread"][0].why
    assert answer["unread"][0].remedy
    assert "sightings" not in answer
    msgspec.json.encode(answer)


def test_a_tool_that_dies_after_its_list(use: Use) -> None:
    answer = xpu_smi.read_machine(use("xpu-smi-half-crashing"), (), {})
    assert [seen.bdf for seen in answer["sightings"]] == list(BDFS)
    assert any("signal 11" in row.why for row in answer["unread"])


def test_a_tool_that_is_not_there_or_not_executable(use: Use) -> None:
    absent = xpu_smi.read_machine(use(), (), {})
    if absent["asked"] != {"xpu-smi": "ok"}:  # a machine that really has xpu-smi tells nothing here
        assert absent["asked"] == {"xpu-smi": "not installed"}
    (STAND_INS / "xpu-smi-denied" / "xpu-smi").chmod(0o644)
    denied = xpu_smi.read_machine(use("xpu-smi-denied"), (), {})
    if denied["asked"] != {"xpu-smi": "ok"}:
        assert denied["unread"][0].why in ("not installed", "xpu-smi: permission denied")
        assert denied["unread"][0].remedy


def test_sycl_ls_unhidden_joins_with_the_rest(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZE_AFFINITY_MASK", "3")
    host = use("sycl-ls-4xB60", "xpu-smi-1x")
    answer = sycl.read_machine(host, (), {})
    assert answer["asked"]["sycl-ls"] == "ok"
    assert answer["extra"]["device_selectors"] == {"ZE_AFFINITY_MASK": "3"}
    joined = level_zero.join_answer(make_answer(), make_devices())
    seen = (*joined["sightings"], *answer["sightings"], *xpu_smi.read_machine(host, (), {})["sightings"])
    placed = join.assign_indices(joined["devices"], seen, joined["level_zero"])
    assert [(device.level_zero_index, device.sycl_index, device.xpu_smi_index) for device in placed] == [
        (1, 1, 0),
        (3, 3, 1),
        (0, 0, 2),
        (2, 2, 3),
    ]
    assert placed[0].sources["sycl_index"] == "sycl-ls (uuid)"
    asked = {"level-zero": "ok", "xpu-smi": "ok", "sycl-ls": "ok"}
    assert list(join.find_disagreements(placed, seen, asked)) == []


def test_sycl_ls_crashing_and_hanging(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    crashed = sycl.read_machine(use("sycl-ls-crashing"), (), {})
    assert "signal 6" in crashed["asked"]["sycl-ls"]
    host = use("sycl-ls-hanging")
    # dpctl's own child shares the limit: ask only for the hanging one.
    monkeypatch.setattr(sycl, "TIMEOUT_S", 1.0)
    hung = sycl.read_machine(host, (), {})
    assert "stopped after" in hung["asked"]["sycl-ls"]
    assert find_processes("sycl-ls-hanging") == []


needs_fake_driver = pytest.mark.skipif(bool(find_missing()), reason=find_missing() or "built")


@pytest.fixture
def fake_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LiveHost]:
    """Four B60 of a driver built here, in another order than PCI's, behind the real loader and the real LiveHost."""

    def start(**whole: object) -> LiveHost:
        cards = [{"name": NAME, "id": "0xe211", "memory_mib": 24480, "bdf": BDFS[place]} for place in LEVEL_ZERO_ORDER]
        monkeypatch.setenv("ZE_ENABLE_ALT_DRIVERS", str(build_fake_level_zero()))
        monkeypatch.setenv("ZE_FAKE_CONFIG", str(write_config(tmp_path / "fake.ini", cards, **whole)))
        for name in ("ZE_FLAT_DEVICE_HIERARCHY", "ZE_AFFINITY_MASK", "ZES_ENABLE_SYSMAN"):
            monkeypatch.delenv(name, raising=False)
        return LiveHost()

    return start


@needs_fake_driver
def test_level_zero_through_the_loader_joins_by_address(fake_driver: Callable[..., LiveHost]) -> None:
    answer = level_zero.read_machine(fake_driver(), make_devices(), {})
    assert answer["asked"] == {"level-zero": "ok"}
    devices = answer["devices"]
    assert [device.level_zero_index for device in devices] == [1, 3, 0, 2]
    assert [device.affinity_mask for device in devices] == ["1", "3", "0", "2"]
    assert {device.memory_bytes for device in devices} == {MEMORY_BYTES}
    assert all(any(sensor.unit == "C" for sensor in device.sensors) for device in devices)
    assert len(answer["level_zero"]["peers"]) == 12
    assert list(join.find_disagreements(devices, answer["sightings"], answer["asked"])) == []
    msgspec.json.encode(answer)


@needs_fake_driver
def test_a_mask_of_the_user_hides_nothing_from_us(
    fake_driver: Callable[..., LiveHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = fake_driver()
    monkeypatch.setenv("ZE_AFFINITY_MASK", "1")
    answer = level_zero.read_machine(host, make_devices(), {})
    assert [device.level_zero_index for device in answer["devices"]] == [1, 3, 0, 2]
    assert answer["level_zero"]["environment"]["ZE_AFFINITY_MASK"] == "1"


@needs_fake_driver
@pytest.mark.parametrize(
    ("mode", "status", "identifier"),
    [
        ("crash-zeInit", "crashed", "XPK-PROBE-LEVEL-ZERO-CRASHED"),
        ("hang-zeInit", "timeout", "XPK-PROBE-LEVEL-ZERO-HANGS"),
    ],
)
def test_a_crashing_or_hanging_driver_costs_level_zero_only(
    fake_driver: Callable[..., LiveHost], monkeypatch: pytest.MonkeyPatch, mode: str, status: str, identifier: str
) -> None:
    monkeypatch.setattr(level_zero, "TIMEOUT_S", 3.0)
    answer = level_zero.read_machine(fake_driver(mode=mode), make_devices(), {})
    assert answer["asked"] == {"level-zero": status}
    assert answer["devices"] == make_devices()
    assert "zeInit" in answer["unread"][0].why
    assert answer["unread"][0].remedy
    (finding,) = findings.judge(findings.Situation(devices=answer["devices"], level_zero=answer["level_zero"]))
    assert (finding.id, finding.severity) == (identifier, "critical")

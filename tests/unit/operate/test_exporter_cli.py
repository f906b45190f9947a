"""`xpukit exporter` and `xpukit monitor` as they are typed; xpu-smi's readings."""

from __future__ import annotations

from pathlib import Path

import prometheus_client  # noqa: F401  (its import reads /proc, which a test may not)
import pytest

from tests.machines.dict_host import DictHost
from tests.machines.recorded_machines import RECORDED
from xpukit.cli.app import run
from xpukit.cli.exporter import ask_smi
from xpukit.core.machine import Device, Machine
from xpukit.facts.exporter_metrics import load_exporter_sources
from xpukit.host.answers import Ran

# In the form of xpu-smi 1.x; the values are ours.
OLD = (
    "Timestamp, DeviceId, Reset Counter, Cache Errors Correctable, Cache Errors Uncorrectable, GPU Memory Used (MiB), "
    "PCIe Read (kB/s), PCIe Write (kB/s)\n"
    "10:11:12.000,    0, 2, N/A, 1, 512.50, 100, 200\n"
)
# And of 2.x.
NEW = (
    "Timestamp, DeviceId, ras.reset, ras.cache.errors.correctable, ras.cache.errors.uncorrectable, memory.used (MiB), "
    "pcie.rx.throughput.kbs (kB/s), pcie.tx.throughput.kbs (kB/s)\n"
    "10:11:12.000, 0, 2, N/A, 1, 512.50, 100, 200\n"
)
READINGS = {
    "resets": 2,
    "cache_errors_uncorrectable": 1,
    "memory_used": 512.5,
    "pcie_read": 100,
    "pcie_write": 200,
}


def make_machine() -> Machine:
    device = Device(
        index=0, bdf="0000:03:00.0", vendor_id="8086", device_id="e211", name="B60", known=True, xpu_smi_index=0
    )
    return Machine(devices=(device, Device(index=1, bdf="x", vendor_id="8086", device_id="1", name="", known=False)))


def make_host(*answers: Ran) -> DictHost:
    forms = load_exporter_sources().xpu_smi_dump.arguments
    argvs = [("xpu-smi", *(word.replace("{device}", "0") for word in form)) for form in forms]
    return DictHost(commands=dict(zip(argvs, answers, strict=False)))


def test_xpu_smi_1() -> None:
    host = make_host(Ran(argv=(), rc=0, out=OLD.encode()))
    assert ask_smi(host, make_machine()) == {"0000:03:00.0": READINGS}


def test_xpu_smi_2_is_asked_in_its_own_words() -> None:
    refused = Ran(argv=(), rc=106, err=b"The following argument was not expected: -d\n")
    host = make_host(refused, Ran(argv=(), rc=0, out=NEW.encode()))
    assert ask_smi(host, make_machine()) == {"0000:03:00.0": READINGS}


def test_several_cards_are_asked_in_one_call_or_one_by_one() -> None:
    cards = tuple(
        Device(index=i, bdf=f"c{i}", vendor_id="8086", device_id="1", name="", known=True, xpu_smi_index=i)
        for i in (0, 1)
    )
    header, row = OLD.splitlines()
    form = load_exporter_sources().xpu_smi_dump.arguments[0]
    told = {which: ("xpu-smi", *(word.replace("{device}", which) for word in form)) for which in ("0,1", "0", "1")}
    both = f"{header}\n{row}\n{row.replace('   0,', '   1,')}\n"
    host = DictHost(commands={told["0,1"]: Ran(argv=(), rc=0, out=both.encode())})
    assert ask_smi(host, Machine(devices=cards)) == {"c0": READINGS, "c1": READINGS}
    refused = [("xpu-smi", *(word.replace("{device}", which) for word in form)) for which in ("0,1",)]
    single = f"{header}\n{row}\n".encode()
    new_form = load_exporter_sources().xpu_smi_dump.arguments[1]
    commands = {argv: Ran(argv=(), rc=1) for argv in refused}
    commands[("xpu-smi", *(word.replace("{device}", "0,1") for word in new_form))] = Ran(argv=(), rc=1)
    commands[told["0"]] = Ran(argv=(), rc=0, out=single)
    commands[told["1"]] = Ran(argv=(), rc=0, out=single.replace(b"   0,", b"   1,"))
    assert ask_smi(DictHost(commands=commands), Machine(devices=cards)) == {"c0": READINGS, "c1": READINGS}


def test_a_tool_that_is_not_there_is_asked_once() -> None:
    host = DictHost()
    assert ask_smi(host, make_machine()) == {}
    assert len([question for question in host.asked if question[0] == "run"]) == 1


def test_a_recording_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["exporter", "--from", str(RECORDED / "b60x4_bmc.tar.xz")]) == 0
    told = capsys.readouterr().out
    assert told.count("hw_gpu_info{") == 4
    assert 'hw_gpu_pcie_link_degraded{aspect="width",hw_id="0000:7e:00.0"' in told
    assert "# TYPE hw_energy_joules_total counter" in told


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["exporter", "--listen", "everywhere"], "not an address"),
        (["--json", "exporter"], "text form"),
        (["--from", str(RECORDED / "a770.tar.xz"), "monitor", "print"], "not on a recorded one"),
        (["monitor", "print", "--engine", "tgi=h:1"], "which engine"),
    ],
)
def test_wrong_usage(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == 2
    assert said in capsys.readouterr().err


def test_monitor_print(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["monitor", "print"]) == 0
    assert capsys.readouterr().out.startswith("# Written by xpukit monitor.")
    assert run(["monitor", "print", "--dir", str(tmp_path / "m"), "--listen", "0.0.0.0"]) == 0
    told = capsys.readouterr()
    assert "without encryption" in told.err
    assert (tmp_path / "m" / "secrets" / "grafana_admin_password").read_text(
        encoding="utf-8"
    ) not in told.out + told.err
    assert (tmp_path / "m" / "grafana" / "dashboards" / "hardware.json").exists()


def test_the_page_names_every_metric(repo: Path) -> None:
    from xpukit.facts.exporter_metrics import load_exporter_metrics

    page = (repo / "docs" / "exporter.md").read_text(encoding="utf-8")
    for name, metric in load_exporter_metrics().items():
        assert f"`{name}`" in page
        assert not metric.otel or f"`{metric.otel}`" in page


def test_the_page_names_every_alert(repo: Path) -> None:
    import re

    from xpukit.operate.monitor.dashboards import data_directory

    page = (repo / "docs" / "monitor.md").read_text(encoding="utf-8")
    for path in (data_directory() / "rules").glob("*.yml"):
        for alert in re.findall(r"- alert: (\w+)", path.read_text(encoding="utf-8")):
            assert f"`{alert}`" in page

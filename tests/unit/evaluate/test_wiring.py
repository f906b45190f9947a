"""What xpu-smi's matrix says of pairs: rows, evidence beside copies, and what goes over Xe Link instead of PCIe."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.machines.dict_host import DictHost
from tests.unit.evaluate.memory_scopes import make_gpu, make_scope
from xpukit.core.machine import Device, Link, LinkEnd, Machine
from xpukit.core.measurement import Measurement, Target, make_key
from xpukit.evaluate.benchmarks import xpu_smi_topology
from xpukit.evaluate.explain_p2p import explain_p2p
from xpukit.evaluate.limits import gather_limits
from xpukit.evaluate.link_way import Links
from xpukit.evaluate.parsers.xpu_smi_topology import parse_topology
from xpukit.evaluate.reference import ReferenceBook
from xpukit.evaluate.result import Result
from xpukit.evaluate.summary import describe_cells
from xpukit.evaluate.verdict import judge_all
from xpukit.evaluate.wiring import convert_topology, list_fabric_pairs
from xpukit.facts.p2p import load_wiring
from xpukit.facts.suites import JudgeSettings
from xpukit.host.answers import Ran

DATA = Path(__file__).resolve().parents[2] / "data" / "xpu-smi"
ONE, OTHER = "0000:18:00.0", "0000:3a:00.0"


def read(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


def make_max(index: int, bdf: str, port: str) -> Device:
    """A card on PCIe 5.0 x16, on a root port of its own."""
    end = LinkEnd(bdf=port, partner_bdf=bdf, current_speed_gts=32.0, max_speed_gts=32.0, current_width=16, max_width=16,
                  partner_max_speed_gts=32.0, partner_max_width=16)  # fmt: skip
    link = Link(read_at=bdf, current_speed_gts=32.0, current_width=16, max_speed_gts=32.0, max_width=16, hops=(end,),
                limit_gbps=63.0, current_gbps=63.0, limited_by=port)  # fmt: skip
    return Device(index=index, bdf=bdf, vendor_id="8086", device_id="0bd5", name="Max 1550", known=True, path=(port,),
                  link=link, numa_node=index, discrete=True, driver="i915", driver_version="1", render_node="/dev/x")  # fmt: skip


MACHINE = Machine(devices=(make_max(0, ONE, "0000:15:01.0"), make_max(1, OTHER, "0000:37:01.0")))


def wired(kind: str) -> Measurement:
    found = load_wiring().find(kind)
    assert found is not None
    return Measurement(
        key=make_key("p2p", "wiring", (ONE, OTHER)), unit="rank", samples=(float(found.rank),), higher_is_better=False,
        note=f"{kind}: {found.summary}",
    )  # fmt: skip


def copied(gbps: float, path: str = "peer") -> Measurement:
    key = make_key("p2p", "peak_bandwidth", (ONE, OTHER), mode="write", direction="uni", path=path)
    return Measurement(key=key, unit="GB/s", samples=(gbps,), verified=True)


def judge(*measurements: Measurement) -> dict[tuple[str, str], Result]:
    targets = [
        Target(label=device.bdf, kind="gpu", name="Max 1550", bdf=device.bdf, device_id="0bd5")
        for device in MACHINE.devices
    ]
    fabrics = list_fabric_pairs((item.key, item.samples[0]) for item in measurements)
    rows = judge_all(
        [("tools", item) for item in measurements], (), (),
        book=ReferenceBook((), targets, links=Links(MACHINE, fabrics=fabrics)),
        limits=gather_limits(MACHINE, targets), settings=JudgeSettings(),
    )  # fmt: skip
    return {(row.metric, str(row.params.get("path", ""))): row for row in rows}


def test_every_word_of_the_parser_is_known() -> None:
    for word in ("MDF", "PIX", "PXB", "PHB", "NODE", "SYS", "XL8", "XL24", "XL*"):
        assert load_wiring().find(word) is not None
    assert load_wiring().find("S") is None
    assert load_wiring().find("XLab") is None
    ranks = [kind.rank for kind in load_wiring().kind]
    assert ranks == sorted(set(ranks))


def test_rows_of_tiles() -> None:
    labels = {(card, tile): f"{bdf}/tile{tile}" for card, bdf in enumerate((ONE, OTHER)) for tile in (0, 1)}
    rows = {row.key.devices: row for row in convert_topology(parse_topology(read("1.0-topology-m.txt")), labels, 1)}
    assert len(rows) == 6
    assert rows[f"{ONE}/tile0", f"{ONE}/tile1"].note == "MDF: tiles of one card, by its die-to-die fabric"
    assert rows[f"{ONE}/tile0", f"{OTHER}/tile0"].note.startswith("XL8: ")
    assert rows[f"{ONE}/tile0", f"{OTHER}/tile1"].note.startswith("XL*: ")


def test_a_generation_says_what_it_does_not_look_at() -> None:
    labels = {(0, 0): ONE, (1, 0): OTHER}
    (old,) = convert_topology(parse_topology(read("1.3.7-topology-m.txt")), labels, 1)
    (new,) = convert_topology(parse_topology(read("2.0-topology-m.txt")), labels, 2)
    assert old.note == "NODE: PCIe within one NUMA node (xpu-smi 1.x does not tell switches and root ports apart)"
    assert new.note == "PIX: one PCIe switch above both (xpu-smi 2.x does not look for Xe Link)"


def test_halves_that_contradict_each_other_give_no_row() -> None:
    text = read("1.3.7-topology-m.txt").replace("GPU 1/0  NODE ", "GPU 1/0  SYS  ")
    assert not convert_topology(parse_topology(text), {(0, 0): ONE, (1, 0): OTHER})


@pytest.mark.parametrize(("major", "name"), [(1, "1.3.7-topology-m.txt"), (2, "2.0-topology-m.txt")])
def test_the_benchmark_plans_and_reads(major: int, name: str) -> None:
    version = ("xpu-smi", "-v")
    listing = ("xpu-smi", "discovery", "-j")
    said = {1: ("1.3.7-v.txt", "1.3.7-4xB60-discovery-j.txt"), 2: ("2.0-v.txt", "2.0-4xB60-discovery-j.txt")}[major]
    commands = {
        argv: Ran(argv=argv, rc=0, out=read(file).encode()) for argv, file in zip((version, listing), said, strict=True)
    }
    host = DictHost({"/usr/bin/xpu-smi": "x"}, commands=commands)
    bdfs = [line.partition('address": "')[2][:12] for line in read(said[1]).splitlines() if "pci_bdf_address" in line]
    gpus = [
        msgspec.structs.replace(make_gpu(place), label=bdf, bdf=bdf) for place, bdf in enumerate(bdfs[:2])
    ]  # fmt: skip
    plan = xpu_smi_topology.plan(make_scope({}, *gpus, host=host))
    (job,) = plan.jobs
    assert job.argv[1:] == ("topology", "-m")
    output = xpu_smi_topology.parse(job, Ran(argv=job.argv, rc=0, out=read(name).encode()))
    assert output.problem == ""
    assert [row.key for row in output.measurements] == [promise.key for promise in job.promises]


def test_a_single_gpu_has_no_pair() -> None:
    plan = xpu_smi_topology.plan(make_scope({}, make_gpu(0), host=DictHost()))
    assert (plan.jobs, plan.skips) == ((), ())


def test_a_matrix_that_is_refused_is_a_reason() -> None:
    gpus = (make_gpu(0), make_gpu(1))
    (job,) = xpu_smi_topology.plan(make_scope({}, *gpus, host=DictHost())).jobs
    output = xpu_smi_topology.parse(job, Ran(argv=job.argv, rc=106, err=b"The following argument was not expected: -m"))
    assert "not expected" in output.problem
    assert not output.measurements


def test_pcie_does_not_bound_what_goes_over_xe_link() -> None:
    rows = judge(wired("XL"), copied(120.0), copied(90.0, path="host"))
    assert rows["peak_bandwidth", "peer"].verdict == "no-baseline"
    assert rows["peak_bandwidth", "host"].verdict == "unknown"  # through the host it does cross PCIe
    assert rows["wiring", ""].verdict == "no-baseline"
    assert describe_cells(rows["wiring", ""])[-1] == "no-baseline: XL: Xe Link directly between the two"
    assert judge(wired("SYS"), copied(120.0))["peak_bandwidth", "peer"].verdict == "unknown"
    assert judge(copied(120.0))["peak_bandwidth", "peer"].verdict == "unknown"


def test_a_slow_pair_on_xe_link_is_not_explained_by_pcie() -> None:
    reference = {"ratio": 0.3, "verdict": "fail", "value": 12.0}
    for kind, expected in (("XL", ["XPK-P2P-UNEXPLAINED"]), ("SYS", ["XPK-P2P-SOCKETS"])):
        rows = [
            msgspec.structs.replace(row, **reference) if row.metric == "peak_bandwidth" else row
            for row in judge(wired(kind), copied(12.0)).values()
        ]
        findings = explain_p2p(MACHINE, rows)
        assert [finding.id for finding in findings] == expected, kind
        shown = [(row.source, row.value) for row in findings[0].evidence]
        assert ("xpu-smi topology -m", wired(kind).note) in shown
    text = " ".join(row.value for row in explain_p2p(MACHINE, [
        msgspec.structs.replace(row, **reference) if row.metric == "peak_bandwidth" else row
        for row in judge(wired("XL"), copied(12.0)).values()
    ])[0].evidence)  # fmt: skip
    assert "PCIe: carries nothing here, between the two is Xe Link" in text

"""`sysinfo diff`: what is a difference, what is noise, and what is not known."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from tests.machines.recorded_machines import RECORDED, list_machines, read_machine
from xpukit.cli.app import run
from xpukit.core.finding import Finding, Unchecked
from xpukit.core.machine import Device, Firmware, Machine, SoftwareItem
from xpukit.facts.diff_rules import load_diff_rules
from xpukit.host.mediated import Question
from xpukit.sysinfo.diff import compare_sides
from xpukit.sysinfo.diff_machine import pair_devices
from xpukit.sysinfo.diff_result import AREAS, AnswerText, Difference, Side, SideInfo, SysinfoDiff


def make_side(
    machine: Machine | None = None,
    *,
    answers: dict[Question, str] | None = None,
    findings: tuple[Finding, ...] = (),
    unchecked: tuple[Unchecked, ...] = (),
) -> Side:
    return Side(
        info=SideInfo(source="x", host="h"),
        machine=machine or Machine(),
        findings=findings,
        unchecked=unchecked,
        answers={
            question: AnswerText(error=text[1:]) if text.startswith("!") else AnswerText(text=text)
            for question, text in (answers or {}).items()
        },
    )


def compare_texts(question: Question, old: str, new: str) -> SysinfoDiff:
    return compare_sides(make_side(answers={question: old}), make_side(answers={question: new}))


def list_rows(result: SysinfoDiff) -> list[tuple[str, str, str, str]]:
    return [(one.kind, one.what, one.old, one.new) for one in result.differences]


def make_gpu(bdf: str, **fields: object) -> Device:
    return Device(
        **{"index": 0, "bdf": bdf, "vendor_id": "8086", "device_id": "e211", "name": "B60", "known": True, **fields}
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list_machines())
def test_a_machine_is_the_same_as_itself(name: str) -> None:
    side = make_side(read_machine(name), findings=read_machine(name).findings)
    result = compare_sides(side, side)
    assert result.same
    assert result.differences == ()


def test_small_bar_against_full_bar(capsys: pytest.CaptureFixture[str], repo: Path) -> None:
    argv = [str(RECORDED / "a770.tar.xz"), str(RECORDED / "a770_small_bar.tar.xz")]
    assert run(["sysinfo", "diff", *argv]) == 0
    out = capsys.readouterr().out
    assert "16 GiB" in out
    assert "256 MiB" in out
    assert "XPK-PROBE-BAR-SMALL" in out
    assert "(not read)" in out
    assert run(["sysinfo", "diff", "--exit-code", *argv]) == 1
    assert run(["sysinfo", "diff", "--exit-code", argv[0], argv[0]]) == 0
    capsys.readouterr()
    assert run(["sysinfo", "diff", "--json", *argv]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["same"] is False
    jsonschema.validate(
        document, json.loads((repo / "docs" / "schemas" / "xpukit.sysinfo-diff-1.json").read_text(encoding="utf-8"))
    )
    areas = [AREAS.index(one["area"]) for one in document["differences"]]
    assert areas == sorted(areas)
    # The ordinary user of the second machine may not read debugfs: its firmware is not gone.
    firmware = [one["kind"] for one in document["differences"] if one["what"].endswith(" firmware")]
    assert set(firmware) == {"unread"}


def test_kernel_command_line_by_token() -> None:
    result = compare_texts(
        ("read", "/proc/cmdline"),
        "BOOT_IMAGE=/vmlinuz-6.8 root=UUID=1 quiet a=1 a=2\n",
        "BOOT_IMAGE=/vmlinuz-6.14 root=UUID=2 quiet a=1 a=3 iommu=pt\n",
    )
    assert list_rows(result) == [
        ("changed", "kernel command line a", "1 2", "1 3"),
        ("added", "kernel command line iommu", "", "pt"),
    ]


@pytest.mark.parametrize(
    ("question", "old", "new", "row"),
    [
        (("read", "/proc/sys/vm/swappiness"), "60\n", "1\n", ("changed", "sysctl vm.swappiness", "60", "1")),
        (
            ("run", "sysctl", "-a"),
            "vm.swappiness = 60\n",
            "vm.swappiness = 1\n",
            ("changed", "sysctl vm.swappiness", "60", "1"),
        ),
        (("read", "/sys/module/xe/parameters/p"), "0", "1", ("changed", "module parameter xe/parameters/p", "0", "1")),
        (
            ("read", "/sys/module/xe/parameters/p"),
            "!ENOENT",
            "1",
            ("added", "module parameter xe/parameters/p", "", "1"),
        ),
        (("env", "ZE_AFFINITY_MASK"), "0", "!ENOENT", ("removed", "environment ZE_AFFINITY_MASK", "0", "")),
        (
            ("read", "/proc/self/limits"),
            "Max locked memory         8388608     8388608     bytes\n",
            "Max locked memory         unlimited   unlimited   bytes\n",
            ("changed", "limit Max locked memory", "8388608 8388608 bytes", "unlimited unlimited bytes"),
        ),
        (
            ("run", "dpkg-query", "-W", "libze*"),
            "libze1\t1.28\tamd64\tii \nlibze2\t1\tamd64\trc \n",
            "libze1\t1.29\tamd64\tii \n",
            ("changed", "package libze1", "1.28", "1.29"),
        ),
        (("run", "dpkg-query", "-W", "xz"), "xz\t1\tii \n", "xz\t1\trc \n", ("removed", "package xz", "1", "")),
    ],
)
def test_settings_and_packages(question: Question, old: str, new: str, row: tuple[str, str, str, str]) -> None:
    result = compare_texts(question, old, new)
    assert list_rows(result) == [row]
    assert result.answers == ()


def test_what_could_not_be_read_is_no_difference() -> None:
    for error in ("!EACCES", "!ETIMEDOUT"):
        assert list_rows(compare_texts(("read", "/proc/sys/vm/swappiness"), error, "1")) == []


def test_what_only_one_side_was_asked_is_counted_only() -> None:
    result = compare_sides(make_side(answers={("read", "/proc/cmdline"): "iommu=pt", ("read", "/x"): "1"}), make_side())
    assert result.same
    assert (result.only_in_a, result.only_in_b) == (2, 0)


def test_a_variable_is_unset_where_all_of_its_beginning_were_listed() -> None:
    a = make_side(answers={("env", "ZE_X"): "1", ("env-names", "ZE_"): "ZE_X"})
    assert list_rows(compare_sides(a, make_side(answers={("env-names", "ZE_"): ""}))) == [
        ("removed", "environment ZE_X", "1", "")
    ]
    assert compare_sides(a, make_side(answers={("env-names", "CCL_"): ""})).same


@pytest.mark.parametrize(
    ("question", "old", "new"),
    [
        (("read", "/proc/uptime"), "1 2", "3 4"),
        (("read", "/sys/class/hwmon/hwmon1/temp1_input"), "41000", "42000"),
        (("run", "dmesg"), "[    1.234567] xe: loaded", "[    1.998877] xe: loaded"),
        (("run", "ldd", "x"), "libc (0x00007fc51e3cd000)", "libc (0x00007f9da331f000)"),
        (("run", "stat", "x"), "at 2026-11-21T15:04:14Z", "at 2026-11-22 16:05:15"),
        (("run", "docker", "ps"), "vllm Up 3 hours", "vllm Up 4 hours"),
    ],
)
def test_noise(question: Question, old: str, new: str) -> None:
    assert compare_texts(question, old, new).same


def test_answers_that_differ_have_their_lines_counted() -> None:
    result = compare_texts(("run", "dmesg"), "[1.0] a\n[2.0] b", "[1.5] a\n[2.5] c\n[3.0] d")
    assert not result.same
    (one,) = result.answers
    assert (one.question, one.lines_a, one.lines_b) == ("run dmesg", 1, 2)
    assert one.sample == ("- b", "+ c", "+ d")


def test_cards_are_paired_by_address_and_then_by_kind() -> None:
    a = [make_gpu("0000:03:00.0"), make_gpu("0000:18:00.0")]
    b = [make_gpu("0000:18:00.0"), make_gpu("0000:3a:00.0"), make_gpu("0000:5c:00.0", device_id="56a0")]
    pairs = [(old and old.bdf, new and new.bdf) for old, new in pair_devices(a, b)]
    assert sorted(pairs, key=str) == sorted(
        [("0000:18:00.0", "0000:18:00.0"), ("0000:03:00.0", "0000:3a:00.0"), (None, "0000:5c:00.0")], key=str
    )


def test_a_moved_card_keeps_its_findings() -> None:
    old, new = make_gpu("0000:03:00.0"), make_gpu("0000:18:00.0")
    finding = Finding(id="XPK-X", severity="warning", summary="0000:03:00.0: slow", subject="0000:03:00.0")
    moved = msgspec.structs.replace(finding, summary="0000:18:00.0: slow", subject="0000:18:00.0")
    a = make_side(Machine(devices=(old,)), findings=(finding,))
    b = make_side(Machine(devices=(new,)), findings=(moved,))
    assert list_rows(compare_sides(a, b)) == [("changed", "address", "0000:03:00.0", "0000:18:00.0")]


def test_findings_new_gone_and_changed() -> None:
    one = Finding(id="XPK-A", severity="warning", summary="s")
    gone = Finding(id="XPK-B", severity="info", summary="t")
    worse = msgspec.structs.replace(one, severity="critical")
    new = Finding(id="XPK-C", severity="info", summary="u", subject="cpu")
    result = compare_sides(make_side(findings=(one, gone)), make_side(findings=(worse, new)))
    assert list_rows(result) == [
        ("changed", "XPK-A", "warning: s", "critical: s"),
        ("added", "XPK-C", "", "info: u"),
        ("removed", "XPK-B", "info: t", ""),
    ]


def test_firmware_and_software() -> None:
    def machine(guc: str, *software: SoftwareItem) -> Machine:
        firmware = (Firmware(name="GuC", version=guc, source="debugfs"),) if guc else ()
        return Machine(devices=(make_gpu("0000:03:00.0", firmware=firmware),), software=software)

    old = machine("70.44", SoftwareItem(name="oneCCL", version="2021.15"), SoftwareItem(name="daemon", version="28"))
    new = machine("70.49", SoftwareItem(name="oneCCL", note="not found"), SoftwareItem(name="daemon", note="denied"))
    assert compare_sides(make_side(old), make_side(new)).differences == (
        Difference(area="stack", kind="removed", what="oneCCL", old="2021.15"),
        Difference(area="stack", kind="changed", what="GuC firmware", old="70.44", new="70.49", subject="0000:03:00.0"),
        Difference(area="stack", kind="unread", what="daemon", old="28"),
    )
    assert compare_sides(make_side(machine("70.44")), make_side(machine(""))).same


def test_memory_that_a_kernel_keeps_is_no_difference() -> None:
    size = 64 << 30
    assert compare_sides(make_side(Machine(memory_bytes=size)), make_side(Machine(memory_bytes=size - (64 << 20)))).same
    assert not compare_sides(make_side(Machine(memory_bytes=size)), make_side(Machine(memory_bytes=size // 2))).same


def test_every_rule_says_why() -> None:
    rules = load_diff_rules()
    assert all(rule.why for rule in (*rules.setting, *rules.package, *rules.skip, *rules.noise))


@pytest.mark.parametrize(
    ("argv", "words"),
    [(["/no/a", "/no/b"], "no such recording"), (["a", "b", "c"], "compares two"), ([], "A [B]")],
)
def test_bad_usage(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sysinfo", "diff", *argv]) == 2
    assert words in capsys.readouterr().err

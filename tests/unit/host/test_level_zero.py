"""The parts of the Level Zero room that need no loader."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.host.answers import Ran
from xpukit.host.level_zero import api, names
from xpukit.host.level_zero.__main__ import parse_options
from xpukit.host.level_zero.calls import Calls, format_bdf, format_version, keep_known
from xpukit.host.level_zero.child import ask_in_child, read_answer, split_trace
from xpukit.host.level_zero.names import name_flags, name_result, name_value
from xpukit.host.level_zero.outcome import judge_start, judge_unloadable, list_refused_nodes
from xpukit.host.level_zero.snapshot import LevelZeroAnswer, LevelZeroDevice, RefusedCall, Sysman

DEVICE = LevelZeroDevice(
    driver_index=0, index=0, type="gpu", name="B60", vendor_id=0x8086, device_id=0xE211, uuid="86", bdf="0000:03:00.0"
)
GOOD = LevelZeroAnswer(status="ok", devices=(DEVICE,))


def encode(answer: LevelZeroAnswer) -> bytes:
    return msgspec.json.encode(answer)


def ran(out: bytes = b"", *, rc: int = 0, failure: str = "", err: bytes = b"") -> Ran:
    return Ran(argv=("python",), rc=rc, out=out, err=err, seconds=1.5, failure=failure)


class Script:
    """Answers runs one after the other and keeps what was asked."""

    def __init__(self, *answers: Ran) -> None:
        self.answers = list(answers)
        self.sysman: list[str] = []
        self.timeouts: list[float] = []

    def __call__(self, argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str] | None = None) -> Ran:
        self.sysman.append(argv[list(argv).index("--sysman") + 1])
        self.timeouts.append(timeout_s)
        return self.answers.pop(0)


def test_numbers_beyond_the_tables_are_shown() -> None:
    assert name_flags(0b1000000001, names.THROTTLE_REASONS) == ("average-power-cap", "power")
    assert name_flags(1 << 12, names.THROTTLE_REASONS) == ("bit 12",)
    assert name_value(5, names.DEVICE_TYPES) == "npu"
    assert name_value(99, names.DEVICE_TYPES) == "value 99"
    assert name_value(99, names.MEMORY_HEALTH) == "value 99"
    assert (name_result(0x78000003), name_result(7)) == ("ERROR_UNSUPPORTED_FEATURE", "UNKNOWN_CODE")


@given(st.integers(min_value=0, max_value=0xFFFFFFFF))
def test_every_set_bit_gets_one_name(bits: int) -> None:
    assert len(set(name_flags(bits, names.THROTTLE_REASONS))) == bits.bit_count()


def test_text_forms() -> None:
    address = api.PciAddress(0, 0x83, 0x1F, 7)
    assert format_bdf(address) == "0000:83:1f.7"
    assert format_version(0x0001_000C) == "1.12"
    assert keep_known(b"unkown\0junk") is None
    assert keep_known(b"") is None
    assert keep_known(b"Arc\xff\0") == "Arc�"


def test_make_sets_type_and_chain() -> None:
    extra = api.make(api.MemoryExtProperties)
    made = api.make(api.MemoryProperties, extra)
    assert made.stype == 7  # type: ignore[attr-defined]
    assert made.pNext == ctypes.addressof(extra)  # type: ignore[attr-defined]


def test_answer_survives_the_pipe() -> None:
    tile = msgspec.structs.replace(DEVICE, mask_composite="0.1", is_subdevice=True)
    answer = LevelZeroAnswer(
        status="ok", devices=(msgspec.structs.replace(DEVICE, tiles=(tile,), sysman=Sysman(brand="Arc")),)
    )
    assert read_answer(ran(encode(answer))) == answer


def test_complete_answer_counts_although_the_process_died() -> None:
    assert read_answer(ran(encode(GOOD), rc=-11, failure="signal:11")) == GOOD


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        (ran(rc=-11, failure="signal:11", err=b"@level-zero zeInit\n"), "crashed", "SIGSEGV in zeInit"),
        (
            ran(rc=-9, failure="timeout", err=b"@level-zero zeDeviceGet driver 0\n"),
            "timeout",
            "in zeDeviceGet driver 0",
        ),
        (ran(b"hello", rc=3), "garbled", "exit 3"),
        (ran(rc=1, err=b"Traceback\nImportError: libffi.so.8\n"), "garbled", "ImportError: libffi.so.8"),
        (ran(rc=126, failure="denied"), "denied", "could not be started"),
        (ran(rc=127, failure="not-found"), "garbled", "could not be started"),
        (ran(b'{"status": "fine"}'), "garbled", "status"),
    ],
)
def test_failed_child_is_an_answer(said: Ran, status: str, words: str) -> None:
    answer = read_answer(said)
    assert answer.status == status
    assert words in answer.detail


@given(
    out=st.binary(),
    err=st.binary(),
    rc=st.integers(-70, 255),
    failure=st.sampled_from(["", "timeout", "signal:11", "signal:x", "EIO"]),
)
def test_no_output_breaks_the_reader(out: bytes, err: bytes, rc: int, failure: str) -> None:
    answer = read_answer(ran(out, rc=rc, failure=failure, err=err))
    assert answer.status in ("ok", "crashed", "timeout", "garbled")
    assert answer.detail or answer.status == "ok"


def test_trace_is_told_from_what_drivers_print() -> None:
    err = b"@level-zero load x\nDRM: \xff wedged\n@level-zero zesInit\n\n"
    assert split_trace(err) == ("zesInit", "DRM: � wedged")
    assert split_trace(b"") == ("", "")


def test_one_good_child_is_enough() -> None:
    script = Script(ran(encode(GOOD)))
    assert ask_in_child(script, timeout_s=10) == GOOD
    assert script.sysman == ["auto"]


def test_crash_in_sysman_is_asked_again_without() -> None:
    crash = ran(rc=-11, failure="signal:11", err=b"@level-zero zesPowerGetProperties 0000:03:00.0\n")
    script = Script(crash, ran(encode(GOOD)))
    answer = ask_in_child(script, timeout_s=10)
    assert (answer.status, answer.devices, script.sysman) == ("ok", (DEVICE,), ["auto", "none"])
    assert answer.detail == "sysman left out: killed by SIGSEGV in zesPowerGetProperties 0000:03:00.0"
    assert answer.errors == (
        RefusedCall(call="zesPowerGetProperties", code_hex="", name="CRASHED_SIGSEGV", devices=("0000:03:00.0",)),
    )
    assert sum(script.timeouts) == pytest.approx(10)


def test_crash_in_core_is_not_asked_again() -> None:
    script = Script(ran(rc=-11, failure="signal:11", err=b"@level-zero zeInit\n"))
    assert ask_in_child(script).status == "crashed"
    assert script.answers == []


def test_when_both_children_die_the_first_says_why() -> None:
    crash = ran(rc=-11, failure="signal:11", err=b"@level-zero zesInit\n")
    answer = ask_in_child(Script(crash, ran(rc=-6, failure="signal:6", err=b"@level-zero zeInit\n")))
    assert (answer.status, answer.errors[0].call) == ("crashed", "zesInit")


def test_driver_older_than_zesinit_is_asked_the_old_way() -> None:
    refused = (RefusedCall(call="zesInit", code_hex="0x78000003", name="ERROR_UNSUPPORTED_FEATURE"),)
    old = LevelZeroAnswer(
        status="ok", devices=(msgspec.structs.replace(DEVICE, sysman=Sysman()),), sysman_mode="ZES_ENABLE_SYSMAN"
    )
    first = msgspec.structs.replace(GOOD, errors=refused)
    script = Script(ran(encode(first)), ran(encode(old)))
    assert ask_in_child(script) == old
    assert script.sysman == ["auto", "legacy"]
    assert ask_in_child(Script(ran(encode(first)), ran(encode(GOOD)))) == first


def test_reasons_of_a_failed_start() -> None:
    assert judge_start(0, devices=3, sysman_works=False) == ("ok", "", "")
    status, detail, remedy = judge_start(api.INSUFFICIENT_PERMISSIONS, devices=0, sysman_works=False)
    assert (status, detail) == ("denied", "zeInit: 0x70010000 ERROR_INSUFFICIENT_PERMISSIONS")
    assert "render" in remedy
    absent = judge_unloadable(
        "libze_loader.so.1", "libze_loader.so.1: cannot open shared object file: No such file", {}
    )
    assert absent.status == "no-loader"
    assert "libze1" in absent.remedy
    denied = judge_unloadable("/x.so", "/x.so: cannot open shared object file: Permission denied", {})
    assert denied.status == "denied"


def test_render_nodes_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list_refused_nodes(str(tmp_path / "none")) == []
    for name in ("renderD128", "renderD129", "card0"):
        (tmp_path / name).touch()
    assert list_refused_nodes(str(tmp_path)) == []
    # root may open everything, so what the kernel would say to another user has to be said for it
    monkeypatch.setattr(os, "access", lambda path, mode: path.endswith("card0"))
    assert list_refused_nodes(str(tmp_path)) == [f"{tmp_path}/renderD128", f"{tmp_path}/renderD129"]


def test_options() -> None:
    assert parse_options([]) == {"loader": "libze_loader.so.1", "sysman": "auto"}
    assert parse_options(["--sysman", "none", "--loader", "/x"]) == {"loader": "/x", "sysman": "none"}
    for wrong in (["--sysman"], ["--what", "x"]):
        with pytest.raises(SystemExit):
            parse_options(wrong)


class RubbishLibrary:
    """Says that there are four thousand million of everything, and hands out none."""

    def call(self, name: str, *arguments: object) -> int | None:
        if name == "zeInit":
            return None
        count = arguments[-2]
        count._obj.value = 0 if arguments[-1] is not None else 0xFFFFFFFF  # type: ignore[attr-defined]
        return 0


def test_rubbish_counts_do_not_allocate_gigabytes() -> None:
    traced: list[str] = []
    calls = Calls(RubbishLibrary(), traced.append)  # type: ignore[arg-type]
    calls.subject = "driver 0"
    assert calls.count("zeDriverGet") == 4096
    assert calls.handles("zeDriverGet") == []
    assert calls.structures("zeDeviceGetMemoryProperties", None, api.MemoryProperties) == []
    assert not calls.ok("zeInit", 0)
    assert calls.refused() == (
        RefusedCall(call="zeInit", code_hex="", name="NOT_IN_THIS_LOADER", devices=("driver 0",)),
    )
    assert traced[-1] == "zeInit driver 0"

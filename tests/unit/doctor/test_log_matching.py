"""Each known error is found by its example, however the line was printed, and by nothing else."""

from __future__ import annotations

import io
import json
import random
import re
import textwrap
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xpukit.doctor.log_report import LogReport
from xpukit.doctor.log_scan import scan_logs
from xpukit.facts.known_errors import KnownError, choose_pieces, load_known_errors

ROWS = [row for row in load_known_errors() if row.example]
BY_ID = {row.id: row for row in ROWS}
# A message of much plain text may be broken twice, of less once; what has next to none is found on one line only.
STURDY = [row for row in ROWS if "\n" not in row.example and all(len(choose_pieces(p)) > 4 for p in row.patterns)]
SHORT = [
    row
    for row in ROWS
    if "\n" not in row.example and row not in STURDY and all(len(choose_pieces(p)) > 1 for p in row.patterns)
]

PREFIXES = (
    "{n}",
    "vllm-1  | ",
    "vllm-1  | (EngineCore_0 pid={n}) ERROR 11-21 12:00:{s} [core.py:{n}] ",
    "(Worker_TP0 pid={n}) ERROR 11-21 12:00:{s} [multiproc_executor.py:962] ",
    "(RayWorkerWrapper pid={n}, ip=192.168.10.{s}) ERROR 03-27 10:29:{s} [worker_base.py:620] ",
    "Nov 21 12:00:{s} gpuhost kernel: [   12.3{n}] ",
    "Nov 21 12:00:{s} gpuhost python3[{n}]: ",
    "[{n}.{n}00000] ",
    "[   24.719785] ",
    "[Thu Mar  7 18:50:{s} 2026] ",
    "kern  :err   : [    3.100000] ",
    "2026-11-21T12:00:{s}.204796693Z ",
    "2026-11-21T12:00:{s}.204796693Z stderr F ",
    "2026-11-21T12:00:{s}+0000 gpuhost kernel: ",
    "[2026-11-21T12:00:{s}Z] (EngineCore_DP0 pid={n})   ",
    "[2026-11-21 12:00:{s} DP0 TP0] ",
    "[pod/vllm-6d4c-x2v/vllm] ",
    "[rank0]: ",
    "\x1b[1;36m(APIServer pid={n})\x1b[0;0m ",
    "1763726401.{n}123 gpuhost vllm[{n}]: ",
    "Fri 2026-11-21 12:00:{s} UTC gpuhost docker-entrypoint.sh[{n}]: ",
    "<14>1 2026-11-21T12:00:{s}.000Z gpuhost vllm {n} - - ",
    "(Worker_PP0_TP1_EP1 pid={n}) ERROR 11-21 12:00:{s} [multiproc_executor.py:596] ",
    "[default0]:[rank0]:[E1121 12:00:{s}.123456789 ProcessGroupXCCL.cpp:552] ",
    "[1,0]<stderr>:",
    "[{n}] ",
    "vllm-7c9d8f6b5d-x2k4p vllm ",
    "node-agent-x2k4p  agent-1 ",
    "2026-11-21 12:00:{s},123 - vllm.engine - ERROR - ",
    "ERROR:    ",
)


def explain(text: str) -> LogReport:
    return scan_logs([("log", io.BytesIO(text.encode()))])


def found_ids(text: str) -> set[str]:
    return {match.id for match in explain(text).matches}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_examples_match_themselves_and_nothing_else(row: KnownError) -> None:
    found = found_ids(row.example)
    assert row.id in found
    assert found <= {row.id, *row.also}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_prefixes_and_colours_do_not_matter(row: KnownError, seed: int) -> None:
    chance = random.Random(seed)
    prefix = chance.choice(PREFIXES[1:]).format(n=chance.randint(10, 99999), s=chance.randint(10, 59))
    end = chance.choice(("\n", "\r\n", "\x1b[0m\n"))
    start = chance.choice(("", "\x1b[31m", "\x1b[1;31m"))
    text = "".join(f"{prefix}{start}{line}{end}" for line in _renumber(row.example, chance).splitlines())
    found = found_ids(text)
    assert row.id in found, text
    assert found <= {row.id, *row.also}, text


def _write_bytes(line: str) -> str:
    return json.dumps({"PRIORITY": "3", "MESSAGE": list(f"\x1b[31m{line}\x1b[0m".encode()), "_PID": "7"})


WRAPS: dict[str, Callable[[str], str]] = {
    "json-file": lambda line: json.dumps({"log": f"{line}\n", "stream": "stderr", "time": "2026-11-21T12:00:00Z"}),
    "journald": lambda line: json.dumps({"__CURSOR": "s=1;i=2", "PRIORITY": "3", "MESSAGE": line}),
    "journald with colours": _write_bytes,
    "a program's own": lambda line: json.dumps({"timestamp": "x", "level": "ERROR", "message": line}),
    "its own in json-file": lambda line: json.dumps({"log": json.dumps({"severity": "error", "msg": line}) + "\n"}),
    "its own in compose": lambda line: "vllm-1  | " + json.dumps({"message": line}),
    "colours in words": lambda line: (
        f"{line[:7]}\x1b[0m\x1b[33m{line[7 : len(line) // 2]}\x1b[1m{line[len(line) // 2 :]}"
    ),
    "repeated in Ray": lambda line: f"(RayWorkerWrapper pid=3) {line} [repeated 3x across cluster]",
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_wraps_do_not_matter(wrap: Callable[[str], str]) -> None:
    for row in ROWS:
        found = found_ids("".join(f"{wrap(line)}\n" for line in row.example.splitlines()))
        assert row.id in found, row.id
        assert found <= {row.id, *row.also}, row.id


@pytest.mark.parametrize("row", STURDY, ids=lambda row: row.id)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_broken_lines_do_not_matter(row: KnownError, seed: int) -> None:
    """Broken in up to two places, in the middle of words as terminals do, with the prefix repeated or not."""
    chance = random.Random(seed)
    text = row.example
    prefix = chance.choice(("", "vllm-1  | ", "Nov 21 12:00:01 gpuhost kernel: "))
    pieces = _break(text, chance.randint(max(40, len(text) // 3 + 1), 132))
    found = found_ids("before\n" + "".join(f"{prefix}{piece}\n" for piece in pieces) + "after\n")
    assert row.id in found, pieces
    assert found <= {row.id, *row.also}


@pytest.mark.parametrize("row", SHORT, ids=lambda row: row.id)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, 200))
def test_short_messages_may_be_broken_once(row: KnownError, cut: int) -> None:
    text = row.example
    cut = 1 + cut % (len(text) - 1)
    found = found_ids(f"before\n{text[:cut]}\n{text[cut:]}\nafter\n")
    assert row.id in found
    assert found <= {row.id, *row.also}


def _break(text: str, width: int) -> list[str]:
    return [text[start : start + width] for start in range(0, len(text), width)]


def test_most_entries_survive_breaking() -> None:
    assert len(STURDY) > 50
    assert len(STURDY) + len(SHORT) > 85


def _renumber(text: str, chance: random.Random) -> str:
    """Other addresses, processes, sequence numbers and pointers."""
    text = re.sub(
        r"\b[\da-f]{4}:[\da-f]{2}:[\da-f]{2}\.[0-7]",
        lambda _: f"0000:{chance.randrange(256):02x}:{chance.randrange(32):02x}.{chance.randrange(8)}",
        text,
    )
    text = re.sub(
        r"(pid[= ]|seqno=|guc_id=|\[)\d{2,12}\b(?=[\s,)\]])", lambda m: f"{m[1]}{chance.randrange(10, 10**6)}", text
    )
    return re.sub(r"\b0x[\da-f]{10,16}\b", lambda _: f"0x{chance.getrandbits(48):012x}", text)


def test_a_long_message_on_a_narrow_terminal() -> None:
    row = BY_ID["XPK-LOG-KV-CACHE-TOO-SMALL"]
    report = explain("\n".join(textwrap.wrap(row.example, 78)) + "\n")
    (match,) = report.matches
    assert match.count == 1
    assert match.values == {
        "max_model_len": ("118000",),
        "needed": ("6.30GiB",),
        "available": ("6.11GiB",),
        "suggested_max_model_len": ("114432",),
    }
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("ERROR : zeCommandQueueSynchronize(q, UINT64_MAX) : 1879048193", "ZE_RESULT_ERROR_DEVICE_LOST"),
        ("  what():  zeModuleCreate failed: 1879048196", "ZE_RESULT_ERROR_MODULE_BUILD_FAILURE"),
        ("RuntimeError: Triton Error [ZE]: 0x78000011", "ZE_RESULT_ERROR_INVALID_KERNEL_NAME"),
        ("level_zero backend failed with error: 66 (UR_RESULT_ERROR_ADAPTER_SPECIFIC)", "UR_RESULT_ERROR_ADAPTER"),
        ("GPUDeviceStub::init zeInit error: 78000001", "ZE_RESULT_ERROR_UNINITIALIZED"),
    ],
)
def test_codes_are_named(line: str, code: str) -> None:
    (match,) = explain(line).matches
    assert code in match.values["code"][0]


def test_a_special_case_takes_the_place_of_the_general_one() -> None:
    lost = "RuntimeError: level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)\n"
    assert found_ids(lost) == {"XPK-LOG-UR-DEVICE-LOST"}
    ngram = "non-default args: {'speculative_config': {'method': 'ngram'}}\n"
    assert found_ids(lost + ngram) == found_ids(ngram + lost) == {"XPK-LOG-DEVICE-LOST-NGRAM"}
    assert found_ids(ngram) == set()


def test_kernel_and_engine_are_explained_together() -> None:
    """The kernel's log says why; it stands first though it was given last."""
    engine = "RuntimeError: level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)\n"
    kernel = BY_ID["XPK-LOG-XE-ENGINE-RESET"].example + "\n"
    report = scan_logs([("vllm.log", io.BytesIO(engine.encode())), ("dmesg", io.BytesIO(kernel.encode()))])
    assert [match.id for match in report.matches] == ["XPK-LOG-XE-ENGINE-RESET", "XPK-LOG-UR-DEVICE-LOST"]
    assert report.matches[0].places[0].source == "dmesg"

"""Going through logs: streams, blocks, tracebacks, what stays unexplained, bounds, hostile input."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from xpukit.doctor import log_stream
from xpukit.doctor.log_lines import LINE_LIMIT_BYTES, parse_line, trim_line
from xpukit.doctor.log_mask import mask_line
from xpukit.doctor.log_report import LogReport
from xpukit.doctor.log_scan import scan_logs

LOGS = Path(__file__).resolve().parents[2] / "data" / "logs"
CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpus"
RESET = b"xe 0000:17:00.0: [drm] Tile0: GT0: Engine reset: engine_class=ccs, logical_mask: 0x1, guc_id=5, state=0x3\n"


def explain(data: bytes) -> LogReport:
    return scan_logs([("log", io.BytesIO(data))])


def ids(report: LogReport) -> list[str]:
    return [match.id.removeprefix("XPK-LOG-") for match in report.matches]


@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        gzip.compress,
        lzma.compress,
        bz2.compress,
        zstandard.compress,
        lambda data: data.decode().encode("utf-16"),
    ],
    ids=["plain", "gzip", "xz", "bzip2", "zstd", "utf-16"],
)
def test_packed_logs_are_read(pack) -> None:  # type: ignore[no-untyped-def]
    report = explain(pack(b"quiet\n" * 50 + RESET))
    assert ids(report) == ["XE-ENGINE-RESET"]
    assert report.sources[0].lines == 51
    assert report.matches[0].places[0].line == 51


@pytest.mark.parametrize("cut", [10, 300, 5000])
def test_a_cut_off_archive_counts_as_far_as_it_goes(cut: int) -> None:
    noise = "".join(f"line {random.Random(n).random()}\n" for n in range(20000)).encode()
    report = explain(gzip.compress(RESET + noise)[:-cut])
    assert "ended early" in report.sources[0].complaint
    assert ids(report) == ["XE-ENGINE-RESET"], "also what lies in the block that was cut"
    assert report.sources[0].lines > 10_000
    assert report.exit_code == 1
    assert explain(gzip.compress(b"all is well\n" * 9)[:-6]).exit_code == 3


def test_messages_over_the_end_of_a_block_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = RESET[:50] + b"\n", RESET[50:]
    for size in range(60, 400, 7):
        monkeypatch.setattr(log_stream, "BLOCK_BYTES", size)
        report = explain(b"one\ntwo\n" + first + second + b"three\n" * 30 + RESET)
        assert [(match.id, match.count, match.last_line) for match in report.matches] == [
            ("XPK-LOG-XE-ENGINE-RESET", 2, 35)
        ], size
        assert (report.matches[0].places[0].line, report.matches[0].places[0].last_line) == (3, 4)
        assert report.sources[0].lines == 35
        assert report.unexplained == ()


def test_repeated_lines_are_counted_and_a_few_shown() -> None:
    data = b"".join(b"[%5d.%06d] " % (n, n) + RESET.replace(b"guc_id=5", b"guc_id=%d" % n) for n in range(5000))
    (match,) = explain(data).matches
    assert (match.count, match.last_line, len(match.places)) == (5000, 5000, 3)
    assert match.values["device"] == ("0000:17:00.0",)


def test_line_without_end_is_bounded() -> None:
    report = explain(b"x" * (5 << 20) + b"\n" + RESET)
    assert ids(report) == ["XE-ENGINE-RESET"]
    assert report.sources[0].lines == 2
    assert len(trim_line(b"y" * 100_000)) == LINE_LIMIT_BYTES
    assert ids(explain(b"a" * (3 << 20) + b" " + RESET)) == ["XE-ENGINE-RESET"]  # the end of a line is kept


def test_docker_and_journal_json_are_unwrapped() -> None:
    message = RESET.decode().rstrip()
    docker = json.dumps({"log": message + "\n", "stream": "stderr", "time": "2026-11-21T12:00:00Z"})
    journal = json.dumps({"__REALTIME_TIMESTAMP": "1", "MESSAGE": message, "_HOSTNAME": "h"})
    for line in (docker, journal):
        report = explain(line.encode() + b"\n")
        assert ids(report) == ["XE-ENGINE-RESET"]
        assert report.matches[0].places[0].text == message
    assert parse_line(b'{"log": 3}').message == '{"log": 3}'


TRACEBACK = b"""\
(EngineCore_0 pid=12) ERROR 11-21 12:00:05 [core.py:718] Traceback (most recent call last):
(EngineCore_0 pid=12) ERROR 11-21 12:00:05 [core.py:718]   File "/opt/engine/core.py", line 709, in run
(Worker_TP1 pid=99) INFO 11-21 12:00:05 [worker.py:3] still here
(EngineCore_0 pid=12) ERROR 11-21 12:00:05 [core.py:718]     raise KeyError("error: not an error line")
(EngineCore_0 pid=12) ERROR 11-21 12:00:05 [core.py:718]           ^^^^^^^^^^^^^^^^
(EngineCore_0 pid=12) ERROR 11-21 12:00:05 [core.py:718] %s
(EngineCore_0 pid=12) ERROR 11-21 12:00:05 [core.py:718] The above exception was the direct cause of the following exception:
(EngineCore_0 pid=12) ERROR 11-21 12:00:05 [core.py:718] Traceback (most recent call last):
(EngineCore_0 pid=12) ERROR 11-21 12:00:05 [core.py:718]   File "/opt/engine/api.py", line 7, in start
(EngineCore_0 pid=12) ERROR 11-21 12:00:05 [core.py:718] RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


def test_the_last_line_of_a_traceback_is_its_message_and_frames_are_no_news() -> None:
    report = explain(TRACEBACK % b"acme.parts.WidgetError: the widget broke at 0x7f12")
    assert ids(report) == ["ENGINE-START-FAILED"]
    (odd,) = report.unexplained
    assert (odd.line, odd.text, odd.traceback) == (6, "acme.parts.WidgetError: the widget broke at 0x7f12", True)


def test_the_root_of_a_chain_stands_first() -> None:
    report = explain(TRACEBACK % b"ValueError: No available memory for the cache blocks.")
    assert ids(report) == ["KV-CACHE-NONE", "ENGINE-START-FAILED"]
    assert report.unexplained == ()
    assert not report.matches[0].symptom
    assert report.matches[1].symptom


@pytest.mark.parametrize(
    "line",
    [
        "ERROR 11-21 12:00:01 [core.py:1] the flux is low",
        "2026-11-21 12:00:01,000 ERROR worker.py:77 -- lost a node",
        "i915 0000:00:02.0: [drm] *ERROR* something new",
        "2026:05:09-08:14:36:( 3036) |CCL_ERROR| new.cpp:1 fn: something",
        "acme.core.NewError: 17",
        "tool: error: bad things",
        "Segmentation fault (core dumped)",
        'time="2026-11-21T02:22:10Z" level=error msg="something"',
        "Oops: general protection fault, probably for non-canonical address 0xdead",
        "ERROR:acme.engine:the flux is low",
        "2026-11-21 12:00:01,123 - acme.engine - ERROR - the flux is low",
        "2026-11-21 12:00:01.123 | ERROR    | acme.core:run:12 - the flux is low",
        "[rank3]:[E1121 12:00:01.123456789 ProcessGroupXCCL.cpp:552] the flux is low",
        "2026-11-21T12:00:01+0000 gpuhost vllm[3012]: ERROR 11-21 12:00:01 [core.py:1] the flux is low",
        '{"level": "error", "message": "the flux is low"}',
        '{"log": "{\\"levelname\\": \\"CRITICAL\\", \\"msg\\": \\"the flux is low\\"}\\n", "stream": "stdout"}',
        'vllm-1  | {"severity":"ERROR","msg":"the flux is low"}',
        "docker: Error response from daemon: no flux.",
        "bash: line 1: acme: command not found",
        "/bin/sh: 1: acme: not found",
        "thread 'main' panicked at src/main.rs:2:5:",
        "Error: the flux is low",
        "E: Unable to locate package acme",
        "sycl::_V1::exception: no flux",
        "std::runtime_error: no flux",
        "  what():  no flux",
        "exit status 139",
        "engine-1 exited with code 139",
        "process 12 was killed by signal 9",
        "malloc(): corrupted top size",
        "flux.cpp:12: void run(): Assertion `flux' failed.",
        "corrupted double-linked list",
        "Abort(1) on node 0 (rank 0 in comm 0): Fatal error in PMPI_Init",
        "1121 ERROR the flux is low",
        "1121 12:00:01.123 ERROR acme] the flux is low",
        "11-21 12:00:01 [FATAL] the flux is low",
        "[2026-11-21 12:00:01,000] {run.py:1} ERROR - the flux is low",
        "SEVERE: the flux is low",
        "[E] the flux is low",
    ],
)
def test_what_looks_like_an_error_is_never_dropped(line: str) -> None:
    report = explain(f"before\n{line}\nafter\n".encode())
    assert [(odd.line, odd.count) for odd in report.unexplained] == [(2, 1)]
    assert report.exit_code == 3
    repeated = explain("".join(line + "\n" for _ in range(40)).encode())
    assert [(odd.line, odd.last_line, odd.count) for odd in repeated.unexplained] == [(1, 40, 40)]


@pytest.mark.parametrize(
    "prefix",
    [
        "vllm-7c9d8f6b5d-x2k4p vllm ",
        "vllm-0 engine ",
        "[0] ",
        "3: ",
        "[pod/vllm-7c9d8f6b5d-x2k4p/vllm] ",
        "engine-1  | ",
        "Nov 21 12:00:01 gpuhost vllm[3012]: ",
        "Nov 21 12:00:01 ",
        "2026-11-21T12:00:01.000000000+00:00 stderr F ",
    ],
)
@pytest.mark.parametrize(
    "message", ["ERROR 11-21 12:00:01 [core.py:1] low", "acme.NewError: low", "sycl::_V1::exception: low"]
)
def test_no_prefix_hides_an_error(prefix: str, message: str) -> None:
    report = explain(f"{prefix}all is well\n{prefix}{message}\n".encode())
    assert [odd.line for odd in report.unexplained] == [2]
    assert not report.unexplained[0].text.startswith(prefix.split(maxsplit=1)[0])


def test_tracebacks_of_two_ranks_are_told_apart() -> None:
    lines = (TRACEBACK % b"acme.parts.WidgetError: broken").splitlines()
    text = b"".join(b"[%d] %s\n" % (rank, line) for line in lines for rank in (0, 1))
    assert [(odd.text, odd.count) for odd in explain(text).unexplained] == [("acme.parts.WidgetError: broken", 2)]


def test_a_traceback_whose_begin_is_cut_off() -> None:
    lines = (TRACEBACK % b"acme.parts.WidgetError: broken").splitlines(keepends=True)
    report = explain(b"".join(lines[1:2] + lines[3:6]))
    assert [odd.text for odd in report.unexplained] == ["acme.parts.WidgetError: broken"]
    assert explain(b'ERROR 11-21 12:00:01 [a.py:1]   File "x.py", line 3\nall is well\n').unexplained == ()


@pytest.mark.parametrize("data", [b"", bytes(range(256)) * 99, b"\x7fELF\x02\x01\x01" + bytes(500)])
def test_what_is_no_log_is_said(data: bytes) -> None:
    report = explain(data)
    assert report.sources[0].complaint
    assert report.exit_code == 3


@pytest.mark.parametrize(
    "line",
    [
        "INFO 11-21 12:00:01 [api.py:1] args: {'log_error_stack': False, 'error': None, 'api': 'x'}",
        "WARNING 11-21 12:00:01 [x.py:1] retrying after error",
        "xe 0000:03:00.0: [drm] Found BATTLEMAGE (device ID e211) display version 14.01 stepping B0",
        "UserWarning: Failed to load image Python extension",
        "0 errors, 0 failures",
        "engine-1 exited with code 0",
        "engine-1 exited with code 143",
        "stopped by signal 15, exit status 130",
        "[0] MPI startup(): libfabric provider: tcp",
        "returns an exit status of 1 where acme::error is set",
        "2026-11-21 12:00:01 12 ERRORS were counted as 0",
        "2026:05:09-08:14:36:( 3036) |CCL_WARN| value of CCL_ATL_TRANSPORT changed to be ofi (default:mpi)",
        "|CCL_INFO| could not open the library: libccl_x.so: cannot open shared object file: No such file or directory",
    ],
)
def test_ordinary_lines_are_quiet(line: str) -> None:
    report = explain(line.encode())
    assert (report.matches, report.unexplained, report.exit_code) == ((), (), 0)


def test_unexplained_kinds_are_bounded() -> None:
    chance = random.Random(4)
    data = "".join(
        "ERROR 11-21 12:00:01 [a.py:1] " + "".join(chance.choices("abcdefghij", k=12)) + "\n" for _ in range(900)
    )
    report = explain(data.encode())
    assert len(report.unexplained) == 200
    assert report.unexplained_dropped == 700


DRESSES: dict[str, Callable[[str], str]] = {
    "as it is": lambda line: line,
    "compose": lambda line: f"vllm-1  | {line}\r",
    "json-file": lambda line: json.dumps({"log": f"{line}\n", "stream": "stderr", "time": "2026-11-21T12:00:00Z"}),
    "journald": lambda line: json.dumps({"PRIORITY": "3", "MESSAGE": list(line.encode())}),
    "80 columns": lambda line: "\n".join(line[at : at + 80] for at in range(0, len(line), 80)),
}


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("path", sorted(LOGS.glob("healthy-*.txt")), ids=lambda path: path.stem)
def test_healthy_logs_are_quiet(path: Path, dress: str) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    report = explain("".join(f"{DRESSES[dress](line)}\n" for line in lines).encode())
    assert [match.id for match in report.matches if match.severity != "info"] == []
    assert report.unexplained == ()
    assert report.exit_code == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("failed-tp2-container.txt", ["CCL-BY-PATH", "ENGINE-START-FAILED", "WORKER-FAILED", "CCL-PIDFD"]),
        ("failed-kv-cache.txt", ["KV-CACHE-TOO-SMALL", "ENGINE-START-FAILED"]),
        (
            "failed-kernel-reset.txt",
            ["XE-PAGE-FAULT", "XE-CAT-ERROR", "XE-JOB-TIMEOUT", "XE-ENGINE-RESET", "XE-COREDUMP"],
        ),
    ],
)
def test_failed_runs_are_explained(name: str, expected: list[str]) -> None:
    report = scan_logs([(name, io.BytesIO((LOGS / name).read_bytes()))])
    assert ids(report) == expected
    assert report.unexplained == ()
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("path", "code", "expected"),
    [
        ("dmesg/xe_b50_firmware_missing.txt", 1, ["GUC-MISSING", "FIRMWARE-FILE-MISSING", "DMC-MISSING"]),
        ("dmesg/xe_b60_engine_reset_ccs.txt", 1, ["XE-ENGINE-RESET", "XE-JOB-TIMEOUT"]),
        ("dmesg/i915_a770_guc_load_failed.txt", 1, ["GUC-LOAD-FAILED"]),
        ("dmesg/i915_a770_found_dg2.txt", 0, []),
        ("dmesg/i915_dg2_guc_recommended_version.txt", 0, ["GUC-OLDER-THAN-RECOMMENDED", "FORCE-PROBE"]),
        ("dmesg/i915_gpu_hang_guc_reset.txt", 1, ["I915-RESET-FAILED", "I915-GPU-HANG"]),
        ("vllm/bench_serve_B60_llama31_8b_int4_tp1.txt", 0, []),
        ("ccl/vllm_ccl_warn_lines_4xB70.txt", 0, []),
        ("xpu-smi/xpumd_1.0_zeinit_failure_log.txt", 1, ["XPUM-ZEINIT"]),
        ("captured/sycl-ls/filtered_bogus.err", 1, ["DEVICE-SELECTOR", "DEVICE-FILTERED"]),
        ("captured/ze_peak/err_device_lost.err", 1, ["ZE-CODE", "TERMINATE"]),
    ],
)
def test_real_logs(path: str, code: int, expected: list[str]) -> None:
    if not (CORPUS / path).exists():
        pytest.skip("the project's corpus is not beside this checkout")
    report = scan_logs([(path, io.BytesIO((CORPUS / path).read_bytes()))])
    assert (report.exit_code, ids(report)) == (code, expected)


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=300), max_size=12))
def test_any_bytes_are_a_log(parts: list[bytes]) -> None:
    report = explain(b"\n".join(parts))
    assert report.exit_code in (0, 1, 3)


HOSTILE = (
    "zeCommandListAppendMemoryCopy", "ERROR : zeA", "Timedout job: seqno=", "Engine memory CAT error", "((((", "[[[[",
    "[    1.000000] ", "(a b=c ", "GuC firmware ", " is recommended, but only ", "xe 0000:00:00.0: ", "\x1b[", "9" * 400,
    "a.b." * 90, "Free memory on device (", "OSError: ", "lib", ".so", "DMAR: [DMA Read", "\x1b]8;;", "Nov 21 12:00:00 ",
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=40), st.integers(1, 60))
def test_hostile_lines_end(parts: list[str], times: int) -> None:
    """Beginnings of patterns and prefixes, over and over: no pattern runs away (the run has a time limit)."""
    explain(("".join(parts) * times + "\n").encode() * 3)


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("non-default args: {'model': 'm', 'api_key': ['sk-abcdefabcdefabcdef12']}", "sk-abcdefabcdefabcdef12"),
        ("vllm serve m --api-key hunter2hunter2 --port 8000", "hunter2hunter2"),
        ("HF_TOKEN=hf_abcdefghijklmnopqrst", "hf_abcdefghijklmnopqrst"),
        ("fetch https://me:pass5word@proxy.example/x", "pass5word"),
    ],
)
def test_secrets_are_masked(line: str, secret: str) -> None:
    assert secret not in mask_line(line)
    report = explain(f"{line}\n{RESET.decode()}{line}\nERROR 11-21 12:00:01 [a.py:1] {line}\n".encode())
    assert secret not in repr(report)
    assert report.unexplained[0].line == 4

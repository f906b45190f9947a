"""The logs of this machine as checks of the doctor, and `explain_log` as users call it."""

from __future__ import annotations

import io
import json
import types
from pathlib import Path
from typing import Any, cast

import pytest

from xpukit.cli.doctor_log import explain_log
from xpukit.cli.session import Session
from xpukit.core.errors import UsageError
from xpukit.core.finding import Finding, Unchecked
from xpukit.core.machine import Machine
from xpukit.doctor import containers
from xpukit.doctor.check import Patient, conform_error
from xpukit.doctor.checks import kernel_log, serving_logs
from xpukit.doctor.log_findings import make_link
from xpukit.host.answers import Ran
from xpukit.host.door import Host

LOGS = Path(__file__).resolve().parents[2] / "data" / "logs"


class TalkingHost:
    """Answers commands from a table by their first words; anything else is not installed."""

    def __init__(self, answers: dict[str, Ran]) -> None:
        self.answers = answers
        self.asked: list[list[str]] = []

    def run(self, argv: list[str], **_: Any) -> Ran:
        self.asked.append(list(argv))
        line = " ".join(argv)
        found = [answer for begin, answer in self.answers.items() if line.startswith(begin)]
        return found[0] if found else Ran(argv=tuple(argv), rc=-1, failure="not-found")


def say(text: bytes, *, rc: int = 0, err: bytes = b"") -> Ran:
    return Ran(argv=("x",), rc=rc, out=text, err=err)


def make_patient(answers: dict[str, Ran], *bdfs: str) -> tuple[Patient, TalkingHost]:
    host = TalkingHost(answers)
    devices = [types.SimpleNamespace(bdf=bdf, aer={"0000:16:01.0/correctable/RxErr": 1}) for bdf in bdfs]
    machine = cast(Machine, types.SimpleNamespace(devices=tuple(devices)))
    return Patient(machine=machine, host=cast(Host, host)), host


@pytest.mark.parametrize("check", [kernel_log.CHECK, serving_logs.CHECK], ids=lambda check: check.name)
def test_checks_are_in_shape(check: Any) -> None:
    assert conform_error(check) == ""


def test_ids_are_not_shared() -> None:
    assert not set(kernel_log.CHECK.ids) & set(serving_logs.CHECK.ids)


def test_the_kernel_log_gives_findings_with_their_lines() -> None:
    data = (LOGS / "failed-kernel-reset.txt").read_bytes()
    patient, _ = make_patient({"dmesg": say(data)}, "0000:17:00.0")
    found = [item for item in kernel_log.look_at_kernel_log(patient) if isinstance(item, Finding)]
    reset = next(item for item in found if item.id == "XPK-LOG-XE-ENGINE-RESET")
    assert reset.severity == "critical"
    assert reset.subject == "0000:17:00.0"
    assert reset.evidence[0].source == "dmesg, line 5"
    assert "Engine reset: engine_class=bcs" in reset.evidence[0].value
    assert "https://github.com/vllm-project/vllm/issues/55425" in reset.links
    assert {item.id for item in found} <= set(kernel_log.CHECK.ids)


def test_a_healthy_kernel_log_and_a_machine_without_a_gpu() -> None:
    patient, _ = make_patient({"dmesg": say((LOGS / "healthy-dmesg.txt").read_bytes())}, "0000:17:00.0")
    assert list(kernel_log.look_at_kernel_log(patient)) == []
    patient, host = make_patient({})
    assert list(kernel_log.look_at_kernel_log(patient)) == []
    assert host.asked == []


def test_errors_of_other_devices_are_left_alone() -> None:
    line = b"[1.000001] pcieport %s: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)\n"
    for bdf, count in ((b"0000:00:1d.0", 0), (b"0000:16:01.0", 1), (b"0000:17:00.0", 1)):
        patient, _ = make_patient({"dmesg": say(line % bdf)}, "0000:17:00.0")
        assert len(list(kernel_log.look_at_kernel_log(patient))) == count


def test_a_closed_kernel_log_is_read_from_the_journal_or_said_to_be_unchecked() -> None:
    denied = say(b"", rc=1, err=b"dmesg: read kernel buffer failed: Operation not permitted\n")
    journal = (LOGS / "failed-kernel-reset.txt").read_bytes()
    patient, host = make_patient({"dmesg": denied, "journalctl -k -b 0": say(journal)}, "0000:17:00.0")
    assert any(isinstance(item, Finding) for item in kernel_log.look_at_kernel_log(patient))
    assert host.asked[1][:4] == ["journalctl", "-k", "-b", "0"]
    patient, _ = make_patient({"dmesg": denied, "journalctl": say(b"-- No entries --\n")}, "0000:17:00.0")
    (item,) = kernel_log.look_at_kernel_log(patient)
    assert isinstance(item, Unchecked)
    assert "not permitted" in item.why
    assert "sudo" in item.remedy


def test_logs_of_serving_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    container = types.SimpleNamespace(id="abc", name="llm")
    monkeypatch.setattr(serving_logs, "list_serving", lambda _: (("docker", container),))
    lines = (LOGS / "failed-tp2-container.txt").read_bytes().splitlines(keepends=True)
    out, err = b"".join(lines[::2]), b"".join(lines[1::2])  # the streams come apart; their time stamps do not
    patient, host = make_patient({"docker logs": say(out, err=err)}, "0000:17:00.0")
    found = [item for item in serving_logs.look_at_serving_logs(patient) if isinstance(item, Finding)]
    assert host.asked == [["docker", "logs", "--timestamps", "--tail", "400", "abc"]]
    by_path = next(item for item in found if item.id == "XPK-LOG-CCL-BY-PATH")
    assert by_path.subject == "llm"
    assert by_path.commands
    assert {item.id for item in found} <= set(serving_logs.CHECK.ids)
    patient, _ = make_patient(
        {"docker logs": say(b"", rc=1, err=b"configured logging driver does not support reading\n")}
    )
    (item,) = serving_logs.look_at_serving_logs(patient)
    assert isinstance(item, Unchecked)
    assert containers.TOOLS == ("docker", "podman")


def test_references_become_addresses() -> None:
    assert make_link("a/b#12") == "https://github.com/a/b/issues/12"
    assert make_link("intel/llm-scaler vllm/KNOWN_ISSUES.md #03") == "intel/llm-scaler vllm/KNOWN_ISSUES.md #03"


def test_the_command_explains(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain_log(Session(), [str(LOGS / "failed-kv-cache.txt")]) == 1
    said = capsys.readouterr().out
    assert said.index("XPK-LOG-KV-CACHE-TOO-SMALL") < said.index("XPK-LOG-ENGINE-START-FAILED")
    assert "suggested max model len: 114432" in said
    assert "failed-kv-cache.txt:7: ValueError" in said
    assert "try first:" in said


def test_the_command_says_when_nothing_matched(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(b"ERROR 11-21 12:00:01 [a.py:1] odd\n")))
    assert explain_log(Session(), ["-"]) == 3
    said = capsys.readouterr().out
    assert "No known error in it (1 line read)." in said
    assert "standard input:1: odd" in said
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(b"INFO 11-21 12:00:01 [a.py:1] well\n")))
    assert explain_log(Session(), ["-"]) == 0
    assert "No line looks like an error either." in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(b"")))
    assert explain_log(Session(), ["-"]) == 3
    assert "it is empty (docker logs writes to standard error too: add 2>&1)" in capsys.readouterr().err


def test_the_command_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session()
    session.json = True
    assert explain_log(session, [str(LOGS / "failed-kernel-reset.txt")]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "xpukit.doctor-log/1"
    assert document["matches"][0]["id"].startswith("XPK-LOG-")
    assert document["sources"][0]["lines"] == 7


@pytest.mark.parametrize("sources", [["/no/such/log"], ["-", "-"], ["/"]])
def test_logs_that_cannot_be_opened(sources: list[str]) -> None:
    with pytest.raises(UsageError):
        explain_log(Session(), sources)

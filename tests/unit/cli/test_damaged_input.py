"""What the commands say of files and replies that are no UTF-8, or nested deeper than any document: a line, no defect."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.unit.operate.ready_stub import FakeEngine, make_reply
from xpukit.cli.app import run
from xpukit.facts.readiness import find_level
from xpukit.host.http_stream import HttpFailure
from xpukit.install.bundle.manifest import decode_manifest
from xpukit.install.journal import read_journal
from xpukit.operate.bench.openai_stream import Answer, take_event
from xpukit.operate.ready.endpoint import describe_endpoint
from xpukit.operate.ready.gate import Gate
from xpukit.operate.ready.read_reply import read_json
from xpukit.serve.model import decode_config

DAMAGES = {
    "not UTF-8": b'{"schema": "xpukit.results/1", "created": "\xff\xfe\xe9", "model_type": "\xff"}',
    "only bytes": bytes(range(256)) * 8,
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"a":' * 200_000,
    "deep behind a schema": b'{"schema": "xpukit.results/1", "results": ' + b"[" * 200_000,
    "deep TOML": b"a = " + b"[" * 200_000,
    "cut off": b"{",
}
# Where the damaged bytes are put, the command that reads them ({}: the folder), the exit code. Where a log is looked
# through, what is no result is no wrong usage: "could not judge" (3). A reference file with a fault is what lint is
# for (1).
COMMANDS = [
    ("results.json", "compare {} {}", 2),
    ("old.csv", "baseline lint {}/old.csv", 1),
    ("run.json", "evaluate --resume {}", 2),
    ("fleet.json", "fleet run --resume {}", 2),
    ("config.json", "serve {} --platform 1xB60", 2),
    ("other.json", "serve Qwen/Qwen3-8B --config {}/other.json --platform 1xB60", 2),
    ("plan.json", "serve --plan {}/plan.json", 2),
    ("plan.json", "serve run --plan {}/plan.json", 2),
    ("flags.json", "serve Qwen/Qwen3-8B --platform 1xB60 --flags {}/flags.json", 2),
    ("bench.json", "bench log {}/bench.json", 3),
    ("printed.txt", "evaluate --log {}/printed.txt", 3),
    ("inventory.json", "build-image diff {} {}", 2),
    ("sbom.json", "build-image diff {}/sbom.json {}/sbom.json", 2),
    ("settings.toml", "build-image vllm-xpu --print --settings {}/settings.toml", 2),
    ("rules.toml", "compare {}/old {}/new --rules {}/rules.toml", 2),
    ("set.json", "install plan --set {}/set.json", 2),
    ("manifest.json", "doctor --from {}", 2),
    ("manifest.json", "sysinfo show {}", 2),
    ("manifest.json", "sysinfo diff {} {}", 2),
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    ("name", "command", "code"), COMMANDS, ids=lambda value: str(value) if "{" in str(value) else ""
)
def test_a_damaged_file(
    name: str, command: str, code: int, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "given"
    place.mkdir()
    (place / name).write_bytes(DAMAGES[damage])
    assert run([word.replace("{}", str(place)) for word in command.split()]) == code
    said = capsys.readouterr()
    assert "internal error" not in said.err
    assert "Traceback" not in said.err
    if code == 2:
        assert said.out == ""
        assert said.err.startswith("xpukit: ")
        assert "no such option" not in said.err.lower()
        assert len(said.err.splitlines()[0]) < 400
        assert len(said.err.splitlines()) <= 2
    shutil.rmtree(place)


@pytest.mark.parametrize("damage", [data for name, data in DAMAGES.items() if name != "cut off"], ids=[*DAMAGES][:-1])
def test_damaged_lines_and_replies(damage: bytes) -> None:
    assert read_journal(damage.replace(b"\n", b"") + b"\n").damaged_lines > 0
    assert decode_manifest(damage)[0] is None
    assert read_json(damage) is None
    with pytest.raises(ValueError, match=r"."):
        decode_config(damage)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_reply_of_a_service(damage: bytes) -> None:
    path = "/v1/chat/completions"
    engine = FakeEngine({path: lambda _request, _good: make_reply(damage)})
    report = Gate(engine, describe_endpoint(engine, "http://h:1"), find_level("quick")).run()
    assert report.verdict == "fail"
    assert report.exit_code == 1


@pytest.mark.parametrize(
    "payload", [b'{"choices": [{"text": "\xff"}]}', DAMAGES["deep objects"], DAMAGES["only bytes"]]
)
def test_a_damaged_event_of_a_stream(payload: bytes) -> None:
    with pytest.raises(HttpFailure, match="not understood"):
        take_event(Answer(intended=0.0), payload, 0.0)

"""`xpukit bench` from the command line: what is printed, judged and refused."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from tests.unit.operate import bench_samples as samples
from xpukit.cli import bench_measure
from xpukit.cli.app import run
from xpukit.core.errors import UsageError
from xpukit.facts.engines import load_resolved, resolve_engine
from xpukit.operate.bench.client import ClientSettings
from xpukit.operate.bench.matrix import Model, PointPlan
from xpukit.operate.bench.report import Deployment

Golden = Callable[[str, str], None]
COMMANDS = ("bench", "bench log", "bench run", "bench find-limit", "bench stress", "bench context")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "bench.log"
    path.write_text(samples.SGLANG_TABLE, encoding="utf-8")
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_golden(command: str, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    assert run([*command.split(), "--help"]) == 0
    golden(f"help-{command.replace(' ', '-')}.txt", capsys.readouterr().out)


def test_every_option_is_documented(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (repo / "docs" / "bench.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        run([*command.split(), "--help"])
        options = set(re.findall(r"(--[a-z][a-z-]+)", capsys.readouterr().out)) - {"--help"}
        assert not {option for option in options if option not in page}, command


def test_a_model_is_no_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["bench", "internlm/Intern-S1", "--scenario", "standard-low", "--engine", "sglang:0.5.7"]
    assert run(argv) == 0
    assert capsys.readouterr().out.startswith("python -m sglang.bench_serving \\\n")
    assert run(["bench", "--json", *argv[1:]]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "xpukit.bench-command/1"
    assert run(["bench", "--scenarios"]) == 0
    assert "standard-low" in capsys.readouterr().out


def test_a_log_is_judged(repo: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert run(["bench", "log", str(table), "--report", str(page)]) == 0
    out = capsys.readouterr().out
    assert "128/64, 4 at a time" in out
    assert "verdict: no-baseline" in out
    assert "acme" in page.read_text(encoding="utf-8") or "bench.log" in page.read_text(encoding="utf-8")
    assert run(["bench", "--log", str(table), "--strict", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    schema = json.loads((repo / "docs" / "schemas" / "xpukit.bench-1.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)
    assert document["points"][0]["runs"][0]["ttft"]["percentiles"] == {"p99": 90.0}


def test_against_an_earlier_run(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worse = tmp_path / "worse.log"
    worse.write_text(samples.SGLANG_TABLE.replace("              90.00", "              190.00"), encoding="utf-8")
    assert "190.00" in worse.read_text(encoding="utf-8")
    assert run(["bench", "log", str(table), "--against", str(table)]) == 0
    assert "verdict: pass" in capsys.readouterr().out
    assert run(["bench", "log", str(worse), "--against", str(table)]) == 1
    out = capsys.readouterr().out
    assert "Worse than expected" in out
    assert "ttft_p99" in out
    assert run(["bench", "log", str(table), "--json"]) == 0
    report = tmp_path / "results.json"
    report.write_text(capsys.readouterr().out, encoding="utf-8")
    assert run(["bench", "log", str(worse), "--against", str(tmp_path)]) == 1
    # A report is judged again like a log.
    assert run(["bench", "log", str(report)]) == 0


def test_against_the_shipped_and_own_references(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "output_throughput,50,tok/s,higher,measured,0.1,mine,2026-01-01"
    own = tmp_path / "own.csv"
    from xpukit.facts.bench_references import COLUMNS

    own.write_text(",".join(COLUMNS) + f"\nmy-card,,,sglang,,acme/Tiny-7B,,128,64,,4,{rows}\n", encoding="utf-8")
    argv = ["bench", "log", str(table), "--hardware", "my-card", "--reference", str(own)]
    assert run(argv) == 0
    assert "verdict: pass" in capsys.readouterr().out
    own.write_text(own.read_text(encoding="utf-8").replace(",50,", ",500,"), encoding="utf-8")
    assert run(argv) == 1


def test_what_a_log_does_not_say_can_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "old.log"
    path.write_text(samples.SGLANG_OLD_TABLE, encoding="utf-8")
    words = ["--model", "m", "--input", "100", "--output", "50", "--concurrency", "9", "--tp", "2", "--devices", "2"]
    assert run(["bench", "log", str(path), *words, "--quantization", "fp8", "--json"]) == 0
    point = json.loads(capsys.readouterr().out)["points"][0]
    assert point["runs"][0]["load"]["input_len"] == 100
    assert point["deployment"] == {"hardware": "", "devices": 2, "tp": 2, "quantization": "fp8"}


def test_one_batch_and_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Input:
        buffer = io.BytesIO(samples.ONE_BATCH_LOG.encode())

    monkeypatch.setattr("sys.stdin", Input())
    assert run(["bench", "log", "-"]) == 0
    assert "One batch" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["log", "/no/such/file"], 2, "cannot be read"),
        (["log", __file__.replace("test_bench.py", "test_app.py")], 3, "no result of a benchmark"),
        (["log"], 2, "FILE"),
        (["run"], 2, "no server"),
        (["run", "--url", "ftp://x", "--model", "m", "--input", "1", "--output", "1"], 2, "no address"),
        (["run", "--url", "h:1", "--scenario", "frob"], 2, "no scenario"),
        (["run", "--url", "h:1", "--model", "m"], 2, "no load"),
        (["run", "--url", "h:1", "--api", "frob"], 2, "no API"),
        (["run", "--url", "h:1", "--arrival", "frob"], 2, "no arrival"),
        (["run", "--resume"], 2, "--out"),
        (["run", "/no/such.toml"], 2, "cannot be read"),
        (["run", "/no/such.toml", "--input", "3"], 2, "the matrix holds the loads"),
        (["run", "m.toml", "--", "--frob"], 2, "--client"),
        (["stress"], 2, "one server"),
        (["stress", "--url", "h:1", "--resume"], 2, "--out"),
        (["stress", "--url", "h:1", "--input", "1", "--output", "1", "--arrival", "frob"], 2, "no arrival"),
        (["context", "--url", "h:1", "--plan", "p.json"], 2, "one server"),
        (["context", "--url", "h:1", "--resume"], 2, "--out"),
        (["context", "--url", "h:1", "--api", "frob"], 2, "no API"),
        (["find-limit", "--url", "h:1"], 2, "no promise"),
        (["find-limit", "--url", "h:1", "--arrival", "frob"], 2, "no arrival"),
        (["find-limit", "--sla", "ttft_p99<=1ms"], 2, "no server"),
        (["find-limit", "--url", "h:1", "--sla", "frob<=1ms"], 2, "no metric"),
    ],
)
def test_wrong_usage(
    argv: list[str],
    code: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["bench", *argv]) == code
    assert words in capsys.readouterr().err


def plan(**more: object) -> PointPlan:
    values: dict[str, object] = {
        "name": "p",
        "model": Model(name="acme/Tiny-7B", url="http://10.0.0.1:8000", served_name="tiny"),
        "input_len": 128,
        "output_len": 64,
        "requests": 20,
        "concurrency": 4,
        "rate_rps": None,
        "arrival": "",
        "shared_prefix": 0.0,
        "deployment": Deployment(),
    }
    return PointPlan(**{**values, **more})  # type: ignore[arg-type]


def argv_of(
    engine: str, point: PointPlan, *, container: str = "", key: str = "", extras: tuple[str, ...] = ()
) -> list[str]:
    choice = bench_measure.EngineChoice(engine=engine, container=container, timeout_s=60, trust=False, extras=extras)
    settings = ClientSettings(url="", model="", api_key=key)
    return list(bench_measure.build_argv(load_resolved(resolve_engine(engine)), settings, choice, point))


def test_the_engines_command_of_a_point() -> None:
    argv = argv_of("vllm:0.14.0", plan())
    assert argv[:3] == ["vllm", "bench", "serve"]
    for flag, value in (
        ("--host", "10.0.0.1"),
        ("--port", "8000"),
        ("--max-concurrency", "4"),
        ("--metric-percentiles", "50,90,95,99"),
    ):
        assert argv[argv.index(flag) + 1] == value
    assert argv[argv.index("--served-model-name") + 1] == "tiny"
    sglang = argv_of("sglang:0.5.7", plan(rate_rps=2.0, concurrency=None, arrival="poisson"))
    assert sglang[:3] == ["python", "-m", "sglang.bench_serving"]
    assert sglang[sglang.index("--request-rate") + 1] == "2"
    assert "--metric-percentiles" not in sglang


def test_the_engines_command_in_a_container_hides_the_key() -> None:
    argv = argv_of("vllm", plan(), container="engine", key="secret")
    assert argv[:5] == ["docker", "exec", "-e", "OPENAI_API_KEY", "engine"]
    assert argv[5] == "timeout"
    assert "secret" not in " ".join(argv)


def test_a_server_behind_a_path_is_named_whole() -> None:
    point = plan(model=Model(name="m", url="https://gate/llm/v1"))
    argv = argv_of("vllm", point)
    assert argv[argv.index("--base-url") + 1] == "https://gate:443/llm"
    assert "--host" not in argv


@pytest.mark.parametrize(
    ("more", "extras", "words"),
    [
        ({"shared_prefix": 0.5}, (), "shared prefix"),
        ({"arrival": "fixed", "rate_rps": 1.0}, (), "fixed rate"),
        ({}, ("--frobnicate", "9"), "would refuse"),
    ],
)
def test_what_an_engines_benchmark_cannot_do(more: dict[str, object], extras: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        argv_of("vllm", plan(**more), extras=extras)

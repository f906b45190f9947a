"""`xpukit compare` and `xpukit baseline` as a user runs them: output, files, exit codes, schemas."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tests.unit.evaluate.run_files import make_machine, row, write_run
from xpukit.cli.app import run

RECORDED = Path(__file__).resolve().parents[2] / "machines" / "recorded"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    old = write_run(tmp_path / "old", [row(100.0), row(10.0, params={"op": "write"})])
    new = write_run(tmp_path / "new", [row(80.0), row(10.0, params={"op": "write"})])
    return str(old), str(new)


def check_schema(repo: Path, document: dict[str, object]) -> None:
    name = str(document["schema"]).replace("/", "-")
    jsonschema.validate(document, json.loads((repo / "docs" / "schemas" / f"{name}.json").read_text(encoding="utf-8")))


def test_a_regression(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", *pair]) == 1
    out = capsys.readouterr().out
    assert "memory peak_bandwidth read" in out
    assert "-20.0 %" in out
    assert "write" not in out
    assert out.splitlines()[-1] == "fail: 1 worse, 1 same (beyond 3.5 sigmas and 5%)"
    assert run(["compare", "-v", *pair]) == 2  # -v is a global option
    capsys.readouterr()
    assert run(["-v", "compare", *pair]) == 1
    assert "peak_bandwidth write" in capsys.readouterr().out


def test_thresholds(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", *pair, "--min-change", "0.25"]) == 0
    assert run(["compare", *pair, "--threshold", "1000", "--min-change", "0"]) == 0
    assert run(["compare", pair[0], pair[0]]) == 0


def test_files_and_json(repo: Path, pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv, html = tmp_path / "o.csv", tmp_path / "o.html"
    assert run(["compare", *pair, "--json", "--csv", str(csv), "--html", str(html)]) == 1
    document = json.loads(capsys.readouterr().out)
    check_schema(repo, document)
    assert document["verdict"] == "fail"
    assert csv.read_text(encoding="utf-8").count("\n") == 3
    assert "<!DOCTYPE html>" in html.read_text(encoding="utf-8")
    assert run(["compare", *pair, "--csv", "-"]) == 1
    assert capsys.readouterr().out == csv.read_text(encoding="utf-8")


def test_a_fleet(repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(9):
        write_run(tmp_path / f"h{number}", [row(70.0 if number == 4 else 100.0 + number / 9)], host=f"host{number}")
    assert run(["compare", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "Worst hosts" in out
    assert "host4" in out
    assert "host3" not in out
    assert run(["--json", "compare", "--fleet", str(tmp_path)]) == 1
    document = json.loads(capsys.readouterr().out)
    check_schema(repo, document)
    assert [item["host"] for item in document["outliers"]] == ["host4"]
    documents = []
    for _ in range(2):
        run(["compare", "--json", str(tmp_path)])
        document = json.loads(capsys.readouterr().out)
        document.pop("created")
        documents.append(document)
    assert documents[0] == documents[1]


def test_a_rule_file(repo: Path, pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('schema = "xpukit.compare-rules/1"\n[[rule]]\nname = "loose"\nmin_change = 0.5\n')
    assert run(["compare", *pair, "--rules", str(rules)]) == 0
    rules.write_text("schema = 1\n")
    assert run(["compare", *pair, "--rules", str(rules)]) == 2
    assert run(["compare", *pair, "--rules", str(tmp_path / "none.toml")]) == 2


def test_the_rules_of_the_page_are_valid(repo: Path) -> None:
    from xpukit.core.toml import parse_toml
    from xpukit.evaluate.compare_rules import parse_rules

    text = (repo / "docs" / "compare.md").read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]
    raw = parse_toml(text, source="docs/compare.md")
    assert len(parse_rules(raw, source="docs/compare.md").rule) == 3
    jsonschema.validate(
        raw, json.loads((repo / "docs" / "schemas" / "xpukit.compare-rules-1.json").read_text(encoding="utf-8"))
    )


def test_bad_input_and_nothing_comparable(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_run(tmp_path / "other", [row(1.0, metric="else")])
    assert run(["compare", pair[0], str(other)]) == 3
    (other / "results.json").write_text("{")
    assert run(["compare", pair[0], str(other)]) == 2
    assert run(["compare", pair[0]]) == 2
    assert run(["compare", str(tmp_path / "nothing")]) == 2
    (tmp_path / "empty").mkdir()
    assert run(["compare", str(tmp_path / "empty")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_page_that_cannot_be_written(pair: tuple[str, str], tmp_path: Path) -> None:
    assert run(["compare", *pair, "--html", str(tmp_path / "none" / "o.html")]) == 4


def test_lint(repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["baseline", "lint"]) == 0
    assert "0 problems" in capsys.readouterr().out
    path = tmp_path / "mine.csv"
    path.write_text(
        "device,benchmark,metric,params,value,unit,direction,kind,tolerance,source,date\n"
        "8086:e211,memory,peak_bandwidth,op=read,999,GB/s,higher,measured,0.1,here,2026-01-01\n"
    )
    assert run(["baseline", "lint", str(path)]) == 1
    assert f"{path}:2: 999.0 GB/s is above the 456.0 GB/s of its specification" in capsys.readouterr().out
    assert run(["baseline", "lint", str(path), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    check_schema(repo, document)
    assert document["problems"] == 1


def test_show_for_a_recorded_machine(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = str(RECORDED / "a770.tar.xz")
    assert run(["baseline", "show", "--from", machine]) == 0
    out = capsys.readouterr().out
    assert "8086:56a0" in out
    assert "397.9" in out
    assert run(["--json", "--from", machine, "baseline", "show"]) == 0
    document = json.loads(capsys.readouterr().out)
    check_schema(repo, document)
    assert {metric["device"] for metric in document["metrics"]} == {"8086:56a0"}


def test_show_with_a_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "reference_perf_a770.csv"
    mine.write_text("Category,Subcategory,size,value\nGPU memory bandwidth,H2D,,19\n")
    assert run(["baseline", "show", "-d", "a770", "--reference", str(mine), "--only", "transfer"]) == 0
    out = capsys.readouterr().out
    assert f"{mine}:2" in out
    assert "memory peak_bandwidth" not in out
    assert run(["baseline", "show", "-d", "b70"]) == 0
    assert "no-baseline" in capsys.readouterr().out


def test_record(repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        write_run(
            tmp_path / "runs" / str(number), [row(400.0 + number)], machine=make_machine(), created=f"2026-01-0{number + 1}T00:00:00Z"
        )  # fmt: skip
    out = tmp_path / "b60.csv"
    assert run(["baseline", "record", str(tmp_path / "runs"), "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "8086:e211 memory peak_bandwidth op=read" in captured.out
    assert str(out) in captured.err
    assert run(["baseline", "lint", str(out)]) == 0
    assert run(["baseline", "record", str(tmp_path / "runs"), "--out", str(out)]) == 2
    assert "there already" in capsys.readouterr().err
    assert run(["baseline", "record", str(tmp_path / "runs"), "--out", str(out), "--merge", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    check_schema(repo, document)
    assert document == json.loads((tmp_path / "b60.provenance.json").read_text(encoding="utf-8"))
    assert run(["baseline", "record", str(tmp_path / "runs" / "0"), "--out", str(tmp_path / "x.csv")]) == 2
    assert run(["baseline", "record", str(tmp_path / "runs"), "--out", str(tmp_path / "none" / "x.csv")]) == 4

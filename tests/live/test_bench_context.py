"""`xpukit bench context`: a stub engine that has room for so much, and an endpoint that reads so far."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.live.openai_stub import find_port, start_stub
from tests.live.test_check import move_plan
from tests.unit.serve.form_plans import load_plan
from xpukit.cli import app
from xpukit.core.json_document import build_document, encode_json

pytestmark = pytest.mark.live
REPO = Path(__file__).resolve().parents[2]
STUB = Path(__file__).with_name("openai_stub.py")


def find_context(*words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the JSON document, standard error."""
    said, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(err):
        code = app.run(["bench", "context", *words, "--json"])
    return code, json.loads(said.getvalue()), err.getvalue()


def list_tries(document: dict[str, Any]) -> list[tuple[int, str]]:
    return [(one["tokens"], one["outcome"]) for one in document["tries"]]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options with a saved plan of 8,192 tokens whose `vllm` is the stub."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "vllm").write_text(f'#!/bin/sh\nexec {sys.executable} {STUB} "$@"\n')
    (programs / "vllm").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("SERVER_KEY", "k3y-of-the-test")
    path = tmp_path / "plan.json"
    path.write_text(encode_json(build_document("xpukit.plan/1", "h", move_plan(load_plan("native"), find_port()))))
    return ["--plan", str(path), "--api-key-env", "SERVER_KEY", "--out", str(tmp_path / "run")]


def test_the_logs_own_length_is_taken_and_verified(
    plan: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_FAIL", "kv=5000")
    code, document, err = find_context(*plan)
    assert code == 0, err
    assert list_tries(document) == [(8192, "no-start"), (5000, "serves")]
    assert document["proven"] == 5000
    refused, served = document["tries"]
    assert refused["suggested"] == 5000
    assert "[XPK-LOG-KV-CACHE-TOO-SMALL]" in refused["why"]
    assert any("estimated maximum model length is 5000" in line for line in refused["evidence"])
    assert served["room"] == 5000
    assert 4000 < served["prompt_tokens"] < 5000
    assert sum("the hidden number was found" in line for line in served["evidence"]) == 3
    assert "ValueError" in Path(refused["log"]).read_text(encoding="utf-8")
    assert "k3y-of-the-test" not in json.dumps(document) + err
    schema = json.loads((REPO / "docs" / "schemas" / "xpukit.bench-context-1.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)


def test_without_a_suggestion_it_halves_and_goes_on_where_it_was(
    plan: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_FAIL", "oom-above=6000")
    code, document, _ = find_context(*plan, "--tries", "2", "--precision", "0.3", "--highest", "8k")
    assert (code, list_tries(document)) == (0, [(8192, "no-start"), (4096, "serves")])
    assert "2 tries were not enough" in document["statement"]
    before = {one["tokens"]: one for one in document["tries"]}
    assert find_context(*plan, "--tries", "9", "--precision", "0.3", "--highest", "8k")[0] == 2
    code, document, err = find_context(*plan, "--tries", "9", "--precision", "0.3", "--highest", "8k", "--resume")
    assert list_tries(document) == [(8192, "no-start"), (4096, "serves"), (6144, "no-start"), (5120, "serves")]
    assert document["finished"]
    # What was tried before was not started again.
    assert [one for one in document["tries"] if one["tokens"] in before] == list(before.values())
    assert "8192 tokens:" not in err


def test_an_engine_that_starts_but_forgets_does_not_serve(plan: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_FAIL", "kv=9000,forget=5500")
    code, document, _ = find_context(*plan, "--precision", "0.3")
    assert code == 0
    first = document["tries"][0]
    assert first["outcome"] == "wrong-answer"
    assert first["why"].startswith("number at 50% of the prompt: ")
    assert document["proven"] < 6800
    monkeypatch.setenv("STUB_FAIL", "degenerate")
    code, document, _ = find_context(*plan[:-1], plan[-1] + "2", "--tries", "2")
    assert code == 1
    assert document["proven"] is None
    assert "degenerate" in document["statement"]


def test_of_a_running_endpoint(tmp_path: Path) -> None:
    with start_stub() as stub:
        code, document, _ = find_context("--url", stub.url, "--out", str(tmp_path / "a"))
        assert code == 0
        [found] = document["tries"]
        # 4,096 by its own word, less the answer.
        assert found["outcome"] == "serves"
        assert found["prompt_tokens"] >= 0.95 * 3584
        code, document, _ = find_context("--url", stub.url, "--highest", "9000", "--out", str(tmp_path / "b"))
        assert [one["outcome"] for one in document["tries"][:2]] == ["refused", "serves"]
        assert document["tries"][0]["suggested"] == 3584
    with start_stub("forget=2000") as stub:
        code, document, _ = find_context("--url", stub.url, "--precision", "0.1", "--out", str(tmp_path / "c"))
        assert code == 0
        assert 1800 < document["proven"] <= 2100
        assert document["broken"] is not None
        assert document["broken"] <= document["proven"] * 1.1
    assert find_context("--url", f"http://127.0.0.1:{find_port()}", "--out", str(tmp_path / "d"))[0] == 4
    assert find_context()[0] == 2

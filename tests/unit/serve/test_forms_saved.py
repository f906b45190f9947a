"""A plan that was saved is written the same again, in every form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.serve.form_plans import LINES, run_line
from xpukit.serve.forms import list_forms

REPO = Path(__file__).parents[3]


@pytest.mark.parametrize("form", [form.NAME for form in list_forms()])
def test_a_saved_plan_is_written_the_same(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)
    name = "ray" if form in ("ray", "swarm-ray") else "replicas"
    saved = tmp_path / "plan.json"
    code, first, err = run_line(*LINES[name].split(), "--form", form, "--save", str(saved))
    assert code == 0, err
    code, again, err = run_line("--plan", str(saved), "--form", form)
    assert code == 0, err
    assert first == again
    assert first
    assert json.loads(saved.read_text(encoding="utf-8"))["schema"] == "xpukit.plan/1"

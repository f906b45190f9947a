from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.evaluate import report_samples
from xpukit.core.measurement import Verdict
from xpukit.evaluate.report_junit import write_junit
from xpukit.evaluate.result import Evaluation, Result

VERDICTS: tuple[Verdict, ...] = ("pass", "warn", "fail", "unknown", "no-baseline", "not-applicable")


def make(*rows: Result) -> Evaluation:
    return Evaluation(
        engine="e", suite="s", devices=(), results=rows, verdict="fail", complete=True, started="2026-01-01T00:00:00Z"
    )


def row(verdict: Verdict, reason: str = "r") -> Result:
    return Result(
        benchmark="gemm",
        metric="m",
        devices=("cpu",),
        params={"dtype": verdict},
        value=1.0,
        unit="GB/s",
        verdict=verdict,
        reason=reason,
    )


def test_each_verdict_has_its_place() -> None:
    root = ElementTree.fromstring(write_junit(make(*map(row, VERDICTS)), "host"))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        "6",
        "1",
        "1",
        "1",
    )
    children = {str(case.get("name")).split()[1]: [child.tag for child in case] for case in suite}
    assert children["fail"][0] == "failure"
    assert children["unknown"][0] == "error"
    assert children["not-applicable"][0] == "skipped"
    assert children["pass"] == children["warn"] == children["no-baseline"] == ["system-out"]


@given(st.text(max_size=40), st.text(max_size=20))
def test_any_text_gives_well_formed_xml(reason: str, host: str) -> None:
    ElementTree.fromstring(write_junit(make(row("fail", reason)), host).encode("utf-8", "surrogatepass"))


def test_a_whole_run_has_a_case_for_every_row() -> None:
    evaluation = report_samples.make_gpu_run()
    root = ElementTree.fromstring(write_junit(evaluation, "h"))
    assert len(root.findall(".//testcase")) == len(evaluation.results)

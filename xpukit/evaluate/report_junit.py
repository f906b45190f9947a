"""JUnit XML: one test case a row, for CI systems that know nothing of GPUs."""

from __future__ import annotations

from xml.etree import ElementTree

from xpukit.evaluate.result import Evaluation, Result
from xpukit.evaluate.summary import describe_row, describe_spread, group_by_benchmark


def write_junit(evaluation: Evaluation, hostname: str) -> str:
    """A suite a benchmark. fail -> failure, unknown -> error, not-applicable -> skipped; warn passes with a note."""
    root = ElementTree.Element("testsuites", name=f"xpukit evaluate {evaluation.suite}")
    for benchmark, rows in group_by_benchmark(evaluation.results).items():
        verdicts = [row.verdict for row in rows]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=benchmark,
            hostname=clean_xml(hostname),
            timestamp=evaluation.started.rstrip("Z"),
            tests=str(len(rows)),
            failures=str(verdicts.count("fail")),
            errors=str(verdicts.count("unknown")),
            skipped=str(verdicts.count("not-applicable")),
        )
        for row in rows:
            _add_case(suite, row)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _add_case(suite: ElementTree.Element, row: Result) -> None:
    name = clean_xml(f"{describe_row(row)} [{' '.join(row.devices)}]")
    case = ElementTree.SubElement(suite, "testcase", classname=f"xpukit.{row.benchmark}", name=name)
    kinds = {"fail": "failure", "unknown": "error", "not-applicable": "skipped"}
    if row.verdict in kinds:
        ElementTree.SubElement(case, kinds[row.verdict], message=clean_xml(row.reason))
    value = "no value" if row.value is None else f"{row.value:.6g} {row.unit} {describe_spread(row)}"
    text = f"{row.verdict}: {value}" + (f"; {row.reason}" if row.reason else "")
    ElementTree.SubElement(case, "system-out").text = clean_xml(text)


def clean_xml(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold."""
    return "".join(
        char
        for char in text
        if char in "\t\n\r" or " " <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" or char >= "\U00010000"
    )

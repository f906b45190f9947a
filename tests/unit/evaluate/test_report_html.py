"""The HTML page: whole, safe, the same each time; every row is in it."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from tests.unit.evaluate import report_samples as samples
from xpukit.core.finding import Evidence, Finding
from xpukit.core.machine import Device, Machine, SoftwareItem, Unread
from xpukit.core.units import format_number
from xpukit.evaluate.report import write_reports
from xpukit.evaluate.report_html import write_html
from xpukit.evaluate.report_names import DeviceNames, is_directed
from xpukit.evaluate.result import DeviceSummary, Evaluation, JobRecord, Result
from xpukit.evaluate.run_directory import RunDirectory, RunOptions
from xpukit.evaluate.summary import group_by_benchmark

RUNS = {
    "gpu": samples.make_gpu_run,
    "cpu": samples.make_cpu_run,
    "empty": samples.make_empty_run,
    "single": samples.make_single_run,
}
_VOID = {"meta", "input", "br", "img", "link", "hr"}


@pytest.fixture(scope="module", autouse=True)
def fonts() -> None:
    # On its first import anywhere matplotlib asks the machine which fonts it has, and remembers.
    import matplotlib.font_manager  # noqa: F401


@pytest.fixture(scope="module")
def pages(fonts: None) -> dict[str, tuple[Evaluation, str]]:
    made = {}
    for name, make in RUNS.items():
        evaluation = make()
        machine = samples.make_machine() if name == "gpu" else Machine()
        made[name] = (evaluation, write_html(evaluation, machine, "node7"))
    return made


class Page(HTMLParser):
    """Tags in balance, ids, what is referred to, and the cells of the tables of all rows."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.scripts = 0
        self.tables: list[list[list[str]]] = []
        self._full = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script":
            self.scripts += 1
        self.handlers += [name for name in given if name.startswith("on")]
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name in ("href", "src", "xlink:href") and value]
        if tag == "details" and given.get("class") == "rows":
            self._full = True
            self.tables.append([])
        if self._full and tag == "tr":
            self.tables[-1].append([])
        if self._full and tag == "td":
            self.tables[-1][-1].append("")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing, line {self.getpos()}"
        assert self.open.pop() == tag, f"</{tag}> at line {self.getpos()}"
        if tag == "details":
            self._full = False

    def handle_data(self, data: str) -> None:
        if self._full and self.tables and self.tables[-1] and self.tables[-1][-1] and "td" in self.open:
            self.tables[-1][-1][-1] += data


@pytest.mark.parametrize("name", RUNS)
def test_page_is_well_formed_and_needs_nothing_else(pages: dict[str, tuple[Evaluation, str]], name: str) -> None:
    text = pages[name][1]
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link.startswith(("#", "data:image/svg+xml;base64,")), link
        assert not link.startswith("#") or link[1:] in page.ids, link
    for used in re.findall(r"url\(([^)]*)\)", text):
        assert used.startswith("#"), used
        assert used[1:] in page.ids
    assert "@import" not in text
    assert page.scripts == 1
    assert page.handlers == []


@pytest.mark.parametrize("name", RUNS)
def test_only_the_pages_own_script_may_run(pages: dict[str, tuple[Evaluation, str]], name: str) -> None:
    text = pages[name][1]
    script = text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text


@pytest.mark.parametrize("name", RUNS)
def test_every_row_is_in_the_page(pages: dict[str, tuple[Evaluation, str]], name: str) -> None:
    evaluation, text = pages[name]
    names = DeviceNames(evaluation, samples.make_machine() if name == "gpu" else Machine())
    tables = [[row for row in table if row] for table in Page(text).tables]
    groups = group_by_benchmark(evaluation.results)
    assert len(tables) == len(groups)
    left = {benchmark: list(rows) for benchmark, rows in groups.items()}
    for table in tables:
        benchmark = next(b for b, rows in left.items() if len(rows) == len(table) and _fits(table[0], rows[0], names))
        for cells, row in zip(table, left.pop(benchmark), strict=True):
            assert _fits(cells, row, names), (cells, row)
    assert left == {}


def _fits(cells: list[str], row: Result, names: DeviceNames) -> bool:
    unit = "µs" if row.unit == "us" else row.unit
    shown = {
        0: row.metric,
        2: names.join(row.devices, directed=is_directed(row)),
        4: unit if row.unit != "yes/no" or row.value is None else "",
        12: row.verdict,
    }
    if any(cells[place] != text for place, text in shown.items()):
        return False
    for key, value in row.params.items():
        if isinstance(value, str) and value not in cells[1]:
            return False
        if key == "ranks" and f"ranks={value}" not in cells[1]:
            return False
    if row.value is not None and row.unit != "yes/no" and cells[3] != format_number(row.value):
        return False
    if row.verified is False and cells[7] != "WRONG":
        return False
    if row.reference and not (cells[8].startswith(f"{format_number(row.reference.value)} {unit} {row.reference.kind}")):
        return False
    return row.verdict == "no-baseline" or row.reason in cells[13]


def test_all_missing_rows_are_told_above_the_full_table(pages: dict[str, tuple[Evaluation, str]]) -> None:
    evaluation, text = pages["gpu"]
    above = re.sub(r'<details class="rows">.*?</details>', "", text, flags=re.DOTALL)
    for reason in {row.reason for row in evaluation.results if row.verdict in ("unknown", "fail") and not row.ratio}:
        assert reason in above


def test_same_input_gives_the_same_bytes(pages: dict[str, tuple[Evaluation, str]]) -> None:
    for name in ("cpu", "single", "empty"):
        assert write_html(RUNS[name](), Machine(), "node7") == pages[name][1]


@pytest.mark.live
def test_the_order_of_hashing_does_not_show(tmp_path: Path) -> None:
    import os
    import subprocess

    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.unit.evaluate import report_samples as s\n"
        "from xpukit.evaluate.report_html import write_html\n"
        "sys.stdout.write(write_html(s.make_gpu_run(), s.make_machine(), 'node7'))\n"
    )
    root = str(Path(__file__).resolve().parents[3])
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code, root],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 100_000


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>$\\frac$\x00\u202e"


def _make_evil_run() -> tuple[Evaluation, Machine]:
    rows = []
    for benchmark in ("gemm", "memory", "p2p", EVIL):
        for size in (1024, 4096):
            for devices in (("0000:03:00.0", EVIL), (EVIL, "0000:03:00.0"), ("0000:03:00.0",)):
                about = {"p_dtype": EVIL, "p_" + EVIL: EVIL} | ({"p_bytes": size} if benchmark != "gemm" else {})
                rows.append(
                    samples.make_row(
                        benchmark, EVIL, devices, size / 3, EVIL, reference=1000.0, kind=EVIL, limit=2000.0,
                        verified=False, verify_detail=EVIL, reason=EVIL, note=EVIL, **about,
                    )
                )  # fmt: skip
                missing = {**about, "p_bytes": 8192}
                rows.append(
                    samples.make_row(benchmark, EVIL, devices, None, EVIL, verdict="unknown", reason=EVIL, **missing)
                )
    finding = Finding(
        id=EVIL,
        severity="critical",
        summary=EVIL,
        evidence=(Evidence(source=EVIL, value=EVIL),),
        remedy=(EVIL,),
        links=("javascript:alert(1)",),
    )
    evaluation = Evaluation(
        engine=EVIL,
        suite=EVIL,
        devices=(
            DeviceSummary(label="0000:03:00.0", kind="gpu", name=EVIL, bdf="0000:03:00.0", device_id=EVIL),
            DeviceSummary(label=EVIL, kind="gpu", name=EVIL),
        ),
        results=tuple(rows),
        verdict="fail",
        complete=True,
        conditions={"before": {EVIL: EVIL, "devices": {EVIL: {EVIL: [EVIL]}}}, "after": {}},
        jobs=(JobRecord(name=EVIL, benchmark=EVIL, seconds=1, rc=1, failure=EVIL, log=EVIL, notes=(EVIL,)),),
        findings=(finding,),
        started=EVIL,
        only=(EVIL,),
        skip=(EVIL,),
    )
    machine = Machine(
        devices=(
            Device(
                index=0,
                bdf="0000:03:00.0",
                vendor_id="0x8086",
                device_id=EVIL,
                name=EVIL,
                known=False,
                driver=EVIL,
                numa_rule=EVIL,
                unread=(Unread(what=EVIL, why=EVIL, remedy=EVIL),),
            ),
        ),
        software=(SoftwareItem(name=EVIL, version=EVIL, source=EVIL, note=EVIL),),
        findings=(finding,),
    )
    return evaluation, machine


def test_nothing_that_a_machine_says_becomes_markup() -> None:
    evaluation, machine = _make_evil_run()
    text = write_html(evaluation, machine, EVIL, topology_svg=f"<svg>{EVIL}</svg>")
    page = Page(text)
    assert page.open == []
    assert page.scripts == 1
    assert page.handlers == []
    assert all(link.startswith(("#", "data:image/svg+xml;base64,")) for link in page.links)
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 50
    assert "\x00" not in text
    assert "\u202e" not in text


def test_lone_surrogates_of_undecodable_names_do_not_break_the_file() -> None:
    run = msgspec.structs.replace(samples.make_single_run(), suite="quick\udcff")
    assert "quick\ufffd" in write_html(run, Machine(), "node\udc80").encode().decode()


def test_topology_is_an_image_that_cannot_run(pages: dict[str, tuple[Evaluation, str]]) -> None:
    text = write_html(samples.make_empty_run(), Machine(), "node7", topology_svg="<svg><script>1</script></svg>")
    encoded = re.search(r'<img src="data:image/svg\+xml;base64,([^"]+)"', text)
    assert encoded
    assert base64.b64decode(encoded.group(1)).decode() == "<svg><script>1</script></svg>"
    assert "<img" not in pages["empty"][1]


def test_degraded_link_findings_and_lost_device_come_first(pages: dict[str, tuple[Evaluation, str]]) -> None:
    text = pages["gpu"][1]
    first = text.partition('<section id="first">')[2].partition("</section>")[0]
    assert "runs its PCIe link at 16 GT/s" in first
    assert "no answer for 30 s: ended" in first
    assert first.index("the data is wrong") < first.index("50% of the reference")
    assert "DEGRADED: could run at PCIe 5.0 ×8" in text
    assert "reseat the card" in text
    assert "logs/memory_6.log" in text
    assert "power limit" in text


def test_conditions_have_units_and_name_their_device(pages: dict[str, tuple[Evaluation, str]]) -> None:
    text = pages["gpu"][1]
    assert '<td class="first">GPU3 temperature</td><td data-label="before">44 °C</td>' in text
    assert '<td class="first">memory available</td><td data-label="before">480 GiB</td>' in text
    assert '<td class="first">GPU3 power</td><td data-label="before">not readable</td>' in text
    assert '<td class="first">cpu clock max</td><td data-label="before">3500 MHz</td>' in text


def test_interrupted_and_empty_runs_say_so(pages: dict[str, tuple[Evaluation, str]]) -> None:
    text = pages["empty"][1]
    assert "the run was interrupted" in text
    assert "nothing was measured" in text
    assert "No device was measured" in text


def test_unknown_benchmark_has_a_table_and_a_curve(pages: dict[str, tuple[Evaluation, str]]) -> None:
    text = pages["single"][1]
    assert "<h2>newthing</h2>" in text
    assert text.count("<figure>") == 1
    assert "widgets/s over size" in text


@pytest.fixture
def without(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    return name


@pytest.mark.parametrize("without", ["jinja2", "matplotlib"], indirect=True)
def test_missing_library_is_told_and_costs_only_the_page(without: str, tmp_path: Path) -> None:
    run, machine = samples.make_cpu_run(), Machine()
    with pytest.raises(ModuleNotFoundError) as caught:
        write_html(run, machine, "node7")
    assert caught.value.name == without
    directory = RunDirectory.create(tmp_path / "run", RunOptions())
    written = write_reports(directory, run, machine, "node7")
    assert written["page"] == f"not made: {without} is not installed (pip install 'xpukit[report]')"
    assert not (tmp_path / "run" / "report.html").exists()
    assert (tmp_path / "run" / "report.md").exists()

"""`summary.md`: what is in it, that it pings nobody, and that it always fits an issue."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.recorded_machines import list_machines, read_machine
from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.core.machine import Device, Machine, SoftwareItem
from xpukit.sysinfo.collection import Collection, CollectorReport
from xpukit.sysinfo.entry import Entry
from xpukit.sysinfo.summary import LIMIT_CHARS, build_summary
from xpukit.sysinfo.summary_text import as_block, as_code, as_html, as_row, as_text


class Said(msgspec.Struct, frozen=True, kw_only=True):
    findings: tuple[Finding, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()


COLLECTION = Collection(
    preset="default",
    root=False,
    complete=False,
    collectors=(
        CollectorReport(name="os", summary="s", status="ok", entries=(Entry(what="run uname -a", status="ok"),)),
        CollectorReport(
            name="dmi",
            summary="s",
            status="partial",
            detail="1 of 1 not answered",
            root_adds="board and memory modules",
            entries=(Entry(what="run dmidecode", status="denied", detail="dmidecode: permission denied"),),
        ),
    ),
)

HOSTILE = st.text(alphabet=st.sampled_from(list("@#|`<>&*_[]()!~\\$\n\r\t -GHgh1a:/.\u202e\x1b")), max_size=60)


def make_finding(text: str, *, severity: str = "warning", number: int = 1) -> Finding:
    return msgspec.convert(
        {
            "id": f"XPK-TEST-{number}",
            "severity": severity,
            "summary": text,
            "evidence": [{"source": text, "value": text}],
            "remedy": [text],
            "links": [text],
            "subject": text,
            "explanation": text,
            "commands": [text],
        },
        Finding,
    )


def render(markdown: str) -> str:
    """The text that GitHub looks at for mentions and references: fences, code and comments gone, entities resolved."""
    text = re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1$", "\x00", markdown)
    # A backslash before a backtick escapes it outside of a code span; inside it is a character like any other.
    span = r"\\`|(?<!`)(`+)(?!`)(.*?)(?<!`)\1(?!`)"
    text = re.sub(span, lambda found: "\x00" if found[1] else "\x01", text)
    text = re.sub(r"<code>.*?</code>", "\x00", text)
    text = text.replace("<!-- -->", "\x00")
    text = re.sub(r"\\([\\*_\[\]|~$])", r"\1", text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


MENTION = re.compile(r"@\w|#\d|GH-\d|https?:[^\x00\s]", re.IGNORECASE)


@pytest.mark.parametrize("name", list_machines())
def test_every_recorded_machine(name: str) -> None:
    machine = read_machine(name)
    text = build_summary(machine, Said(findings=machine.findings), COLLECTION, bundle="b.tar.zst")
    assert text == build_summary(machine, Said(findings=machine.findings), COLLECTION, bundle="b.tar.zst")
    assert len(text) < LIMIT_CHARS
    for device in machine.devices:
        assert f"`{device.bdf}`" in text
    positions = [text.index(finding.id) for finding in machine.findings]
    assert positions == sorted(positions)
    assert text.count("<details>") == text.count("</details>")
    assert not MENTION.search(render(text))


def test_what_a_maintainer_asks_for() -> None:
    machine = read_machine("b60x4_bmc")
    text = build_summary(machine, Said(), COLLECTION, images=("intel/llm-scaler-vllm:0.11.1-b7",), bundle="b.tar.zst")
    for words in (
        "| kernel | `6.14",
        "| Level Zero loader | `1.28",
        "| xpu-smi | `2.0.0",
        "| oneCCL | ",
        "| GuC firmware | `70.49.4` |",
        "| container image | `intel/llm-scaler-vllm:0.11.1-b7` |",
        "32 GT/s x4 **degraded** | 32 GT/s x8",
        "- `run dmidecode` denied (dmidecode: permission denied)",
        "- `dmi`: board and memory modules",
        "as an ordinary user",
        "cut short",
        "xpukit --from b.tar.zst doctor",
    ):
        assert words in text
    assert "`os`" not in text


def test_unchecked_and_nothing_found() -> None:
    said = Said(unchecked=(Unchecked(check="aspm", why="config space: @root only", remedy="run as root"),))
    text = build_summary(Machine(), said)
    assert "### Could not be checked (1)" in text
    assert "- `aspm`: config space: @<!-- -->root only (would help: run as root)" in text
    assert "No Intel GPU on the PCI bus." in text
    assert "### Findings (0)\n\nNone." in text


def test_links_stand_in_code_so_that_issues_get_no_reference() -> None:
    finding = Finding(
        id="XPK-T", severity="info", summary="s", links=("https://github.com/intel/compute-runtime/issues/935",)
    )
    text = build_summary(Machine(), Said(findings=(finding,)))
    assert "- see: `https://github.com/intel/compute-runtime/issues/935`" in text


@pytest.mark.parametrize(
    ("text", "code"),
    [("a|b", "`a|b`"), ("a`b", "``a`b``"), ("`", "`` ` ``"), ("", ""), ("a\nb", "`a b`"), ("a\x1b[2Jb", "`a?[2Jb`")],
)
def test_code_spans(text: str, code: str) -> None:
    assert as_code(text) == code


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("@user", "@<!-- -->user"),
        ("intel/xpumanager#151", "intel/xpumanager#<!-- -->151"),
        ("gh-12", "gh-<!-- -->12"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("a|b*c_d", r"a\|b\*c\_d"),
        ("see https://x.org", "see https:<!-- -->//x.org"),
        ("root@", "root@"),
        ("@_x", r"@<!-- -->\_x"),
    ],
)
def test_sentences(text: str, escaped: str) -> None:
    assert as_text(text) == escaped


@given(HOSTILE)
def test_no_text_of_a_machine_pings_or_breaks_a_row(text: str) -> None:
    for escaped in (as_text(text), as_html(text), as_code(text)):
        assert "\n" not in escaped
        assert not MENTION.search(render(escaped))
    # GitHub's tables take every bar behind a backslash as escaped, also behind two.
    assert len(re.findall(r"(?<!\\)\|", as_row((as_code(text), as_text(text))))) == 3
    assert not re.search(r"<(?!!-- -->)", as_text(text))


@given(HOSTILE)
def test_a_block_is_closed_only_by_its_own_fence(text: str) -> None:
    lines = as_block((text, "```", "````x")).splitlines()
    assert lines[0] == lines[-1]
    assert not any(line.startswith(lines[0]) for line in lines[1:-1])


@given(HOSTILE, st.integers(0, 12), st.sampled_from([1500, 4000, 9000]))
def test_it_fits_and_every_fold_is_closed(text: str, count: int, limit: int) -> None:
    findings = tuple(make_finding(text, number=number) for number in range(count))
    said = Said(findings=findings, unchecked=tuple(Unchecked(check="c", why=text) for _ in findings))
    machine = Machine(software=tuple(SoftwareItem(name=text or "x", version=text, found=True) for _ in range(count)))
    summary = build_summary(machine, said, COLLECTION, limit_chars=limit)
    assert len(summary) <= limit
    assert summary.count("<details>") == summary.count("</details>")
    assert not MENTION.search(render(summary))


def test_thousands_of_findings_and_long_values_fit() -> None:
    findings = tuple(
        Finding(
            id=f"XPK-TEST-{number}",
            severity="critical" if number < 3 else "warning",
            summary="s" * 500,
            evidence=(Evidence(source="log", value="v" * 100_000),),
        )
        for number in range(5000)
    )
    devices = tuple(
        Device(
            index=index, bdf=f"0000:{index:02x}:00.0", vendor_id="8086", device_id="e211", name="n" * 300, known=True
        )
        for index in range(256)
    )
    text = build_summary(Machine(devices=devices), Said(findings=findings), COLLECTION)
    assert len(text) <= LIMIT_CHARS
    assert "### Findings (5000)" in text
    assert "more: `findings.json` in the bundle" in text
    assert "XPK-TEST-0</code>" in text
    assert "### Opening the bundle" in text
    assert "### Collected" in text

"""Nothing planted survives a recording; what the machine is stays readable."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.machines.recorded_machines import RECORDED, list_machines
from tests.unit.host.seeded_secrets import IDENTITY, PLAIN, plant
from xpukit.host.answers import FileAnswer, IdentityAnswer
from xpukit.host.mediated import MediatedHost, Question
from xpukit.host.recording import RecordingHost
from xpukit.host.recording_format import ANSWERS, BLOBS, RecordingFiles, read_lines
from xpukit.host.redaction.answers import replace_in_answer
from xpukit.host.redaction.post_scan import Leak, scan_bundle
from xpukit.host.redaction.pseudonyms import PseudonymMap, load_map, save_map
from xpukit.host.redaction.redactor import Redactor, list_rules
from xpukit.host.replay import ReplayHost
from xpukit.host.scrub import Scrubber, keep_everything

NOBODY = IdentityAnswer(hostname="zz-unseen-host", username="zzunseenuser")
CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpus"


Row = tuple[str, Question, msgspec.Struct, tuple[str, ...]]


class PlantedHost(MediatedHost):
    def __init__(self, answers: dict[Question, msgspec.Struct]) -> None:
        super().__init__(None)
        self.answers = {("identity",): IDENTITY, **answers}

    def mediate(self, question: Question, answer_type: type, ask: Callable[[], object]) -> object:  # type: ignore[override]
        return self.answers[question]


def record(directory: Path, rows: list[tuple[str, Question, msgspec.Struct, tuple[str, ...]]], scrub: Scrubber) -> None:
    host = PlantedHost({question: answer for _, question, answer, _ in rows})
    recording = RecordingHost(host, directory, command=("xpukit", "serve", "--api-key", "owncmd-77k"), scrub=scrub)
    for _, question, answer, _ in rows:
        recording.mediate(question, type(answer), lambda answer=answer: answer)  # type: ignore[misc]
    recording.close()


@cache
def lower_planted() -> str:
    return record_planted().text.lower()


def show_answer(host: ReplayHost, question: Question, answer_type: type[msgspec.Struct]) -> str:
    """All texts of an answer, in lower case."""
    answer = host.mediate(question, answer_type, lambda: pytest.fail("it was not recorded"))
    parts: list[str] = []
    replace_in_answer(answer, lambda text: parts.append(text) or text)  # type: ignore[func-returns-value]
    raw = "\n".join(parts).encode("utf-8", "surrogateescape")
    return (raw.decode("latin-1") + raw.decode("latin-1").replace("\0", "")).lower()


def read_all(directory: Path) -> str:
    """Everything in a recording, base64 decoded too."""
    text = "\n".join(path.read_text(errors="replace") for path in sorted(directory.rglob("*")) if path.is_file())
    hidden = [base64.b64decode(found).decode("latin-1") for found in re.findall(r'"base64":"([^"]*)"', text)]
    return "\n".join((text, text.replace("\\\\", "\\").replace("\\/", "/").replace("\\n", "\n"), *hidden))


class Recorded(NamedTuple):
    """What a recording of planted answers holds, the rules that worked for each, and those that the scan found."""

    text: str
    texts: dict[Question, str]
    rules: dict[Question, set[str]]
    leaking: set[Question]
    leaks: tuple[Leak, ...]


def record_rows(
    rows: list[Row], scrub: Scrubber, *, identity: IdentityAnswer = IDENTITY, literals: tuple[str, ...] = ()
) -> Recorded:
    with TemporaryDirectory() as scratch:
        directory = Path(scratch, "rec")
        record(directory, rows, scrub)
        lines = [msgspec.json.decode(line) for line in (directory / ANSWERS).read_bytes().splitlines()]
        leaks = scan_bundle(directory, identity=identity, literals=literals)
        text = read_all(directory)
        host = ReplayHost(directory, strict=False)
        texts = {question: show_answer(host, question, type(answer)) for _, question, answer, _ in rows}
    leaking = set()
    for leak in leaks:
        for line, (_, question, _, _), number in zip(lines, rows, range(1, 1 + len(rows)), strict=True):
            blobs = [value["blob"] for value in line["answer"].values() if isinstance(value, dict) and "blob" in value]
            if (leak.file == ANSWERS and leak.line == number) or leak.file.removeprefix(f"{BLOBS}/") in blobs:
                leaking.add(question)
    report = scrub.report() if isinstance(scrub, Redactor) else None
    rules = {
        row[1]: {rule for label, counts in report.files.items() if scrub(" ".join(row[1])) == label for rule in counts}
        for row in rows
    } if report is not None else {}  # fmt: skip
    return Recorded(text=text, texts=texts, rules=rules, leaking=leaking, leaks=leaks)


@cache
def record_planted() -> Recorded:
    """All of it, with every rule."""
    return record_rows(plant(), Redactor(IDENTITY))


@cache
def record_bare(identity: IdentityAnswer) -> Recorded:
    """All of it, with no rule, scanned for what `identity` is called and for what is only known from elsewhere."""
    return record_rows(plant(), keep_everything, identity=identity, literals=(PLAIN,))


def test_there_are_enough_planted_secrets() -> None:
    assert len(plant()) >= 240
    assert len({kind for kind, *_ in plant()}) == len(plant())


@pytest.mark.parametrize(("kind", "gone"), [(kind, gone) for kind, _, _, gone in plant()])
def test_no_planted_secret_survives(kind: str, gone: tuple[str, ...]) -> None:
    low = lower_planted()
    assert not [secret for secret in gone if secret.lower() in low]
    assert "owncmd-77k" not in low


def test_the_scan_is_clean_after_redaction() -> None:
    assert record_planted().leaks == ()


@pytest.mark.parametrize("rule", [rule.name for rule in list_rules()])
def test_the_scan_catches_what_a_switched_off_rule_leaves(rule: str) -> None:
    worked = record_planted().rules
    rows = [row for row in plant() if rule in worked[row[1]]]
    assert rows, "nothing is planted for it"
    bare = record_rows(rows, Redactor(IDENTITY, without=frozenset({rule})))
    for kind, question, _, gone in rows:
        left = [secret for secret in gone if secret.lower() in bare.texts[question]]
        assert not left or question in bare.leaking, f"{kind}: {left} is left, and the scan says nothing"


@pytest.mark.parametrize("row", plant(), ids=lambda row: row[0])
def test_the_scan_catches_each_kind_alone(row: Row) -> None:
    # A name that shows by nothing but that it is this host's own is looked for by name.
    identity = IDENTITY if row[0] in ("host name", "user name", "host name file", "process argv") else NOBODY
    assert row[1] in record_bare(identity).leaking


STAYS = (
    "0000:03:00.0 8086:e211 [8086:56a0] 00:1f.3 pci0000:00/0000:00:01.0",
    "6.14.0-1011-intel 25.18.33578.6 1.24.4.12 70.49.4 2025.1.3 libze1_1.24.1-1~24.04 v1.2.3.4",
    "driver version: 10.1.2.3, firmware 32.0.101.5 and neo 1.3.30049.6",
    "12:34:56 std::vector a::b dead::beef 2024-06-01T12:34:56",
    "127.0.0.1:8000 0.0.0.0 255.255.255.0 ::1 224.0.0.1 00:00:00:00:00:00 ff:ff:ff:ff:ff:ff",
    "KEY_LEN=16 PRIMARY_KEY=id tokenizer=meta --max-num-batched-tokens 4096 eos_token: </s> token_type_ids",
    "CCL_ATL_TRANSPORT=ofi CCL_TOPO_P2P_ACCESS=1 ZE_AFFINITY_MASK=0,1 SSL_KEY=/etc/ssl/key.pem",
    "00000000-0000-0018-0000-0000e2118086 868011e2-0000-0000-1800-000000000000",
    "Serial Number: Not Specified  Serial: unknown  getty@tty1.service",
    "api_key=None, port=8000, api-key: null",
    "12:34:56:78 is a time",
    "name: model\n  value: 12\nkey: eos_token, value: 2\nset -x PATH y; iSerial                 1 0000:00:14.0",
    "sha256:104eb946d532334a09c317ad4141a8258d203dd98bae8670c9085d16dc4bd306 xe/bmg_guc_70.bin version 70.49.4",
    "image intel/vllm@sha256:3b1c0de0aabbccddeeff00112233445566778899aabbccddeeff001122334455 BAR 0x4000000000",
    "2026-11-21T23:00:00.123456Z [   12.345678] LnkSta: Speed 16GT/s, Width x8 10000:e1:00.0 0x00000000deadbeef",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 d41d8cd98f00b204e9800998ecf8427e",
)


@pytest.mark.parametrize("text", STAYS)
def test_what_the_machine_is_stays(text: str) -> None:
    assert Redactor(IDENTITY)(text) == text


@pytest.mark.parametrize("name", list_machines())
def test_recorded_machines_keep_all_but_names(name: str) -> None:
    """The scan finds nothing in them, and the redactor changes only addresses of machines."""
    archive = RECORDED / f"{name}.tar.xz"
    assert scan_bundle(archive, identity=NOBODY) == ()


def test_scrubbing_twice_changes_nothing() -> None:
    redactor = Redactor(IDENTITY)
    for _, _, answer, _ in plant():
        if isinstance(answer, FileAnswer) and len(answer.data) < 10_000:
            once = redactor.scrub_bytes(answer.data)
            assert redactor.scrub_bytes(once) == once


TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from(list(":.-=/@\"' \n\0abcdef0123456789")), max_size=200)


@settings(max_examples=150, deadline=None)
@given(TEXT)
def test_scrubbing_any_text_is_idempotent(text: str) -> None:
    redactor = Redactor(IDENTITY)
    once = redactor(text)
    assert redactor(once) == once


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_binary_data_stays(data: bytes) -> None:
    redactor = Redactor(NOBODY)
    assert redactor.scrub_bytes(data) == data or any(redactor.report().rules.values())


@given(st.lists(st.integers(1, 254), min_size=4, max_size=4), st.text(" abcxyz\n", max_size=20))
def test_an_address_keeps_its_pseudonym_wherever_it_stands(numbers: list[int], around: str) -> None:
    address = "10." + ".".join(str(number) for number in numbers[1:])
    redactor = Redactor(NOBODY)
    first = redactor(f"inet {address}/24")
    assert address not in first
    assert redactor(f"{around} inet {address}/24").endswith(first)
    assert redactor.map.put_back(first) == f"inet {address}/24"


def test_pseudonyms_outlast_the_process_and_hold_no_secret(tmp_path: Path) -> None:
    first = Redactor(IDENTITY)
    text = "gpu-rack-07 melinda inet 10.1.2.3/24 38:ea:a7:12:34:56 HF_TOKEN=secretValue99"
    shown = first(text)
    path = tmp_path / "state" / "map.json"
    save_map(path, first.map)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "secretValue99" not in path.read_text(encoding="utf-8")
    again = load_map(path)
    assert again is not None
    assert Redactor(IDENTITY, known=again)(text) == shown
    assert again.put_back(shown) == text.replace("secretValue99", "[REDACTED:named-value]")


@pytest.mark.parametrize("content", ["", "{", '{"schema":"other/1","id":"x","names":{}}', "\x00"])
def test_a_damaged_map_is_no_map(tmp_path: Path, content: str) -> None:
    (tmp_path / "m").write_text(content)
    assert load_map(tmp_path / "m") is None


def test_names_are_put_back_only_with_the_own_map(tmp_path: Path) -> None:
    redactor = Redactor(IDENTITY)
    answer = FileAnswer(data=b"/home/melinda on gpu-rack-07, \xff 10.1.2.3:80\n")
    record(tmp_path / "rec", [("x", ("read", "/home/melinda/a"), answer, ())], redactor)
    assert ReplayHost(tmp_path / "rec", names=redactor.map).read("/home/melinda/a") == answer
    for names in (None, PseudonymMap()):
        other = ReplayHost(tmp_path / "rec", names=names)
        assert b"melinda" not in other.read("/home/user-1/a").data


def test_the_report_counts_and_names_no_secret() -> None:
    redactor = Redactor(IDENTITY, without=frozenset({"mac"}))
    redactor.about("read /home/melinda/.env")
    redactor("HF_TOKEN=secretValue99 38:ea:a7:12:34:56")
    report = redactor.report()
    assert report.rules["named-value"] == report.files["read /home/user-1/.env"]["named-value"] == 1
    assert report.switched_off == ("mac",)
    assert report.kinds["mac"].off
    assert b"secretValue99" not in msgspec.json.encode(report)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared corpus is not here")
def test_real_output_of_tools_is_changed_in_few_places() -> None:
    """Serial numbers, logins, addresses and names go; nothing else does."""
    redactor = Redactor(NOBODY)
    for path in sorted(CORPUS.rglob("*.txt")):
        text = path.read_text(errors="replace")
        before = re.findall(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|\[8086:[0-9a-f]{4}\]", text)
        after = redactor(text)
        assert [bdf for bdf in before if bdf not in after] == []


def test_read_lines_reads_what_was_redacted(tmp_path: Path) -> None:
    record(tmp_path / "rec", plant(), Redactor(IDENTITY))
    answers, damaged = read_lines(RecordingFiles(tmp_path / "rec"))
    assert damaged == 0
    assert len(answers) == len(plant())

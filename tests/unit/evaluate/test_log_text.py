"""Logs in other encodings, and with what loggers put before each line."""

from __future__ import annotations

import gzip
import lzma
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.evaluate.parsers.damaged_text import DATA
from xpukit.evaluate.log_text import decode_log, find_packing, strip_prefixes

PEER = (DATA / "ze_peer" / "uni-2dev.txt").read_text(encoding="utf-8")
LOGGERS = {
    "the journal": "Nov 21 22:58:13 node-1 run.sh[4711]: ",
    "the container runtime": "2026-11-21T22:58:13.123456789Z stdout F ",
    "times": "[2026-11-21 22:58:13] ",
    "docker compose": "bench-1  | ",
    "kubectl": "[pod/bench-7d/main] ",
    "mpirun": "[0] ",
    "a quotation": "> ",
}


def put_before(prefix: str, text: str) -> str:
    return "\n".join(prefix + line for line in text.split("\n"))


@pytest.mark.parametrize(("name", "prefix"), LOGGERS.items(), ids=LOGGERS)
@pytest.mark.parametrize("path", sorted(DATA.glob("*/*dev*.txt")), ids=lambda path: path.stem)
def test_what_loggers_put_before_lines_is_taken_off(name: str, prefix: str, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert strip_prefixes(put_before(prefix, text)) == (text, (f"what {name} put before each line was taken off",))


def test_several_loggers_one_behind_the_other() -> None:
    text, remarks = strip_prefixes(put_before("bench-1 | 2026-11-21T22:58:13Z [0] ", PEER))
    assert text == PEER
    assert len(remarks) == 3


def test_a_pasted_log_is_indented() -> None:
    assert strip_prefixes(put_before("    ", PEER)) == (PEER.rstrip(" "), ())


def test_lines_of_two_ranks_are_not_taken_together() -> None:
    mixed = "\n".join(f"[{place % 2}] {line}" for place, line in enumerate(PEER.split("\n")))
    text, (remark,) = strip_prefixes(mixed)
    assert text == mixed
    assert "several sources" in remark


@pytest.mark.parametrize("path", sorted(DATA.glob("[!l]*/*.txt")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_tools_print_has_no_prefix(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    stripped, remarks = strip_prefixes(text)
    assert not remarks
    assert re.sub(r"^[ \t]+", "", stripped, flags=re.MULTILINE) == re.sub(r"^[ \t]+", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_their_mark(encoding: str) -> None:
    assert decode_log(PEER.encode(encoding)).removeprefix("\ufeff") == PEER


def test_bytes_that_are_no_text_are_read_all_the_same() -> None:
    assert decode_log(b"\xff\xfe\x00") is not None
    assert decode_log(bytes(range(256))) is not None


def test_compressed_files_are_named() -> None:
    assert find_packing(gzip.compress(b"x")) == ("gzip", "zcat")
    assert find_packing(lzma.compress(b"x")) == ("xz", "xzcat")
    assert find_packing(PEER.encode()) == ("", "")


@given(st.text(alphabet="[]0 >|ab:\n-TZ2", max_size=400))
def test_any_text(text: str) -> None:
    stripped, _ = strip_prefixes(text)
    assert stripped.count("\n") == text.count("\n")

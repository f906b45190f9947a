"""Upstream's four columns, and layers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.core.errors import BadFactsError
from xpukit.facts.reference_layers import load_layers
from xpukit.facts.references import load_references
from xpukit.facts.references_upstream import guess_devices, is_upstream, map_upstream, parse_upstream, read_upstream

# Every row that the upstream script can write; the values are made up.
FILE = """Category,Subcategory,size,value
p2p,Unidirectional Write,128 MB,25.0
p2p,Bidirectional Read,256 MB,33.5
GPU memory bandwidth,H2D,,27.1
GPU memory bandwidth,D2H,,28.2
GPU memory bandwidth,D2D,float8,410
GPU memory bandwidth,D2D,float16,402
gemm,int8,,170
1ccl,allreduce,128MB,12.5
1ccl,alltoall,128MB,8
"""


def test_what_each_row_becomes() -> None:
    rows = parse_upstream(FILE, origin="reference_perf_b60.csv")
    found = {(row.benchmark, row.metric, row.params): (row.value, row.unit) for row in rows}
    assert found[
        ("p2p", "bandwidth", (("bytes", 1 << 27), ("direction", "uni"), ("mode", "write"), ("path", "peer")))
    ] == (25.0, "GB/s")
    assert found[
        ("p2p", "bandwidth", (("bytes", 1 << 28), ("direction", "bi"), ("mode", "read"), ("path", "peer")))
    ] == (33.5, "GB/s")
    assert found[("transfer", "peak_bandwidth", (("direction", "h2d"), ("memory", "shared")))] == (27.1, "GB/s")
    assert found[("memory", "vector_bandwidth", (("op", "read"), ("vector", "float16")))] == (402, "GB/s")
    assert found[("gemm", "throughput", (("dtype", "int8"), ("k", 40960), ("m", 40960), ("n", 40960)))] == (170, "TOPS")
    allreduce = found[("collectives", "busbw", (("bytes", 1 << 27), ("collective", "allreduce"), ("dtype", "fp16")))]
    assert allreduce == (pytest.approx(12.5 * 1.048576), "GB/s")
    ranks = [dict(params)["ranks"] for (_, _, params) in found if dict(params).get("collective") == "alltoall"]
    assert ranks == [2, 3, 4, 5, 6, 7, 8]
    assert {row.device for row in rows} == {"8086:e211"}
    assert {row.kind for row in rows} == {"published"}
    assert rows[0].origin == "reference_perf_b60.csv:2"


@pytest.mark.parametrize(
    ("name", "devices"),
    [
        ("reference_perf_b60.csv", ("8086:e211",)),
        ("reference_perf_b70.csv", ("8086:e223",)),
        ("A770-reference.csv", ("8086:56a0",)),
        ("reference_perf.csv", ()),
        ("intel_arc_pro_graphics.csv", ()),
    ],
)
def test_the_device_comes_from_the_name(name: str, devices: tuple[str, ...]) -> None:
    assert guess_devices(name) == devices


def test_a_file_that_names_no_device_is_refused() -> None:
    with pytest.raises(BadFactsError, match="does not say which device"):
        parse_upstream(FILE, origin="reference_perf.csv")
    assert parse_upstream(FILE, origin="reference_perf.csv", devices=("8086:e223",))[0].device == "8086:e223"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("p2p,Sideways Write,128 MB,25", "no metric of ours"),
        ("p2p,Unidirectional Write,big,25", "no metric of ours"),
        ("gemm,fp64,,25", "no metric of ours"),
        ("gemm,int8,,1.234,5", ""),  # a fifth column is not read, as upstream does not
        ("gemm,int8,,12;5", "not a positive number"),
        ("gemm,int8,,", "not a positive number"),
        ("gemm,int8,,nan", "not a positive number"),
        ("gemm,int8,,-1", "not a positive number"),
        ("gemm,int8", "2 columns instead of 4"),
        ("gemm,int8,,1\ngemm,int8,,2", "says again what"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_line(line: str, words: str) -> None:
    _, problems = read_upstream(f"Category,Subcategory,size,value\n{line}\n", origin="f.csv", devices=("8086:e211",))
    assert (words in problems[0] and problems[0].startswith("f.csv:")) if words else problems == ()


def test_only_that_header_is_upstreams() -> None:
    assert is_upstream(FILE)
    assert is_upstream("\ufeffcategory , subcategory,Data/Packet Size,Measured (GB/s),Reference (GB/s)\n")
    assert not is_upstream("device,benchmark,metric\n")
    assert map_upstream("", "", "") == ()


@given(st.text(max_size=200))
def test_any_text_is_read_or_reported(text: str) -> None:
    rows, problems = read_upstream("Category,Subcategory,size,value\n" + text, origin="f.csv", devices=("8086:e211",))
    assert all(row.value > 0 for row in rows)
    assert all(problem.startswith("f.csv:") for problem in problems)


def test_layers_are_numbered_in_order(tmp_path: Path) -> None:
    first, second = tmp_path / "reference_perf_b60.csv", tmp_path / "mine.csv"
    first.write_text(FILE)
    second.write_text(
        "device,benchmark,metric,params,value,unit,direction,kind,tolerance,source,date\n"
        "8086:e211,memory,peak_bandwidth,op=read,400,GB/s,higher,spec,0.1,here,2026-01-01\n"
    )
    rows = load_layers([first, second])
    shipped = len(load_references())
    assert [row.layer for row in rows] == [0] * shipped + [1] * 15 + [2]
    assert rows[-1].origin == f"{second}:2"
    with pytest.raises(BadFactsError, match="cannot be read"):
        load_layers([tmp_path / "none.csv"])
    second.write_bytes(b"\xff\xfe")
    with pytest.raises(BadFactsError, match="UTF-8"):
        load_layers([second])

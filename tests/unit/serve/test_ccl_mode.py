"""The oneCCL mode, read from what `evaluate` writes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.recorded_machines import read_machine
from xpukit.core.json_document import build_document
from xpukit.evaluate.recommend_ccl import Recommendation, Winner, report_recommendation
from xpukit.evaluate.result import DeviceSummary, Evaluation
from xpukit.serve.ccl_mode import MODE_ID, VARIABLE, WRONG_ID, read_ccl_mode

MACHINE = read_machine("b60x8_2s")


def write_results(recommendation: Recommendation | None, *, device_id: str = "e211") -> dict[str, Any]:
    """A results document as evaluate writes it, as a reader gets it."""
    devices = tuple(
        DeviceSummary(label=device.bdf, kind="gpu", name=device.name, bdf=device.bdf, device_id=device_id)
        for device in MACHINE.devices[:4]
    )
    body = Evaluation(
        engine="auto",
        suite="standard",
        devices=devices,
        results=(),
        verdict="pass",
        complete=True,
        findings=report_recommendation(recommendation) if recommendation else (),
        started="2026-11-20T10:00:00Z",
    )
    text = msgspec.json.encode(build_document("xpukit.evaluate/1", "host", body))
    document: dict[str, Any] = msgspec.json.decode(text)
    return document


def recommend(mode: Winner, wrong: tuple[str, ...] = ()) -> Recommendation:
    line = {"p2p": "CCL_TOPO_P2P_ACCESS=1", "usm": "CCL_TOPO_P2P_ACCESS=0", "": ""}[mode]
    return Recommendation(mode=mode, line=line, summary="P2P is faster in allreduce: 15% on average", wrong=wrong)


@pytest.mark.parametrize(("mode", "value"), [("p2p", "1"), ("usm", "0")])
def test_the_measured_mode_with_its_source(mode: Winner, value: str) -> None:
    found = read_ccl_mode(write_results(recommend(mode)), MACHINE)
    assert found.mode == mode
    assert found.environment == {VARIABLE: value}
    assert found.measured
    assert found.source == "of 2026-11-20T10:00:00Z (suite standard)"
    assert found.reasons == (
        f"{VARIABLE}={value}: P2P is faster in allreduce: 15% on average "
        "(evaluation of 2026-11-20T10:00:00Z (suite standard))",
    )


def test_wrong_data_decides() -> None:
    found = read_ccl_mode(write_results(recommend("usm", wrong=("P2P allreduce 1 MiB: 3 of 4 differ",))), MACHINE)
    assert (found.mode, found.environment) == ("usm", {VARIABLE: "0"})
    assert "wrong results" in found.reasons[0]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, "no evaluation"),
        (write_results(None), "compared no modes"),
        (write_results(recommend("")), "left as it is"),
        (write_results(recommend("", wrong=("P2P allreduce: wrong",))), "left as it is"),
        (write_results(recommend("p2p"), device_id="56a0"), "other GPUs"),
    ],
)
def test_otherwise_it_is_left_alone_and_says_why(document: dict[str, Any] | None, words: str) -> None:
    found = read_ccl_mode(document, MACHINE)
    assert (found.mode, found.environment) == ("", {})
    assert words in found.reasons[0]


def test_one_rank_needs_no_mode() -> None:
    found = read_ccl_mode(write_results(recommend("p2p")), MACHINE, ranks=1)
    assert (found.mode, found.environment) == ("", {})


def test_another_hosts_run_is_not_believed() -> None:
    found = read_ccl_mode(write_results(recommend("p2p")), read_machine("b60x4_bmc"))
    assert "other GPUs" in found.reasons[0]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("id", "bdf", "remedy", "x")), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(("findings", "devices", "started", "suite")), _JSON)
    | st.fixed_dictionaries(
        {
            "findings": st.lists(
                st.fixed_dictionaries(
                    {"id": st.sampled_from((MODE_ID, WRONG_ID, "X")), "remedy": _JSON, "summary": _JSON}
                ),
                max_size=3,
            )
        }
    )
)
def test_damaged_documents_say_nothing(document: dict[str, Any]) -> None:
    found = read_ccl_mode(document, MACHINE)
    assert found.reasons
    assert bool(found.environment) is bool(found.mode)

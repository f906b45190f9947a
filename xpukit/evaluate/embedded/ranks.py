"""Measuring with several ranks: rank 0 leads, the time is the slowest rank's, every rank checks its own data.

Shared by the kinds `collectives` (oneCCL), `mpi_collectives` (mpi4py) and `torch_collectives` (torch.distributed); a
`Group` and a `Transport` are what differs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol, TypeVar, runtime_checkable

import msgspec

from xpukit.core.errors import XpukitError
from xpukit.core.measurement import Measurement, Method, MetricKey, Param, make_key
from xpukit.evaluate.embedded.collective_maths import (
    Layout,
    bus_factor,
    compare,
    lay_out,
    make_expected,
    make_send,
    make_unset,
)
from xpukit.evaluate.embedded.protocol import Request
from xpukit.evaluate.embedded.worker import Emitter
from xpukit.evaluate.sampling import Samples, collect_samples
from xpukit.host.native.collective_memory import Buffer, Memory

METHOD_TEXT = (
    "time = the slowest rank's, from a barrier to its own end of a batch of operations, divided by the batch; "
    "sizes and busbw as in nccl-tests; out of place, broadcast in place; every rank's data checked bit for bit"
)
UNITS = {"algbw": "GB/s", "busbw": "GB/s", "latency": "us"}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One collective at one size and type (`size_bytes` already rounded) and the metrics wanted of it."""

    collective: str
    size_bytes: int
    dtype: str
    metrics: tuple[str, ...]


class RankParams(msgspec.Struct, frozen=True, kw_only=True):
    """`params` of a request to several ranks. `plant_error`: spoil element `index` on `rank` before the check."""

    benchmark: str
    ranks: int
    mode: str
    devices: tuple[str, ...]
    cases: tuple[Case, ...]
    plant_error: dict[str, int] | None = None


class Group(Protocol):
    """The ranks of a run and how they wait for each other (mpi.RankGroup, torch_ranks.TorchRankGroup).

    Every method is collective: all ranks must call it.
    """

    rank: int
    size: int

    def barrier(self) -> None:
        """Nobody goes on before all are here."""

    def largest(self, value: float) -> float:
        """The largest of all ranks' values, on every rank."""

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""

    def gather(self, value: str) -> list[str]:
        """All ranks' texts in rank order, on every rank."""

    def abort(self, reason: str) -> NoReturn:
        """End all ranks now, with the reason on standard error: the others may be waiting for us."""

    def leave(self) -> None:
        """The orderly end. Only rank 0 returns: one process is to speak for all."""


class Transport(Protocol):
    """A library that moves the data."""

    memory: Memory

    def bind(self, collective: str, send: Buffer, receive: Buffer, layout: Layout, dtype: str) -> Callable[[int], None]:
        """A function that does the collective n times and returns when this rank is done."""

    def describe(self, collective: str) -> str:
        """Library, versions and the settings that matter."""


@runtime_checkable
class InPlace(Protocol):
    """A transport that has a collective only in place: repeated, it works on its own results."""

    def settle(self, collective: str) -> None:
        """After the timed operations: one more of them, from the data that were sent."""


def key_of(params: RankParams, case: Case, metric: str) -> MetricKey:
    """The row that a case's metric is."""
    about: dict[str, Param] = {
        "collective": case.collective,
        "bytes": case.size_bytes,
        "ranks": params.ranks,
        "dtype": case.dtype,
        "mode": params.mode,
    }
    return make_key(params.benchmark, metric, params.devices, **about)


def emit_all_missing(params: RankParams, emit: Emitter, reason: str, cases: Sequence[Case] | None = None) -> None:
    """Say of every row of `cases` (all of them without) why it will not come."""
    for case in params.cases if cases is None else cases:
        for metric in case.metrics:
            emit.missing(key_of(params, case, metric), reason)


G = TypeVar("G", bound=Group)


def measure_cases(
    request: Request, emit: Emitter, open_group: Callable[[], G], open_transport: Callable[[G], Transport]
) -> None:
    """Measure every case of the request. Only rank 0 emits and only rank 0 returns.

    What fails on every rank alike (a type that the library does not do) costs the case; anything else ends all
    ranks at once, since the others may already be waiting inside a collective.
    """
    params = msgspec.convert(request.params, RankParams)
    group = open_group()
    speaks = group.rank == 0
    done = 0
    try:
        if group.size != params.ranks:
            raise XpukitError(f"{group.size} ranks were started instead of {params.ranks}")
        transport = open_transport(group)
        if speaks:
            emit.note(METHOD_TEXT)
        for case in params.cases:
            rows, refusal = _measure_case(group, transport, params, case, request.method)
            done += 1
            if speaks:
                for row in rows:
                    emit.measured(row)
                if refusal:
                    emit_all_missing(params, emit, refusal, [case])
    except Exception as err:
        reason = err.message if isinstance(err, XpukitError) else f"{type(err).__name__}: {err}"
        if speaks:
            emit_all_missing(params, emit, f"rank 0: {reason}", params.cases[done:])
        group.abort(reason)
    group.leave()


def _measure_case(
    group: Group, transport: Transport, params: RankParams, case: Case, method: Method
) -> tuple[list[Measurement], str]:
    """The rows of a case (on rank 0), or why the library refuses it."""
    layout = lay_out(case.collective, case.size_bytes, params.ranks, case.dtype)
    receive = transport.memory.allocate(layout.receive * _item_bytes(layout, case))
    own = make_send(case.collective, group.rank, layout, params.ranks, case.dtype)
    if case.collective == "broadcast":
        send = receive
        receive.write(own if group.rank == 0 else make_unset(layout, case.dtype))
    else:
        send = transport.memory.allocate(layout.send * _item_bytes(layout, case))
        send.write(own)
        receive.write(make_unset(layout, case.dtype))
    del own
    operate = transport.bind(case.collective, send, receive, layout, case.dtype)
    refusals = [text for text in group.gather(_try_once(operate)) if text]
    if refusals:
        return [], refusals[0]
    samples = time_together(group, operate, method)
    if isinstance(transport, InPlace):
        transport.settle(case.collective)
    plant = params.plant_error
    if plant is not None and plant.get("rank") == group.rank:
        _spoil(receive, plant.get("index", layout.receive // 2), case.dtype)
    expected = make_expected(case.collective, group.rank, layout, params.ranks, case.dtype)
    told = group.gather(compare(receive.read(), expected, case.dtype))
    if samples is None:
        return [], ""
    wrong = "; ".join(f"rank {rank}: {text}" for rank, text in enumerate(told) if text)
    detail = wrong or f"{layout.receive} elements on each of {params.ranks} ranks, bit for bit"
    note = transport.describe(case.collective)
    return _build_rows(params, case, samples, verified=not wrong, detail=detail, note=note), ""


def _item_bytes(layout: Layout, case: Case) -> int:
    return case.size_bytes // max(layout.send, layout.receive)


def _try_once(operate: Callable[[int], None]) -> str:
    try:
        operate(1)
    except XpukitError as err:
        return err.message
    return ""


def _spoil(buffer: Buffer, index: int, dtype: str) -> None:
    """Change one element by the smallest step that its type has: the hook that proves that the check sees."""
    import numpy as np

    values = np.array(buffer.read())
    bits = values.view(np.uint32 if dtype == "fp32" else np.uint16)
    bits[index] ^= 1
    buffer.write(values)


def time_together(group: Group, operate: Callable[[int], None], method: Method) -> Samples | None:
    """Seconds per operation, on rank 0 (None elsewhere).

    Rank 0 decides how often, since only one clock may say when the time box is over; the others follow.
    """

    def run(times: int) -> float:
        group.broadcast(times)
        return _time_batch(group, operate, times)

    if group.rank == 0:
        samples = collect_samples(run, method)
        group.broadcast(0)
        return samples
    while True:
        times = int(group.broadcast(None))
        if times == 0:
            return None
        _time_batch(group, operate, times)


def _time_batch(group: Group, operate: Callable[[int], None], times: int) -> float:
    group.barrier()
    started = time.perf_counter()
    operate(times)
    return group.largest(time.perf_counter() - started)


def _build_rows(
    params: RankParams, case: Case, samples: Samples, *, verified: bool, detail: str, note: str
) -> list[Measurement]:
    factor = {"algbw": 1.0, "busbw": bus_factor(case.collective, params.ranks)}
    rows: list[Measurement] = []
    for metric in case.metrics:
        if metric == "latency":
            values: Any = (seconds * 1e6 for seconds in samples.seconds)
        else:
            values = (case.size_bytes * factor[metric] / seconds / 1e9 for seconds in samples.seconds)
        rows.append(
            Measurement(
                key=key_of(params, case, metric),
                unit=UNITS[metric],
                samples=tuple(values),
                higher_is_better=metric != "latency",
                verified=verified,
                verify_detail=detail,
                warmup_runs=samples.warmup_runs,
                warmup_stable=samples.warmup_stable,
                note=note,
            )
        )
    return rows

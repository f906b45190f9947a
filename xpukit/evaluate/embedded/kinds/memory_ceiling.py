"""What the host's memory gives to an independent method (host/native/host_stream.py): the yardstick for `memory`.

params: `footprint_bytes` (all arrays together), `ops`, `cpus`. `plant_error`: one byte is changed before each result
is verified, so every measurement must come out `verified: false`.
"""

from __future__ import annotations

import importlib.util

from xpukit.core.errors import XpukitError
from xpukit.core.measurement import Measurement, make_key
from xpukit.evaluate.embedded.protocol import Request
from xpukit.evaluate.embedded.worker import Emitter
from xpukit.host.native.host_stream import OPERATIONS, measure_host_stream

# One transfer is the work of one thread: its yardstick is a memcpy on one CPU (bytes counted as for `copy`).
ONE_PROCESS_COPY = "copy_one_process"
STREAM_OPERATIONS = {**{op: op for op in OPERATIONS}, ONE_PROCESS_COPY: "copy"}

_ROUND_GUESS_S = 0.06


def measure(request: Request, emit: Emitter) -> None:
    """Measure each operation once."""
    if importlib.util.find_spec("numpy") is None:  # the processes import it, after they were forked
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")
    params = request.params
    method = request.method
    (target,) = request.targets
    rounds = min(method.max_samples, max(method.min_samples, int(method.time_box_s / _ROUND_GUESS_S)))
    for op in params["ops"]:
        key = make_key("memory_ceiling", "peak_bandwidth", (target.label,), op=op)
        try:
            done = measure_host_stream(
                STREAM_OPERATIONS[op],
                footprint_bytes=params["footprint_bytes"],
                cpus=params["cpus"][:1] if op == ONE_PROCESS_COPY else params["cpus"],
                rounds=rounds,
                plant_error=bool(params.get("plant_error")),
            )
        except (XpukitError, OSError) as err:
            emit.missing(key, str(err))
            continue
        emit.measured(
            Measurement(
                key=key,
                unit="GB/s",
                samples=tuple(done.counted_bytes / seconds / 1e9 for seconds in done.seconds),
                verified=not done.difference,
                verify_detail=done.difference,
                warmup_runs=2,
                note=f"C library and numpy in {done.processes} processes, footprint {done.counted_bytes} bytes",
            )
        )

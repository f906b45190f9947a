"""Collectives by torch.distributed: xccl on XPU, nccl on CUDA, gloo on the CPU. Started by host/native/rank_launcher.

params: a `RankParams`, as for `collectives`.
"""

from __future__ import annotations

import msgspec

from xpukit.core.errors import CouldNotJudgeError
from xpukit.evaluate.embedded.protocol import Request
from xpukit.evaluate.embedded.ranks import RankParams, emit_all_missing, measure_cases
from xpukit.evaluate.embedded.worker import Emitter
from xpukit.host.native.torch_ranks import TorchCollectives, TorchRankGroup, abort_rank, this_rank


def measure(request: Request, emit: Emitter) -> None:
    """Serve a request whose params are a `RankParams`."""
    params = msgspec.convert(request.params, RankParams)
    try:
        group = TorchRankGroup()
    except CouldNotJudgeError as err:
        if this_rank() == 0:
            emit_all_missing(params, emit, err.message)
        abort_rank(err.message)  # the others may have what this one lacks, and would wait for it
    measure_cases(request, emit, lambda: group, TorchCollectives)

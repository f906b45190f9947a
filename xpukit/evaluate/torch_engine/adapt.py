"""From a plan of the embedded engine to one for PyTorch: the same rows and params, another kind in the worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from xpukit.core.measurement import Job, MetricKey, Skip, Target
from xpukit.evaluate.benchmark import Plan, Scope
from xpukit.evaluate.embedded.collective_jobs import build_gpu_environment, sort_gpus
from xpukit.evaluate.embedded.environment import build_worker_environment
from xpukit.evaluate.embedded.protocol import Request, build_job

TORCH_START_S = 4.0  # loading torch, and on a GPU its first kernel


def build_torch_environment(targets: Sequence[Target], scope: Scope) -> dict[str, str]:
    """The embedded engine's environment. Several tiles: FLAT, since torch counts what SYCL shows as devices and never
    divides a card."""
    if len(targets) > 1 and all(target.kind == "gpu" for target in targets):
        return build_gpu_environment(sort_gpus(targets), scope)
    return build_worker_environment(targets)


def adapt_plan(
    plan: Plan,
    *,
    scope: Scope,
    benchmark: str,
    kind: str,
    refuse: Callable[[MetricKey], str] = lambda key: "",
    change: Callable[[Request], Request] = lambda request: request,
    launch: Callable[[Request], tuple[tuple[str, ...], dict[str, str]]] = lambda request: ((), {}),
) -> Plan:
    """`refuse`: why torch has no such row ("": it has), which makes a Skip of it. `change` takes from the request what
    torch does not do. `launch`: the launcher of a request, and environment beside the devices'."""
    jobs: list[Job] = []
    skips = list(plan.skips)
    for job in plan.jobs:
        request = change(msgspec.json.decode(job.input, type=Request))
        promises = []
        for promise in job.promises:
            reason = refuse(promise.key)
            if reason:
                skips.append(Skip(key=promise.key, unit=promise.unit, reason=reason))
            else:
                promises.append(promise)
        if not promises:
            continue
        launcher, env = launch(request)
        jobs.append(
            build_job(
                benchmark=benchmark,
                name=f"torch {job.name}",
                request=msgspec.structs.replace(request, kind=kind),
                promises=promises,
                estimate_s=TORCH_START_S + job.estimate_s * len(promises) / len(job.promises),
                env={**build_torch_environment(request.targets, scope), **env},
                launcher=launcher,
            )
        )
    return Plan(jobs=tuple(jobs), skips=tuple(skips))


def keep_values(request: Request, name: str, keep: Callable[[object], bool]) -> Request:
    """The request with only those values of a list in its params that `keep` wants."""
    params = {**request.params, name: [value for value in request.params[name] if keep(value)]}
    return msgspec.structs.replace(request, params=params)

"""vLLM and llm-scaler's vLLM: ranks within a machine, over machines by Ray, data parallel by its own coordinator."""

from __future__ import annotations

from xpukit.serve.engines import RAY_PORT, Helper, NodeCase, Spread
from xpukit.serve.parallelism import Parallelism
from xpukit.serve.plan_types import Choice, Variable
from xpukit.serve.ray_token import list_ray_variables
from xpukit.serve.word_builder import WordBuilder

ENGINES = ("vllm", "llm-scaler-vllm")
_RPC_PORT = 13345
_GUIDE = "Intern-S1-Pro deployment guide"
_RAY_GUIDE = "intel/llm-scaler vllm/README.md, 2.9"


def find_topics(parallelism: Parallelism, nodes: int, executor: str) -> frozenset[str]:
    """Names that rows of data/launch may ask for."""
    if nodes < 2:
        return frozenset()
    if _is_data_parallel(parallelism, executor):
        return frozenset({"dp-ep"}) if parallelism.ep > 1 else frozenset()
    return frozenset({"ray"})


def spread(case: NodeCase, builder: WordBuilder) -> Spread:
    """Flags of parallelism on this machine, and Ray or the data-parallel ranks over several."""
    sizes = case.parallelism
    builder.add("tensor_parallel", sizes.tp, "ranks that share every layer", kind="rule")
    if sizes.pp > 1 or case.asked_pp:
        builder.add("pipeline_parallel", sizes.pp, "stages of layers")
    if sizes.dp > 1 or case.asked_dp:
        builder.add("data_parallel", sizes.dp, "copies behind one server")
    if sizes.ep > 1:
        builder.add("expert_parallel", True, "experts are shared over all ranks, not cut")
    if case.executor != "auto" and case.nodes < 2:
        builder.add("executor", case.executor, "asked for", kind="asked")
    if case.nodes < 2:
        return Spread()
    if _is_data_parallel(sizes, case.executor):
        return _spread_copies(case, builder)
    return _spread_by_ray(case)


def _is_data_parallel(parallelism: Parallelism, executor: str) -> bool:
    return parallelism.dp > 1 and executor != "ray"


def _spread_copies(case: NodeCase, builder: WordBuilder) -> Spread:
    copies_here = max(1, case.ranks_here // (case.parallelism.tp * case.parallelism.pp))
    why = f"of the {case.parallelism.dp} copies"
    builder.add("data_parallel_size_local", copies_here, f"{why}, those on this machine", source=_GUIDE)
    if case.node:
        builder.add("data_parallel_start_rank", copies_here * case.node, "the first copy here", source=_GUIDE)
    builder.add("data_parallel_address", case.head, "where the copies meet: the head's address", source=_GUIDE)
    builder.add("data_parallel_rpc_port", _RPC_PORT, "and its port", source=_GUIDE)
    if case.node:
        builder.add("headless", True, "requests come through the head", source=_GUIDE)
    elif copies_here > 1:
        why = "as many processes that take requests as there are copies here"
        builder.add("api_server_count", copies_here, why, source=_GUIDE)
    choice = Choice(
        name="several machines",
        value="data parallel",
        why="each machine runs whole copies; only requests and expert exchange go over the network",
    )
    return Spread(choices=(choice,))


def _spread_by_ray(case: NodeCase) -> Spread:
    host = Variable(
        name="VLLM_HOST_IP",
        value=case.address,
        why="the address by which the other machines reach this one",
        source=_RAY_GUIDE,
    )
    if case.node == 0:
        own: tuple[str, ...] = ("--head", f"--port={RAY_PORT}")
        words = ("ray", "start", "--block", *own, f"--num-gpus={case.ranks_here}", f"--node-ip-address={case.address}")
        helper = Helper(name="ray-head", role="head", program=words, variables=(host,), port=RAY_PORT)
    else:
        own = (f"--address={case.head}:{RAY_PORT}",)
        words = ("ray", "start", "--block", *own, f"--num-gpus={case.ranks_here}", f"--node-ip-address={case.address}")
        helper = Helper(name=f"ray-worker-{case.node}", role="worker", program=words, variables=(host,))
    choice = Choice(
        name="several machines",
        value="Ray",
        why="vLLM places its workers through Ray; the server runs on the head only",
        source=_RAY_GUIDE,
    )
    variables = (host, *list_ray_variables(case.asked_variables))
    return Spread(helpers=(helper,), variables=variables, choices=(choice,), runs_engine=case.node == 0)

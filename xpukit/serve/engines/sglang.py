"""SGLang: the same command on every machine, with its own rank."""

from __future__ import annotations

from xpukit.serve.engines import NodeCase, Spread
from xpukit.serve.parallelism import Parallelism
from xpukit.serve.plan_types import Choice
from xpukit.serve.word_builder import WordBuilder

ENGINES = ("sglang",)
_MEETING_PORT = 5000
_GUIDE = "Intern-S1-Pro deployment guide"


def find_topics(parallelism: Parallelism, nodes: int, executor: str) -> frozenset[str]:
    """Names that rows of data/launch may ask for: none."""
    del parallelism, nodes, executor
    return frozenset()


def spread(case: NodeCase, builder: WordBuilder) -> Spread:
    """Flags of parallelism, and the rank of this machine among several."""
    sizes = case.parallelism
    builder.add("tensor_parallel", sizes.tp, "ranks that share every layer")
    if sizes.pp > 1 or case.asked_pp:
        builder.add("pipeline_parallel", sizes.pp, "stages of layers")
    if sizes.dp > 1 or case.asked_dp:
        builder.add("data_parallel", sizes.dp, "copies behind one server")
    if sizes.ep > 1:
        builder.add("expert_parallel", sizes.ep, "each expert on one rank of so many")
    if case.nodes < 2:
        return Spread()
    builder.add("node_address", f"{case.head}:{_MEETING_PORT}", "where the machines meet", source=_GUIDE)
    builder.add("nodes", case.nodes, "machines", source=_GUIDE)
    builder.add("node_rank", case.node, "this machine among them", source=_GUIDE)
    choice = Choice(
        name="several machines",
        value="SGLang's own",
        why="the same command on each machine, with its rank; requests go to the first",
        source=_GUIDE,
    )
    return Spread(choices=(choice,))

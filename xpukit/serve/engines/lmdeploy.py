"""LMDeploy: tensor parallel over machines by Ray, data and expert parallel behind its proxy."""

from __future__ import annotations

from urllib.parse import urlsplit

from xpukit.serve.engines import RAY_PORT, Helper, NodeCase, Spread
from xpukit.serve.parallelism import Parallelism
from xpukit.serve.plan_types import Choice, Variable
from xpukit.serve.ray_token import list_ray_variables
from xpukit.serve.word_builder import WordBuilder

ENGINES = ("lmdeploy",)
_PROXY_PORT = 8001
_GUIDE = "Intern-S1-Pro deployment guide"


def find_topics(parallelism: Parallelism, nodes: int, executor: str) -> frozenset[str]:
    """Names that rows of data/launch may ask for."""
    del executor
    return frozenset({"dp-ep"}) if nodes > 1 and parallelism.dp > 1 else frozenset()


def spread(case: NodeCase, builder: WordBuilder) -> Spread:
    """Flags of parallelism; over several machines a proxy (data parallel) or Ray (tensor parallel)."""
    sizes = case.parallelism
    builder.add("tensor_parallel", sizes.tp, "ranks that share every layer")
    if sizes.dp > 1 or case.asked_dp:
        builder.add("data_parallel", sizes.dp, "copies")
    if sizes.ep > 1:
        builder.add("expert_parallel", sizes.ep, "each expert on one rank of so many")
    if case.executor != "auto" and case.nodes < 2:
        builder.add("executor", case.executor, "asked for", kind="asked")
    if case.nodes < 2:
        return Spread()
    return _spread_behind_proxy(case, builder) if sizes.dp > 1 else _spread_by_ray(case)


def _spread_behind_proxy(case: NodeCase, builder: WordBuilder) -> Spread:
    proxy = case.proxy or f"http://{case.head}:{_PROXY_PORT}"
    builder.add("proxy_url", proxy, "requests come through the proxy", source=_GUIDE)
    builder.add("nnodes", case.nodes, "machines", source=_GUIDE)
    builder.add("node_rank", case.node, "this machine among them", source=_GUIDE)
    master = Variable(
        name="LMDEPLOY_DP_MASTER_ADDR",
        value=case.head,
        why="where the data-parallel ranks of the machines meet",
        source=_GUIDE,
    )
    helpers: tuple[Helper, ...] = ()
    if case.node == 0:
        # Not .hostname, which writes a name in small letters.
        name, _, port_text = urlsplit(proxy).netloc.partition(":")
        port = int(port_text) if port_text.isdecimal() else _PROXY_PORT
        own = WordBuilder(builder.schema, program="proxy")
        own.add("server_name", name or case.head, "the address it listens on", source=_GUIDE)
        own.add("server_port", port, "and its port", source=_GUIDE)
        own.add("routing_strategy", "min_expected_latency", "requests go where they wait least", source=_GUIDE)
        own.add("serving_strategy", "Hybrid", "prompts and answers on the same ranks", source=_GUIDE)
        words = (*own.words, *(word for flag in own.flags for word in flag.words))
        helpers = (Helper(name="proxy", role="proxy", program=words, port=port),)
    choice = Choice(
        name="several machines",
        value="proxy",
        why="LMDeploy's data-parallel ranks register with a proxy, which is the endpoint",
        source=_GUIDE,
    )
    return Spread(helpers=helpers, variables=(master,), choices=(choice,))


def _spread_by_ray(case: NodeCase) -> Spread:
    if case.node == 0:
        own: tuple[str, ...] = ("--head", f"--port={RAY_PORT}")
        words = ("ray", "start", "--block", *own, f"--node-ip-address={case.address}")
        helper = Helper(name="ray-head", role="head", program=words, port=RAY_PORT)
    else:
        own = (f"--address={case.head}:{RAY_PORT}",)
        words = ("ray", "start", "--block", *own, f"--node-ip-address={case.address}")
        helper = Helper(name=f"ray-worker-{case.node}", role="worker", program=words)
    choice = Choice(
        name="several machines",
        value="Ray",
        why="LMDeploy places the ranks of other machines through Ray; the server runs on the head only",
        source=_GUIDE,
    )
    variables = list_ray_variables(case.asked_variables)
    return Spread(helpers=(helper,), variables=variables, choices=(choice,), runs_engine=case.node == 0)

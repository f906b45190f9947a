"""What is asked of a launch. Everything left out is chosen by the planner, with a reason."""

from __future__ import annotations

from typing import Literal

import msgspec

Pinning = Literal["auto", "numactl", "engine", "off"]
Mode = Literal["auto", "p2p", "usm"]
Objective = Literal["throughput", "latency"]
ExecutorName = Literal["auto", "ray", "mp"]


class ServeRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The intent behind a launch, engine-neutral. None and "" mean: choose.

    `engine`: a name, with a version after a colon or `==` ("vllm==0.21.0"); `image`: a container image, whose name says
    engine and version. `model_inside`: the model's path where the engine runs, if it is another than on this machine.
    `context`: tokens of one request; `concurrency`: requests of that length at a time that must fit. `nodes`: addresses
    of the machines, the first is the head. `secrets` are never here: `api_key_env` names a variable.
    """

    model: str
    config_file: str = ""
    model_inside: str = ""
    engine: str = ""
    image: str = ""
    schema_file: str = ""
    platform: str = ""
    task: str = ""
    quantization: str = ""
    dtype: str = ""
    kv_dtype: str = ""
    context: int | None = None
    concurrency: int | None = None
    max_seqs: int | None = None
    batched_tokens: int | None = None
    utilization: float | None = None
    gpus: tuple[str, ...] = ()
    tp: int | None = None
    pp: int | None = None
    dp: int | None = None
    ep: int | None = None
    replicas: int = 1
    objective: Objective = "throughput"
    nodes: tuple[str, ...] = ()
    executor: ExecutorName = "auto"
    proxy: str = ""
    host: str = ""
    port: int | None = None
    served_name: str = ""
    api_key_env: str = ""
    trust_remote_code: bool = False
    eager: bool | None = None
    prefix_caching: bool | None = None
    log_requests: bool | None = None
    reasoning_parser: str = ""
    tool_parser: str = ""
    thinking: bool = False
    tools: bool = False
    loras: tuple[str, ...] = ()
    lora_rank: int | None = None
    speculative: str = ""
    mtp: int | None = None
    media_dir: str = ""
    chat_template: str = ""
    tokenizer_mode: str = ""
    cuda_ipc: bool = False
    collective: Mode = "auto"
    pinning: Pinning = "auto"
    reserved_cpus: str = ""
    log_file: str = ""
    variables: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()

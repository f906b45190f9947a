"""`xpukit serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xpukit.cli.session import FromOption, JsonOption, current_session
from xpukit.core.errors import UsageError

SCHEMA = "xpukit.plan/1"


def serve(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="A model's id, or a directory that holds one.", show_default=False)
    ] = "",
    extras: Annotated[
        list[str] | None, typer.Argument(metavar="[-- FLAGS]", help="The engine's own flags; checked like ours.")
    ] = None,
    json: JsonOption = False,
    source: FromOption = None,
    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME[:VERSION]", help="vllm, llm-scaler-vllm, sglang, lmdeploy.")
    ] = "",
    image: Annotated[str, typer.Option("--image", metavar="IMAGE", help="The image; its tag names the version.")] = "",
    schema: Annotated[
        str, typer.Option("--flags", metavar="FILE", help="Check against the flags an image was asked for.")
    ] = "",
    platform: Annotated[
        str, typer.Option("--platform", metavar="[NODESx]NxGPU", help="Plan for 8xB60 or 2x8xH200, not this machine.")
    ] = "",
    config: Annotated[str, typer.Option("--config", metavar="FILE", help="The model's config.json.")] = "",
    task: Annotated[
        str, typer.Option("--task", help="generate, embed, score, rerank, transcription. [the model's]")
    ] = "",
    quantization: Annotated[
        str,
        typer.Option("--quantization", "-q", help="none, fp8, sym_int4, mxfp4, stored. [what fits and is supported]"),
    ] = "",
    dtype: Annotated[str, typer.Option("--dtype", help="float16 or bfloat16 of activations.")] = "",
    kv_dtype: Annotated[str, typer.Option("--kv-dtype", help="Type of the KV cache, as fp8.")] = "",
    context: Annotated[
        str, typer.Option("--context", "-c", metavar="TOKENS", help="Longest request (8192, 32k). [the most that fits]")
    ] = "",
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", min=1, metavar="N", help="So many such requests must fit at a time.")
    ] = None,
    max_seqs: Annotated[int | None, typer.Option("--max-seqs", min=1, help="Most requests in one step.")] = None,
    batched_tokens: Annotated[
        int | None, typer.Option("--batched-tokens", min=1, help="Most tokens in one step.")
    ] = None,
    utilization: Annotated[
        float | None, typer.Option("--utilization", min=0.05, max=1.0, help="Part of the GPU's memory to take.")
    ] = None,
    gpu: Annotated[
        list[str] | None,
        typer.Option("--gpu", metavar="WHICH", help="Only these: 0,2 or a PCI address or GPU0/1 (a tile)."),
    ] = None,
    tp: Annotated[int | None, typer.Option("--tp", min=1, help="Tensor parallel ranks.")] = None,
    pp: Annotated[int | None, typer.Option("--pp", min=1, help="Pipeline stages.")] = None,
    dp: Annotated[int | None, typer.Option("--dp", min=1, help="Data parallel copies in one engine.")] = None,
    ep: Annotated[int | None, typer.Option("--ep", min=0, help="Ranks that share the experts; 1: off, 0: all.")] = None,
    replicas: Annotated[
        int, typer.Option("--replicas", min=1, help="Engines of their own; in compose behind one endpoint.")
    ] = 1,
    balance: Annotated[
        str, typer.Option("--balance", help="Of replicas in compose: leastconn, prefix, session, or none: a port each.")
    ] = "leastconn",
    spare: Annotated[
        int, typer.Option("--spare", min=0, help="Engines more that stand in while rotate replaces others.")
    ] = 0,
    balancer_image: Annotated[
        str, typer.Option("--balancer-image", metavar="IMAGE", help="Of HAProxy. [xpukit build-image loadbalancer]")
    ] = "",
    with_ui: Annotated[
        str, typer.Option("--with-ui", metavar="NAME", help="A page beside it: gradio (compose) or comfyui.")
    ] = "",
    ui_address: Annotated[
        str, typer.Option("--ui-address", metavar="ADDRESS", help="That the page's port is published on.")
    ] = "127.0.0.1",
    ui_port: Annotated[
        int, typer.Option("--ui-port", min=0, max=65535, help="The page's port. [7860, comfyui 8188]")
    ] = 0,
    latency: Annotated[bool, typer.Option("--latency", help="Prefer short answers' time to throughput.")] = False,
    nodes: Annotated[
        str, typer.Option("--nodes", metavar="A,B,...", help="Addresses of several machines, the head first.")
    ] = "",
    executor: Annotated[str, typer.Option("--executor", help="ray or mp over several machines. [auto]")] = "auto",
    proxy: Annotated[str, typer.Option("--proxy", metavar="URL", help="LMDeploy's proxy. [on the head]")] = "",
    host: Annotated[str, typer.Option("--host", help="Address the server listens on. [the engine's default]")] = "",
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Its port. [8000]")] = None,
    served_name: Annotated[str, typer.Option("--served-name", help="The model's name in requests.")] = "",
    api_key_env: Annotated[
        str, typer.Option("--api-key-env", metavar="NAME", help="The variable that holds the server's key.")
    ] = "",
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
    eager: Annotated[bool | None, typer.Option("--eager/--no-eager", help="Without or with graph capture.")] = None,
    prefix_caching: Annotated[
        bool | None, typer.Option("--prefix-caching/--no-prefix-caching", help="Reuse the KV cache of equal prompts.")
    ] = None,
    log_requests: Annotated[
        bool | None, typer.Option("--log-requests/--no-log-requests", help="Write each request to the log.")
    ] = None,
    thinking: Annotated[bool, typer.Option("--thinking", help="Tell thinking from the answer.")] = False,
    tools: Annotated[bool, typer.Option("--tools", help="Let the model call tools.")] = False,
    reasoning_parser: Annotated[str, typer.Option("--reasoning-parser", help="The parser of thinking by name.")] = "",
    tool_parser: Annotated[str, typer.Option("--tool-parser", help="The parser of tool calls by name.")] = "",
    lora: Annotated[list[str] | None, typer.Option("--lora", metavar="NAME=PATH", help="An adapter to serve.")] = None,
    lora_rank: Annotated[int | None, typer.Option("--lora-rank", min=1, help="The largest rank of them.")] = None,
    mtp: Annotated[
        int | None, typer.Option("--mtp", min=1, metavar="N", help="Propose N tokens by the model's own layers.")
    ] = None,
    speculative: Annotated[
        str, typer.Option("--speculative", metavar="JSON", help="Any speculative configuration.")
    ] = "",
    media_dir: Annotated[str, typer.Option("--media-dir", metavar="DIR", help="Files that requests may name.")] = "",
    chat_template: Annotated[str, typer.Option("--chat-template", metavar="FILE", help="A chat template.")] = "",
    tokenizer_mode: Annotated[str, typer.Option("--tokenizer-mode", help="As bpe-qwen.")] = "",
    cuda_ipc: Annotated[bool, typer.Option("--cuda-ipc", help="SGLang on NVIDIA: pass images by CUDA IPC.")] = False,
    collective: Annotated[str, typer.Option("--collectives", help="p2p or usm. [what evaluate found best]")] = "auto",
    pin: Annotated[str, typer.Option("--pin", help="auto, numactl, engine (its own binding) or off.")] = "auto",
    reserved_cpus: Annotated[str, typer.Option("--reserved-cpus", metavar="LIST", help="Leave these to others.")] = "",
    env: Annotated[list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="Set a variable too.")] = None,
    model_dir: Annotated[
        list[str] | None, typer.Option("--model-dir", metavar="DIR[:INSIDE]", help="Mount in containers, read-only.")
    ] = None,
    form: Annotated[str, typer.Option("--form", "-f", help="How it is written; --forms lists them.")] = "shell",
    forms: Annotated[bool, typer.Option("--forms", help="List the forms.")] = False,
    out: Annotated[
        str,
        typer.Option("--out", "-o", metavar="PATH", help="Write there: a file, or a directory (for several, or DIR/)."),
    ] = "",
    name: Annotated[str, typer.Option("--name", help="Of containers, units and files.")] = "xpukit",
    log_file: Annotated[
        str, typer.Option("--log-file", metavar="FILE", help="Write the engine's output there too.")
    ] = "",
    privileged: Annotated[bool, typer.Option("--privileged", help="Containers with all rights (not advised).")] = False,
    cdi: Annotated[bool, typer.Option("--cdi", help="Name GPUs by their CDI specification.")] = False,
    evaluation: Annotated[
        str, typer.Option("--evaluation", metavar="RUN", help="Measurements of this host. [the newest in xpukit-runs]")
    ] = "",
    plan: Annotated[str, typer.Option("--plan", metavar="FILE", help="Write a saved plan in another form.")] = "",
    save: Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Keep the plan (JSON) there.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="All choices and their reasons.")] = False,
    run: Annotated[bool, typer.Option("--run", help="Start it.")] = False,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="With --run: do not ask the server when it is up.")
    ] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="With --run: after a failed start, take the length that its log suggests.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Also where the engine would refuse it.")] = False,
    calibrate: Annotated[
        str, typer.Option("--calibrate", metavar="LOG", help="Compare the estimate with the engine's start-up log.")
    ] = "",
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Ask for what was left open, and show the fit.")
    ] = False,
    web: Annotated[
        bool, typer.Option("--web", help="Choose on a page at http://127.0.0.1:PORT (extra: xpukit[web]).")
    ] = False,
    web_port: Annotated[int, typer.Option("--web-port", min=0, max=65535, help="The page's port; 0: any.")] = 8470,
) -> int:
    """Collect what was asked, plan, print or run."""
    session = current_session()
    session.take(json=json, source=source)
    from xpukit.cli.serve_options import ServeOptions, parse_choice, parse_tokens, split_list
    from xpukit.serve.request import ServeRequest

    if forms:
        from xpukit.cli.serve_tables import print_forms

        return print_forms(session)
    request = ServeRequest(
        model=model,
        config_file=config,
        engine=engine,
        image=image,
        schema_file=schema,
        platform=platform,
        task=task,
        quantization=quantization,
        dtype=dtype,
        kv_dtype=kv_dtype,
        context=parse_tokens(context) if context else None,
        concurrency=concurrency,
        max_seqs=max_seqs,
        batched_tokens=batched_tokens,
        utilization=utilization,
        gpus=split_list(gpu or ()),
        tp=tp,
        pp=pp,
        dp=dp,
        ep=ep,
        replicas=replicas + spare,
        objective="latency" if latency else "throughput",
        nodes=split_list((nodes,)),
        executor=parse_choice("--executor", executor, ("auto", "ray", "mp")),
        proxy=proxy,
        host=host,
        port=port,
        served_name=served_name,
        api_key_env=api_key_env,
        trust_remote_code=trust_remote_code,
        eager=eager,
        prefix_caching=prefix_caching,
        log_requests=log_requests,
        reasoning_parser=reasoning_parser,
        tool_parser=tool_parser,
        thinking=thinking,
        tools=tools,
        loras=tuple(lora or ()),
        lora_rank=lora_rank,
        speculative=speculative,
        mtp=mtp,
        media_dir=media_dir,
        chat_template=chat_template,
        tokenizer_mode=tokenizer_mode,
        cuda_ipc=cuda_ipc,
        collective=parse_choice("--collectives", collective, ("auto", "p2p", "usm")),
        pinning=parse_choice("--pin", pin, ("auto", "numactl", "engine", "off")),
        reserved_cpus=reserved_cpus,
        log_file=log_file,
        variables=tuple(env or ()),
        extras=tuple(extras or ()),
    )
    if session.source is None:
        from xpukit.cli.serve_paths import anchor_paths

        request = anchor_paths(request)
    options = ServeOptions(
        form=form,
        out=Path(out) if out else None,
        out_is_folder=out.endswith("/"),
        name=name,
        models=tuple(model_dir or ()),
        privileged=privileged,
        cdi=cdi,
        evaluation=evaluation,
        plan=plan,
        save=save,
        explain=explain,
        run=run,
        check=not no_check,
        retry=retry,
        balance=parse_choice("--balance", balance, ("leastconn", "prefix", "session", "none")),
        balancer_image=balancer_image,
        spare=spare,
        with_ui=with_ui,
        ui_address=ui_address,
        ui_port=ui_port,
        force=force,
        calibrate=calibrate,
    )
    if interactive or web:
        from xpukit.cli.serve_choosing import start_choosing

        return start_choosing(session, request, options, interactive=interactive, web_port=web_port if web else None)
    if not plan and not model and not calibrate:
        raise UsageError("no model was named", hint="xpukit serve Qwen/Qwen3-8B, or a directory with a config.json")
    from xpukit.cli.serve_run import serve_request

    return serve_request(session, request, options)

"""How a point of a benchmark is measured: by our client, or by an engine's command built for its version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from xpukit.cli.session import Session
from xpukit.core.errors import UsageError

if TYPE_CHECKING:
    from xpukit.facts.engines import EngineSchema
    from xpukit.host.door import Host
    from xpukit.operate.bench.client import ClientSettings
    from xpukit.operate.bench.matrix import PointPlan
    from xpukit.operate.bench.result import BenchResult
    from xpukit.operate.bench.run_matrix import Measure
    from xpukit.operate.bench.schedule import LoadPlan
    from xpukit.serve.bench_words import BenchCommand

# What an engine's benchmark needs of the user's environment beside the door's own: where tokenizers lie.
_PASSED_PREFIXES = ("HF_", "TRANSFORMERS_", "VLLM_", "SGLANG_", "TOKENIZERS_")
# Both engines' clients take the key from here.
_KEY_NAME = "OPENAI_API_KEY"
_GRACE_S = 60.0


class EngineChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Whose benchmark, and where it runs. `one_batch`: SGLang's without a server, on `device`."""

    engine: str
    container: str
    timeout_s: float
    trust: bool
    extras: tuple[str, ...]
    one_batch: bool = False
    device: str = ""


def measure_builtin(session: Session, settings: ClientSettings, seed: int) -> Measure:
    """Our own client."""
    from xpukit.cli.bench_tables import ProgressLine
    from xpukit.operate.bench.client import measure

    def run(plan: PointPlan, repeat: int) -> BenchResult:
        return measure(_settings_of(settings, plan), load_of(plan, seed + repeat - 1), progress=ProgressLine(session))

    return run


def _settings_of(settings: ClientSettings, plan: PointPlan) -> ClientSettings:
    name = plan.model.served_name or settings.model or plan.model.name
    return msgspec.structs.replace(settings, url=plan.model.url or settings.url, model=name)


def load_of(plan: PointPlan, seed: int) -> LoadPlan:
    """The load of a point for our client."""
    from xpukit.operate.bench.schedule import LoadPlan

    return LoadPlan(
        input_len=plan.input_len,
        output_len=plan.output_len,
        requests=plan.requests,
        rate_rps=plan.rate_rps,
        arrival="fixed" if plan.arrival == "fixed" else "poisson" if plan.arrival else "",
        concurrency=plan.concurrency,
        shared_prefix=plan.shared_prefix,
        seed=seed,
    )


def measure_with_engine(
    session: Session,
    settings: ClientSettings,
    choice: EngineChoice,
    place: Path,
    plans: Sequence[PointPlan],
) -> Measure:
    """The engine's own benchmark, after a warm-up by ours. Raises UsageError for what it cannot be told."""
    from xpukit.facts.engines import load_resolved, resolve_engine
    from xpukit.operate.bench.client import measure
    from xpukit.operate.bench.engine_client import run_engine_bench
    from xpukit.operate.bench.run_directory import BenchRunDirectory

    schema = load_resolved(resolve_engine(choice.engine))
    commands = {plan.key: build_argv(schema, settings, choice, plan) for plan in plans}
    host = session.open_host()
    env = _read_environment(host)
    if settings.api_key:
        env[_KEY_NAME] = settings.api_key

    def run(plan: PointPlan, repeat: int) -> BenchResult:
        argv = commands[plan.key]
        # One batch brings its own warm-up, and there is no server.
        if settings.warmup and repeat == 1 and not choice.one_batch:
            warm = msgspec.structs.replace(load_of(plan, 1), requests=1, rate_rps=None, arrival="", concurrency=1)
            measure(_settings_of(settings, plan), warm)
        session.say("  " + " ".join(argv))
        return run_engine_bench(
            host,
            argv,
            plan,
            engine="vllm" if "vllm" in schema.engine else schema.engine,
            engine_version=schema.version,
            log=BenchRunDirectory(place).log_path(plan, repeat),
            timeout_s=choice.timeout_s + _GRACE_S,
            env=env,
        )

    return run


def _read_environment(host: Host) -> dict[str, str]:
    names = [name for prefix in _PASSED_PREFIXES for name in host.env_names(prefix).names]
    return {name: value for name in names if (value := host.env(name).value)}


def build_argv(
    schema: EngineSchema, settings: ClientSettings, choice: EngineChoice, plan: PointPlan
) -> tuple[str, ...]:
    """The command for one point. Raises UsageError for what this benchmark cannot do or would refuse."""
    from xpukit.facts.bench_formats import load_bench_formats
    from xpukit.facts.bench_scenarios import Scenario
    from xpukit.host.http_stream import read_url
    from xpukit.serve.bench_words import BenchRequest, build_bench

    if choice.one_batch:
        return _put_inside(_build_one_batch(schema, choice, plan), choice, keyed=False)
    if plan.shared_prefix or plan.arrival == "fixed":
        what = "a shared prefix" if plan.shared_prefix else "a fixed rate"
        raise UsageError(f"{schema.engine}'s benchmark is not driven with {what}", hint="--client builtin")
    server = read_url(plan.model.url or settings.url)
    plain = not server.tls and not server.prefix
    request = BenchRequest(
        model=plan.model.name,
        scenario=Scenario(
            name=plan.name,
            input_len=plan.input_len,
            output_len=plan.output_len,
            requests=plan.requests,
            concurrency=plan.concurrency or 0,
            source="",
        ),
        served_name=plan.model.served_name or (settings.model if settings.model != plan.model.name else ""),
        host=server.host if plain else "",
        port=server.port if plain else None,
        rate="" if plan.rate_rps is None else f"{plan.rate_rps:g}",
        # SGLang's random prompts are always answered in full; it has a flag for the opposite.
        ignore_eos=True if settings.ignore_eos and schema.engine != "sglang" else None,
        trust_remote_code=choice.trust,
        extras=(*choice.extras, *(() if plain else ("--base-url", server.url))),
    )
    first = build_bench(request, schema)
    program = next((one for name, one in schema.programs.items() if name == " ".join(first.program)), None)
    known = {word for flag in program.flags for word in flag.flags} if program is not None else set()
    wishes = [
        word
        for one in load_bench_formats().wish
        if schema.engine in one.engines and one.flag in known and one.flag not in choice.extras
        for word in (one.flag, one.value)
    ]
    command = build_bench(msgspec.structs.replace(request, extras=(*request.extras, *wishes)), schema)
    return _put_inside(_require_accepted(command), choice, keyed=bool(settings.api_key))


def _build_one_batch(schema: EngineSchema, choice: EngineChoice, plan: PointPlan) -> tuple[str, ...]:
    """So many prompts at once as the point's concurrency says."""
    from xpukit.facts.bench_scenarios import Scenario
    from xpukit.serve.bench_words import BenchRequest, build_bench

    if plan.rate_rps is not None or plan.shared_prefix:
        raise UsageError("one batch has no rate and no shared prefix", hint="--concurrency is the batch's size")
    request = BenchRequest(
        model=plan.model.name,
        scenario=Scenario(
            name=plan.name, input_len=plan.input_len, output_len=plan.output_len, requests=1, concurrency=0, source=""
        ),
        one_batch=True,
        batch=plan.concurrency or 1,
        tp=plan.model.tp,
        device=choice.device,
        trust_remote_code=choice.trust,
        extras=choice.extras,
    )
    return _require_accepted(build_bench(request, schema))


def _require_accepted(command: BenchCommand) -> tuple[str, ...]:
    """Its words. Raises UsageError for what this version would refuse."""
    if command.errors:
        raise UsageError(
            f"{command.engine} {command.version} would refuse this: {command.errors[0].message}", hint="correct FLAGS"
        )
    return command.argv


def _put_inside(argv: tuple[str, ...], choice: EngineChoice, *, keyed: bool) -> tuple[str, ...]:
    """The command, or the same in the container."""
    if not choice.container:
        return argv
    key = ("-e", _KEY_NAME) if keyed else ()
    # What runs inside outlives `docker exec`: it gets a limit of its own.
    limit = ("timeout", "-k", "10", f"{choice.timeout_s:.0f}")
    return ("docker", "exec", *key, choice.container, *limit, *argv)

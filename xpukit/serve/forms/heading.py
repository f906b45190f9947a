"""The comment at the head of every form: what this starts, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.units import format_bytes
from xpukit.serve.forms.quoting import comment_variable
from xpukit.serve.plan_types import Launch, Plan


def list_heading(plan: Plan) -> tuple[str, ...]:
    """Lines without a comment sign: model, engine, GPUs, memory, and each guess."""
    memory = plan.memory
    where = plan.machine.platform or plan.machine.host or "this machine"
    lines = [
        f"{plan.model.id or plan.model.asked}, {plan.weights}, {plan.parallelism.describe()} on {where}",
        f"engine: {plan.engine.name} {plan.engine.version}"
        + (f", image {plan.engine.image}" if plan.engine.image else ""),
        f"fits: {format_bytes(memory.weights_bytes)} of weights a GPU, {memory.kv_tokens:,} tokens of KV cache, "
        f"{memory.concurrency:.2f} requests of {memory.asked_context:,} tokens at a time (estimate)",
    ]
    lines.extend(f"guess: {guess.what} = {guess.value}: {guess.why}" for guess in plan.model.guesses)
    lines.extend(f"note: {note}" for note in plan.notes)
    return tuple(" ".join(line.split()) for line in lines)


def list_reasons(launch: Launch, *, inside: bool = False) -> Iterable[str]:
    """Why each variable is set and each flag of a guide is there, a line each. `inside`: as it is in a container."""
    for variable in (launch.container_variables or launch.variables) if inside else launch.variables:
        if not variable.passed:
            yield comment_variable(variable)
    for flag in launch.flags:
        if flag.kind in ("default", "fact") and flag.source:
            yield f"{' '.join(flag.words)}: {flag.why} ({flag.source})"
    # The address that was asked for is the host's: said, because another stands in the command.
    asked = next((flag for flag in launch.flags if flag.intent == "host"), None)
    for flag in launch.container_flags if inside and asked is not None else ():
        if asked is not None and flag.words != asked.words:
            yield f"{' '.join(flag.words)} in place of {' '.join(asked.words)}: {flag.why}"

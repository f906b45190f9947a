"""The plan on the terminal: what was chosen and why, what fits, how fast it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpukit.cli.render import print_fields, print_table
from xpukit.core.units import format_bytes

if TYPE_CHECKING:
    from xpukit.cli.session import Session
    from xpukit.serve.plan_types import Plan


def print_forms(session: Session) -> int:
    """The forms and what each is."""
    from xpukit.serve.forms import list_forms

    rows = [(form.NAME, ", ".join(form.ALIASES), form.SUMMARY) for form in list_forms()]
    if session.json:
        from xpukit.core.json_document import build_document

        forms = [{"name": name, "aliases": aliases.split(", "), "summary": text} for name, aliases, text in rows]
        session.print_json(build_document("xpukit.forms/1", "", {"forms": forms}))
    else:
        print_table("", ("form", "also", "what it is"), rows, color=session.color)
    return 0


def print_plan(plan: Plan, *, color: bool) -> None:
    """The whole reasoning."""
    _print_heading(plan, color=color)
    print_table(
        "Choices",
        ("what", "value", "why", "said by"),
        [(one.name, one.value, one.why, one.source or one.kind) for one in plan.choices],
        color=color,
    )
    _print_memory(plan, color=color)
    _print_speed(plan, color=color)
    rejected = [(one.name, one.reason, one.source) for one in plan.quantization.rejected]
    if rejected:
        print_table("Quantizations not taken", ("name", "why", "said by"), rejected, color=color)
    divisions = [
        (
            one.parallelism,
            {True: "yes", False: "no", None: "?"}[one.fits],
            f"{one.decode_tps:.1f} ({one.decode_bound})" if one.decode_tps is not None else "",
            one.why,
        )
        for one in plan.rejected
    ]
    if divisions:
        columns = ("plan", "fits", "tokens/s a request", "why")
        print_table("Plans not taken", columns, divisions, color=color)
    for launch in plan.launches:
        rows = [(f"{one.name}={one.value}", one.why, one.source) for one in launch.variables if not one.passed]
        rows += [(" ".join(flag.words), flag.why, flag.source or flag.kind) for flag in launch.flags]
        print_table(f"{launch.name}: {' '.join(launch.program)}", ("word", "why", "said by"), rows, color=color)
    _print_guesses(plan, color=color)


def _print_heading(plan: Plan, *, color: bool) -> None:
    engine = f"{plan.engine.name} {plan.engine.version}" + (f" ({plan.engine.image})" if plan.engine.image else "")
    print_fields(
        "Plan",
        (
            ("model", f"{plan.model.id or plan.model.asked} ({plan.model.parameters / 1e9:.1f} B parameters)"),
            ("machine", plan.machine.platform or plan.machine.host),
            ("engine", engine),
            (
                "flags checked against",
                plan.engine.checked_against + (f": {plan.engine.label}" if plan.engine.label else ""),
            ),
        ),
        color=color,
    )


def _print_memory(plan: Plan, *, color: bool) -> None:
    memory = plan.memory
    rows = [(row.name, format_bytes(row.bytes), str(row.origin), row.why) for row in memory.rows]
    rows.append(
        ("budget", format_bytes(memory.budget_bytes), "", f"of {format_bytes(memory.device.total_bytes)} a GPU")
    )
    print_table("Memory of a GPU", ("part", "bytes", "kind", "why"), rows, color=color, right=(1,))
    print_fields(
        "",
        (
            ("KV cache", f"{memory.kv_tokens:,} tokens in blocks of {memory.block_size}"),
            ("longest request", f"{memory.max_context:,} tokens"),
            ("at the context", f"{memory.concurrency:.2f} requests of {memory.asked_context:,} tokens at a time"),
            ("margin", format_bytes(memory.margin_bytes) if memory.margin_bytes >= 0 else ""),
            ("while loading", memory.load.why),
        ),
        color=color,
    )


def _print_speed(plan: Plan, *, color: bool) -> None:
    speed = plan.prediction
    if speed is None:
        return
    print_fields(
        f"Predicted speed ({speed.kind}: {speed.source})",
        (
            ("decode", f"{speed.decode_tps_per_sequence:.1f} tokens/s a request, bound by {speed.decode_bound}"),
            ("prefill", f"{speed.prefill_tps:.0f} tokens/s, bound by {speed.prefill_bound}"),
            ("first token", f"{speed.ttft_s * 1000:.0f} ms after a prompt of {speed.prompt_tokens} tokens"),
            ("note", speed.note),
        ),
        color=color,
    )


def _print_guesses(plan: Plan, *, color: bool) -> None:
    guesses = [(one.what, one.value, one.why) for one in (*plan.model.guesses, *plan.memory.guesses)]
    guesses += [("platform", "", text) for text in plan.machine.assumptions]
    if guesses:
        print_table("Guesses", ("what", "taken as", "why"), list(dict.fromkeys(guesses)), color=color)
    for note in plan.notes:
        print(f"note: {note}")
    if plan.notes:
        print()


def print_no_fit(plan: Plan, *, color: bool) -> None:
    """By how much it does not fit, and the ways out."""
    memory = plan.memory
    _print_heading(plan, color=color)
    print(f"does not fit: {memory.reason}")
    if memory.short_bytes:
        print(f"short by {format_bytes(memory.short_bytes)} a GPU ({plan.parallelism.describe()}, {plan.weights})")
    print()
    _print_memory(plan, color=color)
    if memory.ways_out:
        print("What would help:")
        for way in memory.ways_out:
            print(f"  - {way.text}")

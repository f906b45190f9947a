"""Which engines are replaced, in which order and way; pure."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.core.errors import UsageError
from xpukit.operate.rotate.state import Mode, Policy, RotationPlan, SlotState


def plan_rotation(states: Sequence[SlotState], policy: Policy) -> RotationPlan:
    """The order of the slots; those that an earlier rotation left half done come first.

    With a spare slot, whose GPUs nobody else holds, the spare engine takes the place before one is drained, and as many
    as there are replicas stay healthy. Without, each new engine needs the GPUs of the old one, and the others carry the
    load: all but one, and at least one, have to be healthy. Raises UsageError for what cannot be kept.
    """
    spares = [] if policy.stop_first else [one for one in states if one.spare]
    replicas = [one for one in states if not one.spare]
    unknown = [name for name in policy.only if not any(name in (one.slot, one.service) for one in replicas)]
    if unknown:
        names = ", ".join(one.slot for one in replicas)
        raise UsageError(f"no engine {unknown[0]!r} behind this balancer", hint=f"there are: {names}")
    count = len(replicas)
    least = policy.min_healthy
    if least is None:
        least = count if spares else max(1, count - 1)
    most = count if spares else count - 1
    if least > most:
        raise UsageError(
            f"{least} healthy engines cannot be kept while one of {count} is replaced",
            hint="--min-healthy 0 lets the service pause; xpukit serve --spare 1 plans an engine that stands in"
            if most == 0
            else f"at most {most}: --min-healthy {most}",
        )
    order, skipped = _choose_slots(replicas, policy)
    mode: Mode = "start-first" if spares else "stop-first"
    why = "each new engine needs the GPUs of the one that it replaces"
    return RotationPlan(
        mode=mode,
        why=f"{spares[0].service} has GPUs of its own: it stands in for each that is replaced" if spares else why,
        order=order,
        min_healthy=least,
        spare=spares[0].slot if spares and order else "",
        skipped=skipped,
    )


def _choose_slots(replicas: Sequence[SlotState], policy: Policy) -> tuple[tuple[str, ...], tuple[str, ...]]:
    order: list[SlotState] = []
    skipped: list[str] = []
    for one in replicas:
        named = not policy.only or one.slot in policy.only or one.service in policy.only
        young = policy.older_than_s is not None and one.age_s is not None and one.age_s < policy.older_than_s
        # What an earlier rotation left is brought to its end in any case.
        if not one.settled and (named or one.previous != "absent"):
            order.append(one)
        elif not named:
            skipped.append(f"{one.service}: not asked for")
        elif young:
            skipped.append(f"{one.service}: only {one.age_s or 0:.0f} s old")
        else:
            order.append(one)
    # Engines that take no requests are replaced first: that costs nothing, and adds a healthy one.
    order.sort(key=lambda one: one.settled)
    return tuple(one.slot for one in order), tuple(skipped)


def describe_steps(plan: RotationPlan) -> tuple[str, ...]:
    """What would be done, in words."""
    lines: list[str] = []
    if plan.spare:
        lines.append(f"{plan.spare}: start, gate, enable")
    lines += [f"{slot}: drain, stop, start, gate, enable" for slot in plan.order]
    if plan.spare:
        lines.append(f"{plan.spare}: drain, stop")
    return tuple(lines)

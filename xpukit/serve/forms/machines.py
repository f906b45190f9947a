"""What a plan starts on each machine: its part of a Ray cluster, a proxy, engines."""

from __future__ import annotations

import re

import msgspec

from xpukit.serve.forms import FormFile, FormOptions
from xpukit.serve.forms.quoting import continue_lines, quote_word
from xpukit.serve.plan_types import Launch, Plan, Variable

# `--for ray` looks at it by itself (facts/data/fleet/preflight.toml).
_RAY_PORT = 6379


class MachinePart(msgspec.Struct, frozen=True, kw_only=True):
    """One machine. `ray` already has the engine's environment, GPUs and pinning: Ray starts its ranks there."""

    node: int
    address: str
    ray: Launch | None
    proxies: tuple[Launch, ...]
    engines: tuple[Launch, ...]

    @property
    def launches(self) -> tuple[Launch, ...]:
        """All, in the order they are started."""
        return (*((self.ray,) if self.ray else ()), *self.proxies, *self.engines)


def list_machines(plan: Plan) -> tuple[MachinePart, ...]:
    """The machines of a plan, the head first."""
    return tuple(_describe_machine(plan, node) for node in sorted({launch.node for launch in plan.launches}))


def _describe_machine(plan: Plan, node: int) -> MachinePart:
    here = [launch for launch in plan.launches if launch.node == node]
    ray = next((launch for launch in here if launch.role in ("head", "worker")), None)
    return MachinePart(
        node=node,
        address=here[0].address,
        ray=_complete_ray(plan, ray) if ray else None,
        proxies=tuple(launch for launch in here if launch.role == "proxy"),
        engines=tuple(launch for launch in here if launch.role == "engine"),
    )


def _complete_ray(plan: Plan, ray: Launch) -> Launch:
    """The engine's ranks are children of `ray start`: what the plan says of them is said there."""
    engine = next(launch for launch in plan.launches if launch.role == "engine")
    return msgspec.structs.replace(
        ray,
        variables=_join(plan, engine.variables, ray.variables),
        container_variables=_join(plan, engine.container_variables or engine.variables, _without_masks(ray, engine)),
        gpus=engine.gpus,
        mask=engine.mask,
        pin=engine.pin,
    )


def _without_masks(ray: Launch, engine: Launch) -> tuple[Variable, ...]:
    """Its variables in a container that holds only its GPUs: those that the engine has there too, or not at all."""
    outside = {one.name for one in engine.variables}
    inside = {one.name for one in engine.container_variables or engine.variables}
    return tuple(one for one in ray.variables if one.name in inside or one.name not in outside)


def _join(plan: Plan, theirs: tuple[Variable, ...], own: tuple[Variable, ...]) -> tuple[Variable, ...]:
    """The engine's variables with this machine's in their place; the server's key is the server's only."""
    names = {one.name: one for one in own}
    rest = tuple(names.pop(one.name, one) for one in theirs if not is_key(plan, one))
    return (*rest, *names.values())


def is_key(plan: Plan, variable: Variable) -> bool:
    """Whether the variable holds the key that requests must bring."""
    name = plan.request.api_key_env
    return bool(name) and (variable.name == name or variable.value == f"${{{name}}}")


def write_preflight(plan: Plan, options: FormOptions, form: str) -> FormFile:
    """A script that looks at all machines before the start (docs/fleet.md). `form`: swarm or ray."""
    addresses = [part.address for part in list_machines(plan)]
    lines = [f"xpukit fleet preflight --hosts {quote_word(','.join(addresses))}", f"--for {form}"]
    if form == "swarm":
        lines.append(f"--image {quote_word(plan.engine.image)}")
    else:  # on the hosts' own network; an overlay's ports are the containers' own
        lines += [f"--port {port}" for port in _list_ports(plan, addresses[0])]
    if plan.model.id.startswith("/"):
        lines.append(f"--model {quote_word(plan.model.id)}")
    text = f"""#!/bin/bash
# Before the others, on a machine that reaches all of these by ssh with a key: clocks, MTU, ports, bandwidth, and that
# image and model are the same everywhere. Ends with 0 when nothing stands in the way; its options may be added here.
exec {continue_lines([*lines, '"$@"'])}
"""
    return FormFile(name=f"{options.name}-preflight.sh", text=text, executable=True)


def _list_ports(plan: Plan, head: str) -> tuple[int, ...]:
    """What other machines must reach at one: HOST:PORT of the head, and ports that an option or a variable names."""
    found: dict[int, None] = {}
    for launch in plan.launches:
        words = [word for flag in launch.flags for word in flag.words] + list(launch.program)
        text = " ".join([*words, *(f"{one.name}={one.value}" for one in launch.variables)])
        patterns = (rf"{re.escape(head)}:(\d+)", r"--[a-z-]*rpc-port[ =](\d+)", r"_PORT=(\d+)")
        for pattern in patterns:
            found |= {int(number): None for number in re.findall(pattern, text)}
        if launch.role == "proxy" and launch.port:
            found[launch.port] = None
    return tuple(port for port in found if port != _RAY_PORT)

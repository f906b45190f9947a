"""HAProxy in front of a plan's engines: its configuration, from the recipe `loadbalancer`, and its Compose service.

What `xpukit rotate` must know of a deployment stands in labels of its containers, so that no file of ours is needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from xpukit.core.errors import ExternalError, UsageError
from xpukit.facts.launch_forms import load_launch_forms
from xpukit.facts.recipes import Recipe, load_recipe
from xpukit.serve.forms import FormOptions
from xpukit.serve.forms.container import ContainerLaunch, publish_address
from xpukit.serve.forms.yaml_text import Noted
from xpukit.serve.plan_types import Plan

BALANCES = ("leastconn", "prefix", "session", "none")
RECIPE = "loadbalancer"
SERVICE = "balancer"
SOCKET_DIR = "/run/balancer"
_CONFIG = "/etc/haproxy/haproxy.cfg"
_METRICS_PORT = 8404
# The metrics' port of this machine lies so far from the endpoint's, which no other deployment has.
_METRICS_STEP = 10_000
_LAST_PORT = 65_535
# Requests that an engine holds beside those it works on, so that its next step is never short of work.
_QUEUED_SHARE = 2


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """A place behind the balancer: HAProxy's name for it, the Compose service (and container) and its port.

    `spare`: it runs only while another one is replaced.
    """

    slot: str
    service: str
    port: int
    spare: bool = False


class Balanced(msgspec.Struct, frozen=True, kw_only=True):
    """What a Compose file gets for its balancer; `port` is the one that it listens on inside."""

    name: str
    port: int
    slots: tuple[Slot, ...]
    service: Mapping[str, Any]
    labels: Mapping[str, Mapping[str, str]]
    config_name: str
    config: str
    volume: str

    def is_spare(self, service: str) -> bool:
        return any(slot.spare for slot in self.slots if slot.service == service)


def default_image() -> str:
    """The image that `xpukit build-image loadbalancer --tag` of this name makes."""
    return f"xpukit/{RECIPE}:{load_recipe(RECIPE).version}"


def is_balanced(plan: Plan, options: FormOptions) -> bool:
    """Several engines of one machine, each a server of its own, and no proxy that joins them already."""
    if options.balance == "none":
        return False
    roles = {launch.role for launch in plan.launches}
    nodes = {launch.node for launch in plan.launches}
    return roles == {"engine"} and len(nodes) == 1 and len(plan.launches) > 1


def plan_balancer(plan: Plan, containers: Sequence[ContainerLaunch], options: FormOptions) -> Balanced:
    """The balancer of these engines. Raises UsageError for a number of spares that leaves no engine."""
    if options.spare >= len(containers):
        raise UsageError(
            f"{options.spare} spares of {len(containers)} engines leave none to serve", hint="more --replicas"
        )
    first_spare = len(containers) - options.spare
    slots = tuple(
        Slot(slot=f"engine-{index}", service=one.name, port=one.launch.port, spare=index >= first_spare)
        for index, one in enumerate(containers)
    )
    volume = f"{options.name}-{SERVICE}"
    config_name = f"{options.name}.haproxy.cfg"
    labels = {
        slot.service: {"xpukit.deployment": options.name, "xpukit.role": "engine", "xpukit.slot": slot.slot}
        for slot in slots
    }
    return Balanced(
        name=SERVICE,
        port=int(str(load_recipe(RECIPE).settings["port"].default)),
        slots=slots,
        service=_write_service(plan, slots, options, volume=volume, config_name=config_name),
        labels=labels,
        config_name=config_name,
        config=render_config(plan, slots, options),
        volume=volume,
    )


def render_config(plan: Plan, slots: Sequence[Slot], options: FormOptions) -> str:
    """haproxy.cfg from the recipe's template: the image and this file have one source.

    Raises ExternalError without Jinja2.
    """
    try:
        import jinja2
    except ImportError as err:
        hint = "install it: pip install 'xpukit[docker]', or --balance none"
        raise ExternalError("HAProxy's configuration is rendered with Jinja2", hint=hint) from err
    recipe = load_recipe(RECIPE)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(Path(recipe.folder))),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    template = environment.get_template("haproxy.cfg.j2")
    text = template.render(recipe=recipe, s=make_settings(recipe, plan, slots, options))
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"


def make_settings(recipe: Recipe, plan: Plan, slots: Sequence[Slot], options: FormOptions) -> dict[str, Any]:
    """The recipe's settings for these engines; its defaults for all else."""
    most = plan.request.max_seqs
    return {
        **{name: setting.default for name, setting in recipe.settings.items()},
        "backends": tuple(f"{slot.slot}={slot.service}:{slot.port}" for slot in slots),
        "balance": options.balance,
        # The engines' containers come later than this one, and are known by Docker's DNS then.
        "names_at_start": False,
        "health_path": load_launch_forms().health.path,
        "metrics_port": _METRICS_PORT,
        # What waits here can still go to any engine, and outlives one that is killed.
        "max_per_backend": most * _QUEUED_SHARE if most else 0,
    }


def find_metrics_port(port: int) -> int:
    """The metrics' port on loopback of the deployment whose endpoint has this one."""
    return port + _METRICS_STEP if port + _METRICS_STEP <= _LAST_PORT else port - _METRICS_STEP


def describe_slots(slots: Sequence[Slot]) -> str:
    """The slots as a label holds them."""
    return msgspec.json.encode(slots).decode()


def _write_service(
    plan: Plan, slots: Sequence[Slot], options: FormOptions, *, volume: str, config_name: str
) -> Mapping[str, Any]:
    port = load_recipe(RECIPE).settings["port"].default
    stop_s = load_recipe(RECIPE).settings["stop_after_s"].default
    labels = {
        "xpukit.deployment": options.name,
        "xpukit.role": SERVICE,
        "xpukit.engine": plan.engine.name,
        "xpukit.slots": describe_slots(slots),
        "xpukit.socket": f"{SOCKET_DIR}/admin.sock",
        "xpukit.metrics": f"127.0.0.1:{find_metrics_port(plan.launches[0].port)}",
    }

    def note(value: Any, text: str) -> Any:
        return Noted(value, (text,)) if options.comments else value

    return {
        "image": note(
            options.balancer_image or default_image(),
            f"made by: xpukit build-image {RECIPE} --tag {default_image()}",
        ),
        "restart": "unless-stopped",
        "container_name": f"{options.name}-{SERVICE}",
        "labels": labels,
        "ports": [
            note(f"{publish_address(plan)}:{plan.launches[0].port}:{port}", "the endpoint"),
            note(
                f"{labels['xpukit.metrics']}:{_METRICS_PORT}",
                "metrics of HAProxy and of each engine, never but on loopback: xpukit monitor up --balancer",
            ),
        ],
        "volumes": [
            {"type": "bind", "source": f"./{config_name}", "target": _CONFIG, "read_only": True},
            note(
                {"type": "volume", "source": volume, "target": SOCKET_DIR},
                "the control socket is a file in here; xpukit rotate speaks to it",
            ),
        ],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "read_only": True,
        "stop_signal": "SIGUSR1",
        "stop_grace_period": note(f"{int(str(stop_s)) + 5}s", "streams that run may end"),
    }

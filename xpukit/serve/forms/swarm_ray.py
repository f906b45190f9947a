"""Several machines on a Docker Swarm overlay network: a container on each, Ray inside where the plan uses it.

No ssh, no password and no `--privileged`: the containers reach each other by name on a network of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from xpukit.core.errors import UsageError
from xpukit.serve.forms import FormFile, FormOptions
from xpukit.serve.forms.container import ContainerLaunch, contain_launch, group_launches, is_plain_name, name_container
from xpukit.serve.forms.docker import comment_container, write_command
from xpukit.serve.forms.heading import list_heading
from xpukit.serve.forms.machines import MachinePart, list_machines, write_preflight
from xpukit.serve.forms.quoting import quote_word
from xpukit.serve.forms.ray_wait import require_token
from xpukit.serve.plan_types import Flag, Launch, Plan, Variable

NAME = "swarm-ray"
SUMMARY = "several machines on a Docker Swarm overlay network, Ray inside where the plan uses it"
ALIASES = ("swarm+ray", "swarm")
NEEDS_IMAGE = True
_OWN = "own"
_FIND_OWN = f"{_OWN}=$(python3 -c 'import socket; print(socket.gethostbyname(socket.gethostname()))') || exit"


def render(plan: Plan, options: FormOptions) -> tuple[FormFile, ...]:
    """A script for each machine, one for before, one for the end. Raises UsageError for a plan of one machine."""
    parts = list_machines(plan)
    if len(parts) < 2:
        given = plan.request.nodes
        hint = "it fits into one: --tp or --pp spread it over more GPUs, --form docker starts it on one"
        hint = hint if len(given) > 1 else "--nodes A,B plans for several; --form docker for one"
        raise UsageError("this plan is for one machine", hint=hint)
    if not is_plain_name(options.name):
        raise UsageError(f"--name {options.name!r} is no name for a host", hint="small letters, digits and hyphens")
    contained = [[_contain(plan, part, group, parts, options) for group in group_launches(part)] for part in parts]
    files = [
        _write_machine(plan, part, parts[0].address, parts[1].address, here, options)
        for part, here in zip(parts, contained, strict=True)
    ]
    return (
        *files,
        write_preflight(plan, options, "swarm"),
        _write_end(options, [one.name for here in contained for one in here]),
    )


def _contain(
    plan: Plan, part: MachinePart, group: Sequence[Launch], parts: Sequence[MachinePart], options: FormOptions
) -> ContainerLaunch:
    names = _name_addresses(parts, options)
    exports: dict[str, str] = {}
    moved = [_move(launch, part.address, names, exports) for launch in group]
    # The endpoint: the proxy where there is one, else the head's engine.
    endpoint = part.node == 0 and (group[-1].role == "proxy" or not part.proxies)
    needs_own = exports or any(f"${{{_OWN}}}" in word for launch in moved for word in launch.argv)
    before = [_FIND_OWN, *(f'export {name}="${_OWN}"' for name in exports)] if needs_own else []
    return contain_launch(plan, moved, options, detach=True, network=options.name, publish=endpoint, before=before)


def _name_addresses(parts: Sequence[MachinePart], options: FormOptions) -> Mapping[str, str]:
    """Addresses of the plan -> containers; with a port where a proxy has a container of its own."""
    names: dict[str, str] = {}
    for part in parts:
        for proxy in part.proxies:
            names[f"{part.address}:{proxy.port}"] = f"{name_container(options.name, (proxy,))}:{proxy.port}"
    for part in parts:
        names[part.address] = name_container(options.name, group_launches(part)[-1])
    return names


def _move(launch: Launch, own: str, names: Mapping[str, str], exports: dict[str, str]) -> Launch:
    """The launch with the overlay's names; a variable that is this machine's address is set inside (`exports`)."""
    variables: list[Variable] = []
    for one in launch.container_variables or launch.variables:
        if one.value == own:
            exports[one.name] = one.why
        else:
            variables.append(msgspec.structs.replace(one, value=_rename(one.value, names)))
    words = tuple(_place(word, own, names) for word in launch.program)
    flags = tuple(
        Flag(
            words=tuple(_place(word, own, names) for word in flag.words),
            why=flag.why, kind=flag.kind, source=flag.source, intent=flag.intent,
        )
        for flag in launch.flags
    )  # fmt: skip
    return msgspec.structs.replace(
        launch, program=words, flags=flags, variables=tuple(variables), container_variables=tuple(variables)
    )


def _place(word: str, own: str, names: Mapping[str, str]) -> str:
    """An option's value that is this machine's own address is found inside; others are names."""
    option, equals, value = word.rpartition("=")
    if value.lower() == own.lower():
        return f"{option}{equals}${{{_OWN}}}"
    return _rename(word, names)


def _rename(text: str, names: Mapping[str, str]) -> str:
    for address, name in names.items():
        text = re.sub(rf"(?<![\w.-]){re.escape(address)}(?![\w.-])", name, text, flags=re.IGNORECASE)
    return text


def _write_machine(
    plan: Plan, part: MachinePart, head: str, peer: str, containers: Sequence[ContainerLaunch], options: FormOptions
) -> FormFile:
    """`head`: the address at which the swarm's manager is joined; `peer`: another machine's, to find the way there."""
    lines = ["#!/bin/bash", *([f"# {line}" for line in list_heading(plan)] if options.comments else [])]
    lines.append(f"# on machine {part.node} ({part.address}):")
    lines.append("set -eu")
    lines += require_token(part.ray) if part.ray else []
    lines += _join_swarm(part, head, peer, options)
    for one in containers:
        if options.comments:
            lines += comment_container(one)
        lines.append(write_command(one))
    follow = f"docker logs --follow {quote_word(containers[-1].name)}"
    if options.log_file:
        follow += f" 2>&1 | tee {quote_word(options.log_file)}"
    lines += ["# Ctrl-C ends only the look at its log.", follow]
    return FormFile(name=f"{options.name}-node{part.node}.sh", text="\n".join(lines) + "\n", executable=True)


def _join_swarm(part: MachinePart, head: str, peer: str, options: FormOptions) -> list[str]:
    state = "\"$(docker info --format '{{.Swarm.LocalNodeState}}')\""
    network = quote_word(options.name)
    if part.node == 0:
        made = 'docker network create --driver overlay --attachable --opt com.docker.network.driver.mtu="$mtu"'
        found = f"getent ahosts {quote_word(peer)} | awk 'NR == 1 {{ print $1 }}'"
        return [
            f"if [ {state} != active ]; then",
            f"  docker swarm init --advertise-addr {quote_word(part.address)} >/dev/null",
            "fi",
            *(
                ["# Docker takes every network for one of 1500 bytes; VXLAN's 50 are its to take off."]
                if options.comments
                else []
            ),
            f"if ! docker network inspect {network} >/dev/null 2>&1; then",
            f"""  device=$(ip -o route get "$({found})" | sed 's/.* dev \\([^ ]*\\) .*/\\1/')""",
            r"""  mtu=$(ip -o link show dev "$device" | sed 's/.* mtu \([0-9]*\) .*/\1/')""",
            f"  {made} {network} >/dev/null",
            "fi",
            'echo "for the other machines: SWARM_TOKEN=$(docker swarm join-token --quiet worker)"',
        ]
    text = "is not set: the script of the first machine prints it"
    return [
        f"if [ {state} != active ]; then",
        f'  docker swarm join --token "${{SWARM_TOKEN:?{text}}}" {quote_word(f"{head}:2377")}',
        "fi",
    ]


def _write_end(options: FormOptions, names: Sequence[str]) -> FormFile:
    network = quote_word(options.name)
    text = f"""#!/bin/bash
# Ends this plan's containers on the machine where it is run: the others first, then the first one, which then takes the
# network away. The swarm itself stays (docker swarm leave).
for name in {" ".join(quote_word(name) for name in reversed(names))}; do
  if docker container inspect "$name" >/dev/null 2>&1; then docker rm --force "$name"; fi
done
if [ "$(docker info --format '{{{{.Swarm.ControlAvailable}}}}')" = true ]; then
  docker network rm {network}
fi
"""
    return FormFile(name=f"{options.name}-teardown.sh", text=text, executable=True)


def start(names: Sequence[str]) -> tuple[str, ...]:
    """By hand, one script on each machine."""
    del names
    return ()

"""A Compose file, from the very options that `docker run` is given; for docker-compose 1.29 and Compose v2 alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xpukit.container.run_options import RunOption
from xpukit.facts.launch_forms import load_launch_forms
from xpukit.serve.forms import FormFile, FormOptions
from xpukit.serve.forms.balancer import Balanced, is_balanced, plan_balancer
from xpukit.serve.forms.container import ContainerLaunch, PassedVariable, list_containers, write_health_check
from xpukit.serve.forms.heading import list_heading, list_reasons
from xpukit.serve.forms.mounts import read_mount
from xpukit.serve.forms.yaml_text import Noted, dump_yaml
from xpukit.serve.plan_types import Plan
from xpukit.serve.webui import find_page, find_server, plan_page

NAME = "compose"
SUMMARY = "a Compose file, for docker-compose 1.29 and docker compose v2"
ALIASES = ("docker-compose",)
NEEDS_IMAGE = True
_Service = dict[str, Any]


def render(plan: Plan, options: FormOptions) -> tuple[FormFile, ...]:
    """One file a machine, a service a container; several engines of one machine behind HAProxy where that is wanted."""
    wanted = is_balanced(plan, options)
    containers = list_containers(plan, options, restart=True, publish=not wanted)
    balanced = plan_balancer(plan, containers, options) if wanted else None
    nodes = sorted({one.node for one in containers})
    files = []
    for node in nodes:
        here = [one for one in containers if one.node == node]
        head = [f"# {line}\n" for line in list_heading(plan)] if options.comments else []
        if len(nodes) > 1:
            head.append(f"# on machine {node} ({here[0].address}):\n")
        name = f"{options.name}-node{node}.compose.yaml" if len(nodes) > 1 else f"{options.name}.compose.yaml"
        content = _write_file(here, options, balanced)
        if options.with_ui:
            _add_page(content["services"], plan, here, options, balanced)
        text = "".join(head) + dump_yaml(content)
        files.append(FormFile(name=name, text=text))
    if balanced is not None:
        files.append(FormFile(name=balanced.config_name, text=balanced.config))
    return tuple(files)


def _write_file(
    containers: Sequence[ContainerLaunch], options: FormOptions, balanced: Balanced | None
) -> dict[str, Any]:
    services: dict[str, Any] = {}
    volumes: dict[str, Any] = {}
    for one in containers:
        notes: tuple[str, ...] = ()
        if options.comments:
            reasons = dict.fromkeys(
                reason
                for launch in one.launches
                for reason in list_reasons(launch, inside=True)
                if reason.startswith("-")
            )
            notes = (*reasons, *(f"note: {note}" for note in one.run.notes))
        service = _write_service(one, options, volumes)
        if balanced is not None:
            service["labels"] = balanced.labels[one.name]
            if balanced.is_spare(one.name):
                spare = "waits for xpukit rotate; all of it: docker compose --profile spare"
                service["profiles"] = [Noted("spare", (spare,) if options.comments else ())]
        services[one.name] = Noted(service, notes)
    if balanced is not None:
        services[balanced.name] = balanced.service
        volumes[balanced.volume] = {"name": balanced.volume}
    return {"services": services, **({"volumes": volumes} if volumes else {})}


def _add_page(
    services: dict[str, Any],
    plan: Plan,
    here: Sequence[ContainerLaunch],
    options: FormOptions,
    balanced: Balanced | None,
) -> None:
    """The page beside the server, on the machine where that is; nothing for a page that is no service."""
    main = find_server(plan)
    server = next((one for one in here if main in one.launches), None)
    if server is None:
        return
    name = balanced.name if balanced is not None else server.name
    port = balanced.port if balanced is not None else main.port
    inside = f"http://{name}:{port}/v1" if server.local else f"http://127.0.0.1:{port}/v1"
    page = plan_page(plan, options, url=inside, host_network=not server.local, after=(name,))
    service = find_page(options.with_ui).write_service(page)
    if service:
        services[f"{options.name}-ui"] = service


def _write_service(one: ContainerLaunch, options: FormOptions, volumes: dict[str, Any]) -> _Service:
    service: _Service = {"image": _escape(one.run.image)}
    passed = {variable.name: variable for variable in one.passed}
    seen: set[str] = set()
    for option in one.run.options:
        name, values = option.words[0], option.words[1:]
        notes: tuple[str, ...] = (_explain(option),) if options.comments else ()
        # Some take several of the same kind for one reason, which is said once.
        notes = tuple(note for note in notes if note not in seen)
        seen.update(notes)
        if name == "--env":
            _add_variable(service, values[0], passed, notes)
        elif name == "--mount":
            mount = read_mount(values[0])
            _append(service, "volumes", {key: _escape_value(value) for key, value in mount.items()}, notes)
            if mount["type"] == "volume":
                volumes[str(mount["source"])] = {"name": str(mount["source"])}
        else:
            _WRITERS[name](service, values, notes)
    if one.run.arguments:
        service["command"] = [_escape(word) for word in one.run.arguments]
    service["stop_grace_period"] = f"{load_launch_forms().stop.grace_s}s"
    if one.health_port is not None:
        fact = load_launch_forms().health
        service["healthcheck"] = Noted(
            {
                "test": ["CMD", *(_escape(word) for word in write_health_check(one.health_port))],
                "interval": f"{fact.interval_s}s",
                "timeout": f"{fact.timeout_s}s",
                "retries": fact.retries,
                "start_period": f"{fact.start_s}s",
            },
            (fact.why,) if options.comments else (),
        )
    return service


def _explain(option: RunOption) -> str:
    return f"{option.reason} ({option.source})" if option.source else option.reason


def _escape(text: str) -> str:
    """Compose fills in $NAME; a doubled sign is one."""
    return text.replace("$", "$$")


def _escape_value(value: str | bool) -> str | bool:
    return value if isinstance(value, bool) else _escape(value)


def _append(service: _Service, key: str, value: Any, notes: tuple[str, ...]) -> None:
    service.setdefault(key, []).append(Noted(value, notes))


def _add_variable(service: _Service, given: str, passed: Mapping[str, PassedVariable], notes: tuple[str, ...]) -> None:
    name, equals, value = given.partition("=")
    if equals:
        _append(service, "environment", f"{name}={_escape(value)}", notes)
    elif passed[name].reference == f"${{{name}}}" and not passed[name].required:
        # The name alone: unset outside is unset inside; ${NAME} would make it empty.
        _append(service, "environment", name, notes)
    else:
        _append(service, "environment", f"{name}={_require(passed[name].reference)}", notes)


def _require(reference: str) -> str:
    """${NAME} -> ${NAME:?...}: Compose stops with the text where it is not set."""
    return reference.replace("}", ":?is not set}")


def _set(key: str, change: Callable[[str], Any] = str) -> Callable[[_Service, Sequence[str], tuple[str, ...]], None]:
    def write(service: _Service, values: Sequence[str], notes: tuple[str, ...]) -> None:
        service[key] = Noted(change(values[0]) if values else True, notes)

    return write


def _add(key: str, change: Callable[[str], Any] = str) -> Callable[[_Service, Sequence[str], tuple[str, ...]], None]:
    def write(service: _Service, values: Sequence[str], notes: tuple[str, ...]) -> None:
        _append(service, key, change(values[0]), notes)

    return write


def _skip(service: _Service, values: Sequence[str], notes: tuple[str, ...]) -> None:
    """Compose does it by itself."""
    del service, values, notes


def _add_limit(service: _Service, values: Sequence[str], notes: tuple[str, ...]) -> None:
    name, _, value = values[0].partition("=")
    service.setdefault("ulimits", {})[name] = Noted(int(value), notes)


def _add_device(service: _Service, values: Sequence[str], notes: tuple[str, ...]) -> None:
    if values[0].startswith("/"):
        _append(service, "devices", values[0], notes)
        return
    # A CDI name has colons, at which docker-compose 1.29 would cut it in a list of devices.
    _reserve(service, {"driver": "cdi", "device_ids": [values[0]], "capabilities": ["gpu"]}, notes)


def _add_nvidia(service: _Service, values: Sequence[str], notes: tuple[str, ...]) -> None:
    ids = values[0].strip('"').removeprefix("device=").split(",")
    _reserve(service, {"driver": "nvidia", "device_ids": ids, "capabilities": ["gpu"]}, notes)


def _reserve(service: _Service, device: Mapping[str, Any], notes: tuple[str, ...]) -> None:
    deploy = service.setdefault("deploy", {"resources": {"reservations": {"devices": []}}})
    devices = deploy["resources"]["reservations"]["devices"]
    if devices and devices[-1].value["driver"] == device["driver"]:
        devices[-1].value["device_ids"].extend(device["device_ids"])
    else:
        devices.append(Noted(device, notes))


def _note_memory(service: _Service, values: Sequence[str], notes: tuple[str, ...]) -> None:
    """No key of Compose binds memory; the processors' node is where the kernel takes it from first."""
    text = (
        f"Compose has no cpuset-mems: --form docker binds memory to node {values[0]}; here the kernel "
        "takes memory near these processors while there is some"
    )
    cpuset = service.get("cpuset")
    if isinstance(cpuset, Noted) and notes:
        service["cpuset"] = Noted(cpuset.value, (*cpuset.notes, text))


_WRITERS: Mapping[str, Callable[[_Service, Sequence[str], tuple[str, ...]], None]] = {
    "--restart": _set("restart"),
    "--name": lambda service, values, notes: service.update(container_name=values[0]),
    "--init": _set("init"),
    "--network": _set("network_mode"),
    "--publish": _add("ports"),
    "--gpus": _add_nvidia,
    "--device": _add_device,
    "--group-add": _add("group_add"),
    "--privileged": _set("privileged"),
    "--cap-drop": _add("cap_drop"),
    "--cap-add": _add("cap_add"),
    "--security-opt": _add("security_opt", lambda value: f"{value}:true" if value == "no-new-privileges" else value),
    "--ulimit": _add_limit,
    "--cpuset-cpus": _set("cpuset"),
    "--cpuset-mems": _note_memory,
    "--shm-size": _set("shm_size"),
    "--ipc": _set("ipc"),
    "--entrypoint": _set("entrypoint", lambda value: [_escape(value)]),
    "--detach": _skip,
    "--rm": _skip,
}

# Whoever ends it ends `up`, which stops the containers; `down` then takes them and their network away.
_START = """trap : INT TERM
if docker compose version >/dev/null 2>&1; then set -- docker compose -f "$0"; else set -- docker-compose -f "$0"; fi
"$@" up; code=$?
"$@" down; exit $code"""


def start(names: Sequence[str]) -> tuple[str, ...]:
    """The Compose that is there."""
    return ("bash", "-c", _START, names[0])

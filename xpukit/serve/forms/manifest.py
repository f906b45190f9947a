"""The documents of a Kubernetes manifest, from the container that `docker run` would start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xpukit.core.errors import UsageError
from xpukit.facts.launch_forms import KubernetesRow, find_kubernetes_row, load_launch_forms
from xpukit.serve.forms import FormOptions
from xpukit.serve.forms.container import ContainerLaunch, PassedVariable, is_plain_name, list_containers
from xpukit.serve.forms.heading import list_heading, list_reasons
from xpukit.serve.forms.mounts import read_mount
from xpukit.serve.forms.yaml_text import Noted, dump_yaml
from xpukit.serve.plan_types import Plan

_CLAIM = "gpus"


def write_manifest(plan: Plan, options: FormOptions, *, claims: bool) -> str:
    """All documents. `claims`: GPUs by a ResourceClaimTemplate, else by the device plugin's resource.

    Raises UsageError for several machines, a name that Kubernetes refuses, or GPUs that it has no name for.
    """
    containers = list_containers(plan, options)
    if len({one.node for one in containers}) > 1:
        hint = "--form swarm-ray or docker writes what each machine starts"
        raise UsageError("one Deployment cannot hold a plan over several machines", hint=hint)
    if not is_plain_name(options.name):
        raise UsageError(f"--name {options.name!r} is no name for Kubernetes", hint="small letters, digits and hyphens")
    row = _find_row(plan)
    one = containers[0]
    documents: list[Any] = []
    if claims:
        documents.append(_write_claim(one, row, options))
    storage = _write_storage(plan, one, options)
    if storage:
        documents.append(storage)
    documents += [_write_deployment(plan, containers, row, options, claims=claims), _write_service(one, options)]
    head = (
        [f"# {line}\n" for line in _list_head(plan, options.name, containers, row, claims=claims)]
        if options.comments
        else []
    )
    return "".join(head) + "---\n".join(dump_yaml(document) for document in documents)


def _list_head(
    plan: Plan, name: str, containers: Sequence[ContainerLaunch], row: KubernetesRow, *, claims: bool
) -> list[str]:
    lines = [*list_heading(plan), f"GPUs are {row.device_class if claims else row.resource} ({row.source})"]
    if containers[0].find_option("--cpuset-cpus"):
        lines.append(
            "processors: the kubelet places them (--cpu-manager-policy=static, --topology-manager-policy="
            f"single-numa-node); on the machine of the plan they would be {containers[0].find_option('--cpuset-cpus')}"
        )
    if len(containers) > 1:
        lines.append(f"the plan's {len(containers)} engines are that many pods behind one Service")
    wanted = [variable for variable in containers[0].passed if variable.required]
    for variable in wanted:
        lines.append(f"needed first: kubectl create secret generic {name}-secrets --from-literal={_key(variable)}=...")
    return lines


def _find_row(plan: Plan) -> KubernetesRow:
    drivers = {access.driver for access in plan.machine.access}
    if plan.machine.vendor == "intel" and not drivers - {""}:
        drivers = {"xe"}
    if plan.machine.vendor == "nvidia":
        drivers = {""}
    row = find_kubernetes_row(plan.machine.vendor, drivers.pop()) if len(drivers) == 1 else None
    if row is None:
        hint = "the device plugin names GPUs by their driver, xe or i915"
        raise UsageError("what Kubernetes calls these GPUs is not known", hint=hint)
    return row


def _write_claim(one: ContainerLaunch, row: KubernetesRow, options: FormOptions) -> Mapping[str, Any]:
    request = {"deviceClassName": row.device_class, "allocationMode": "ExactCount", "count": _count_gpus(one)}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": f"{options.name}-{_CLAIM}"},
        "spec": {"spec": {"devices": {"requests": [{"name": "gpu", "exactly": request}]}}},
    }


def _count_gpus(one: ContainerLaunch) -> int:
    """Whole cards: a tile is not given out alone."""
    if ids := one.find_option("--gpus"):
        return len(ids.split(","))
    return len(one.run.gpus)


def _write_storage(plan: Plan, one: ContainerLaunch, options: FormOptions) -> Mapping[str, Any] | None:
    """A claim for what is downloaded."""
    if not any(mount["type"] == "volume" for mount in _list_mounts(one)):
        return None
    gib = max(10, -(-plan.model.parameters * 3 // 2**30))
    note = "a guess: three bytes a parameter, which 16-bit weights and a margin take; ReadWriteMany to share it"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": f"{options.name}-models"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": Noted(f"{gib}Gi", (note,) if options.comments else ())}},
        },
    }


def _list_mounts(one: ContainerLaunch) -> list[dict[str, str | bool]]:
    """What is mounted of models; the links to devices are the device plugin's."""
    mounts = [read_mount(option.words[1]) for option in one.run.options if option.words[0] == "--mount"]
    return [mount for mount in mounts if not str(mount["source"]).startswith("/dev/")]


def _write_deployment(
    plan: Plan, containers: Sequence[ContainerLaunch], row: KubernetesRow, options: FormOptions, *, claims: bool
) -> Mapping[str, Any]:
    one = containers[0]
    labels = {"app.kubernetes.io/name": options.name}
    spec: dict[str, Any] = {
        "automountServiceAccountToken": Noted(False, _note(options, "an engine asks nothing of Kubernetes")),
        "enableServiceLinks": Noted(
            False, _note(options, "a Service's variables would be taken for the engine's own (VLLM_PORT)")
        ),
        "terminationGracePeriodSeconds": load_launch_forms().stop.grace_s,
    }
    groups = [int(option.words[1]) for option in one.run.options if option.words[0] == "--group-add"]
    if groups:
        why = "the groups of the device nodes on the plan's machine; only an image that does not run as root needs them"
        spec["securityContext"] = {"supplementalGroups": Noted(groups, _note(options, why))}
    if claims:
        spec["resourceClaims"] = [{"name": _CLAIM, "resourceClaimTemplateName": f"{options.name}-{_CLAIM}"}]
    spec["containers"] = [_write_container(one, row, options, claims=claims)]
    spec["volumes"] = _write_volumes(one, options)
    why = "stop the old pod first: there are GPUs for one of them only"
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": options.name, "labels": labels},
        "spec": {
            "replicas": len(containers),
            "progressDeadlineSeconds": load_launch_forms().health.start_s + 600,
            "strategy": {"type": Noted("Recreate", _note(options, why))},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _note(options: FormOptions, text: str) -> tuple[str, ...]:
    return (text,) if options.comments else ()


def _write_container(
    one: ContainerLaunch, row: KubernetesRow, options: FormOptions, *, claims: bool
) -> Mapping[str, Any]:
    container: dict[str, Any] = {"name": "engine", "image": one.run.image}
    if entrypoint := one.find_option("--entrypoint"):
        container["command"] = [_escape(entrypoint)]
    reasons = tuple(dict.fromkeys(why for why in list_reasons(one.launch, inside=True) if why.startswith("-")))
    arguments = [_escape(word) for word in one.run.arguments]
    container["args"] = Noted(arguments, reasons if options.comments else ())
    container["env"] = _write_variables(one, options)
    container["ports"] = [{"name": "http", "containerPort": one.launch.port}]
    count = _count_gpus(one)
    container["resources"] = {"claims": [{"name": _CLAIM}]} if claims else {"limits": {row.resource: count}}
    container["securityContext"] = _write_rights(one, options)
    if one.health_port is not None:
        container |= _write_probes(one.health_port, options)
    container["volumeMounts"] = [
        {"name": "shm", "mountPath": "/dev/shm"},
        *(
            {
                "name": f"models-{index}",
                "mountPath": str(mount["target"]),
                **({"readOnly": True} if mount.get("read_only") else {}),
            }
            for index, mount in enumerate(_list_mounts(one))
        ),
    ]
    return container


def _escape(text: str) -> str:
    """Kubernetes fills in $(NAME), and reads two signs as one."""
    return text.replace("$", "$$")


def _write_variables(one: ContainerLaunch, options: FormOptions) -> list[Any]:
    passed = {variable.name: variable for variable in one.passed}
    found: list[Any] = []
    for option in one.run.options:
        if option.words[0] != "--env":
            continue
        name, equals, value = option.words[1].partition("=")
        why = option.reason + (f" ({option.source})" if option.source else "")
        if equals:
            entry: Mapping[str, Any] = {"name": name, "value": _escape(value)}
        else:
            variable = passed[name]
            reference: dict[str, Any] = {"name": f"{options.name}-secrets", "key": _key(variable)}
            if not variable.required:
                reference["optional"] = True
            entry = {"name": name, "valueFrom": {"secretKeyRef": reference}}
        found.append(Noted(entry, _note(options, why)))
    return found


def _key(variable: PassedVariable) -> str:
    """The secret's key: the name that the plan refers to, else the variable's own."""
    plain = variable.reference.startswith("${") and variable.reference.count("$") == 1
    return variable.reference[2:-1] if plain and variable.reference.endswith("}") else variable.name


def _write_rights(one: ContainerLaunch, options: FormOptions) -> Mapping[str, Any]:
    for option in one.run.options:
        if option.words[0] == "--privileged":
            return {"privileged": Noted(True, _note(options, option.reason))}
    added = [
        Noted(option.words[1], _note(options, f"{option.reason} ({option.source})"))
        for option in one.run.options
        if option.words[0] == "--cap-add"
    ]
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], **({"add": added} if added else {})},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _write_probes(port: int, options: FormOptions) -> Mapping[str, Any]:
    fact = load_launch_forms().health
    get = {"httpGet": {"path": fact.path, "port": port}, "timeoutSeconds": fact.timeout_s}
    later = {**get, "periodSeconds": fact.interval_s, "failureThreshold": fact.retries}
    first = {**get, "periodSeconds": 10, "failureThreshold": fact.start_s // 10}
    return {"startupProbe": Noted(first, _note(options, fact.why)), "readinessProbe": later, "livenessProbe": later}


def _write_volumes(one: ContainerLaunch, options: FormOptions) -> list[Any]:
    size = one.find_option("--shm-size")
    # Docker's "32g" and "100m" are powers of two, which Kubernetes writes Gi and Mi.
    limit = size[:-1] + {"g": "Gi", "m": "Mi"}[size[-1]]
    why = next(option for option in one.run.options if option.words[0] == "--shm-size")
    memory = {
        "medium": "Memory",
        "sizeLimit": Noted(limit, _note(options, f"{why.reason} ({why.source})".replace(" ()", ""))),
    }
    volumes: list[Any] = [{"name": "shm", "emptyDir": memory}]
    for index, mount in enumerate(_list_mounts(one)):
        source: Mapping[str, Any] = {"persistentVolumeClaim": {"claimName": f"{options.name}-models"}}
        if mount["type"] == "bind":
            source = {"hostPath": {"path": str(mount["source"]), "type": "Directory"}}
        volumes.append({"name": f"models-{index}", **source})
    return volumes


def _write_service(one: ContainerLaunch, options: FormOptions) -> Mapping[str, Any]:
    labels = {"app.kubernetes.io/name": options.name}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": options.name, "labels": labels},
        "spec": {
            "selector": labels,
            "ports": [{"name": "http", "port": one.launch.port, "targetPort": "http"}],
        },
    }

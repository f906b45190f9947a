"""What each form writes of a plan: golden files, and what has to hold in all of them."""

from __future__ import annotations

import re
import shlex
from typing import Any

import kubernetes_validate
import msgspec
import pytest
import typer
import yaml

from tests.unit.serve.form_plans import DATA, INTEL, LINES, SEVERAL, load_plan
from xpukit.cli.app import build_tree
from xpukit.core.errors import UsageError
from xpukit.facts.launch_forms import load_launch_forms
from xpukit.serve.forms import FormFile, FormOptions, find_form, list_forms, render_form
from xpukit.serve.forms.compose import render as render_compose
from xpukit.serve.forms.container import list_containers
from xpukit.serve.forms.mounts import read_mount
from xpukit.serve.ray_token import list_ray_variables

FORMS = tuple(form.NAME for form in list_forms())
SECRET = "${SERVER_KEY}"
# What a form cannot be made of, and says.
REFUSED = {
    **{(name, form): "several machines" for name in SEVERAL for form in ("k8s", "k8s-dra")},
    **{(name, "ray"): "starts no Ray" for name in LINES if name != "ray"},
    **{(name, "swarm-ray"): "one machine" for name in LINES if name not in SEVERAL},
    **{("native", form): "needs an image" for form in FORMS if form not in ("shell", "systemd", "ray")},
}
PAIRS = [(name, form) for name in LINES for form in FORMS if (name, form) not in REFUSED]
CONTAINERS = [name for name in LINES if name != "native"]


def render(case: str, form: str, **options: Any) -> tuple[FormFile, ...]:
    return render_form(form, load_plan(case), FormOptions(**options))


@pytest.mark.parametrize("name", LINES)
def test_forms_are_as_written_down(name: str, request: pytest.FixtureRequest) -> None:
    text = "".join(
        f"==== {form}: {file.name}{' (executable)' if file.executable else ''}\n{file.text}"
        for form in FORMS
        if (name, form) not in REFUSED
        for file in render(name, form, comments=name in ("one", "replicas"), log_file="engine.log")
    )
    golden = DATA / "golden" / f"{name}.txt"
    if request.config.getoption("--update-golden"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "form"), REFUSED)
def test_what_cannot_be_says_so(name: str, form: str) -> None:
    with pytest.raises(UsageError) as caught:
        render(name, form)
    assert REFUSED[name, form] in caught.value.message or "Ray" in caught.value.message
    assert caught.value.hint


def test_every_form_has_its_names() -> None:
    wanted = "shell docker podman compose systemd quadlet k8s k8s-dra ray swarm-ray"
    assert set(wanted.split()) == set(FORMS)
    assert find_form("swarm+ray").NAME == "swarm-ray"
    assert find_form("python").NAME == find_form("lmdeploy").NAME == "shell"
    names = [name for form in list_forms() for name in (form.NAME, *form.ALIASES)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("name", "form"), PAIRS)
def test_a_key_is_never_open(name: str, form: str) -> None:
    """No form may start a server without the key that was asked for."""
    files = render(name, form)
    text = "".join(file.text for file in files)
    if not load_plan(name).request.api_key_env:
        assert "SERVER_KEY" not in text
        return
    if form in ("shell", "docker", "podman", "ray", "swarm-ray"):
        assert re.search(r"\$\{SERVER_KEY:\?\}", text)
        assert SECRET not in text
    elif form == "compose":
        assert "${SERVER_KEY:?" in text
    elif form.startswith("k8s"):
        documents = list(yaml.safe_load_all(text))
        [container] = next(one for one in documents if one["kind"] == "Deployment")["spec"]["template"]["spec"][
            "containers"
        ]
        [reference] = [
            one["valueFrom"]["secretKeyRef"]
            for one in container["env"]
            if one.get("valueFrom", {}).get("secretKeyRef", {}).get("key") == "SERVER_KEY"
        ]
        assert not reference.get("optional")
    else:
        units = [file.text for file in files if file.name.endswith((".service", ".container"))]
        serving = [unit for unit in units if "ray start" not in unit or "vllm serve" in unit]
        assert serving
        assert all(":?is not set" in unit for unit in serving)


@pytest.mark.parametrize("name", CONTAINERS)
def test_least_privilege(name: str) -> None:
    for one in list_containers(load_plan(name), FormOptions()):
        words = [option.words for option in one.run.options]
        assert ("--cap-drop", "ALL") in words
        assert ("--security-opt", "no-new-privileges") in words
        assert ("--privileged",) not in words
        added = [word[1] for word in words if word[0] == "--cap-add"]
        assert added in ([], ["SYS_PTRACE"])
        devices = [word[1] for word in words if word[0] == "--device"]
        named = {gpu.device for gpu in load_plan(name).machine.gpus if gpu.label in one.launch.gpus}
        nodes = [node for gpu in load_plan(name).machine.access if gpu.index in named for node in gpu.nodes]
        if name in INTEL:
            assert sorted(devices) == sorted(f"{node}:{node}:rw" for node in nodes)
        assert "/dev/dri" not in devices


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("privileged", [False, True])
def test_compose_says_what_docker_run_says(name: str, privileged: bool) -> None:
    """Each option of `docker run` is found in the file, and nothing more that grants anything."""
    options = FormOptions(privileged=privileged)
    plan = load_plan(name)
    containers = {one.name: one for one in list_containers(plan, options)}
    services: dict[str, Any] = {}
    for file in render_compose(plan, options):
        services |= yaml.safe_load(file.text)["services"]
    assert set(services) == set(containers)
    for key, one in containers.items():
        service = services[key]
        words = [option.words for option in one.run.options]

        def values(option: str, words: list[tuple[str, ...]] = words) -> list[str]:
            return [word[1] for word in words if word[0] == option]

        assert service["image"] == one.run.image
        assert service.get("devices", []) == values("--device")
        assert [str(group) for group in service.get("group_add", [])] == values("--group-add")
        assert service.get("cap_add", []) == values("--cap-add")
        assert service.get("cap_drop", []) == values("--cap-drop")
        assert service.get("ports", []) == values("--publish")
        assert service.get("cpuset", "") == "".join(values("--cpuset-cpus"))
        assert service.get("privileged", False) is (("--privileged",) in words) is privileged
        assert service.get("network_mode", "") == "".join(values("--network"))
        assert service.get("volumes", []) == [read_mount(text) for text in values("--mount")]
        assert [word.replace("$$", "$") for word in service.get("command", [])] == list(one.run.arguments)
        assert service.get("entrypoint", []) == values("--entrypoint")
        told = [entry.partition("=")[0] for entry in service.get("environment", [])]
        assert told == [text.partition("=")[0] for text in values("--env")]
        if ids := "".join(values("--gpus")):
            [device] = service["deploy"]["resources"]["reservations"]["devices"]
            assert device == {"driver": "nvidia", "device_ids": ids[8:-1].split(","), "capabilities": ["gpu"]}


def test_compose_says_that_memory_is_not_bound() -> None:
    [file] = render("tp2", "compose")
    assert "no cpuset-mems" in file.text
    assert "cpuset-mems" not in render("one", "compose")[0].text


def test_compose_names_cdi_devices_in_one_piece() -> None:
    [file] = render("tp2", "compose", cdi=True)
    [service] = yaml.safe_load(file.text)["services"].values()
    [device] = service["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "cdi"
    assert all(re.fullmatch(r"\S+/gpu=0000:\S+", name) for name in device["device_ids"])
    assert len(device["device_ids"]) == 2
    assert "devices" not in service


@pytest.mark.parametrize("form", ["k8s", "k8s-dra"])
@pytest.mark.parametrize("name", [name for name in CONTAINERS if name not in SEVERAL])
def test_kubernetes_takes_the_manifest(name: str, form: str) -> None:
    [file] = render(name, form)
    documents = list(yaml.safe_load_all(file.text))
    for document in documents:
        kubernetes_validate.validate(document, "1.34", strict=True)
    pod = next(one for one in documents if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["startupProbe"]["httpGet"] == {"path": "/health", "port": load_plan(name).launches[0].port}
    assert next(one for one in pod["volumes"] if one["name"] == "shm")["emptyDir"]["medium"] == "Memory"
    count = len(load_plan(name).launches[0].gpus)
    if form == "k8s":
        resource = "nvidia.com/gpu" if name == "nvidia" else "gpu.intel.com/xe"
        assert container["resources"] == {"limits": {resource: count}}
    else:
        claim = documents[0]
        [request] = claim["spec"]["spec"]["devices"]["requests"]
        assert request["exactly"]["count"] == count
        assert pod["resourceClaims"][0]["resourceClaimTemplateName"] == claim["metadata"]["name"]
        assert container["resources"] == {"claims": [{"name": pod["resourceClaims"][0]["name"]}]}


def test_replicas_are_pods_behind_one_service() -> None:
    documents = list(yaml.safe_load_all(render("replicas", "k8s")[0].text))
    assert [one["spec"]["replicas"] for one in documents if one["kind"] == "Deployment"] == [2]
    assert len([one for one in documents if one["kind"] == "Service"]) == 1


@pytest.mark.parametrize("name", CONTAINERS)
def test_quadlet_uses_only_documented_keys(name: str) -> None:
    known = set(load_launch_forms().quadlet.keys)
    for file in render(name, "quadlet"):
        if not file.name.endswith(".container"):
            continue
        section = ""
        for line in re.sub(r"\\\n\s*", "", file.text).splitlines():
            if line.startswith("["):
                section = line
            elif section == "[Container]" and line and not line.startswith("#"):
                assert line.partition("=")[0] in known


def test_several_units_have_a_target() -> None:
    files = {file.name: file.text for file in render("replicas", "systemd")}
    assert {"xpukit-0.service", "xpukit-1.service", "xpukit.target", "xpukit.env"} == set(files)
    assert "Wants=xpukit-0.service xpukit-1.service" in files["xpukit.target"]
    assert "WantedBy=xpukit.target" in files["xpukit-0.service"]
    assert not [line for line in files["xpukit.env"].splitlines() if line and not line.startswith("#")]


def test_an_engine_without_image_is_pinned_by_systemd() -> None:
    unit = next(file.text for file in render("native", "systemd") if file.name == "xpukit-0.service")
    assert "CPUAffinity=0-23" in unit
    assert "NUMAPolicy=bind" in unit
    assert "docker" not in unit


def test_ray_waits_for_the_machines_before_the_engine() -> None:
    head, worker, *_ = render("ray", "ray")
    place = [head.text.index(mark) for mark in ("ray start --block --head", "ray.nodes()", "vllm serve")]
    assert place == sorted(place)
    assert worker.text.index("/dev/tcp/10.0.0.1/6379") < worker.text.index("ray start --block --address=")
    assert "vllm serve" not in worker.text


@pytest.mark.parametrize("form", [form for form in FORMS if ("ray", form) not in REFUSED])
def test_no_form_starts_a_ray_that_takes_orders_from_anybody(form: str) -> None:
    """Each process of Ray gets the mode and the token, and without a token nothing starts."""
    for file in render("ray", form, comments=False):
        if "ray start" in file.text or "ray_start" in file.text:
            assert "RAY_AUTH_MODE=token" in file.text, file.name
            assert re.search(r"\$\{RAY_AUTH_TOKEN:\?", file.text), file.name
            assert "knows no token (2.52.0 does)" in file.text, file.name
        assert not re.search(r"RAY_AUTH_TOKEN=[^\"$\\\n]", file.text)
    plan = load_plan("ray")
    native = msgspec.structs.replace(plan, engine=msgspec.structs.replace(plan.engine, image=""))
    if form == "systemd":
        units = render_form("systemd", native, FormOptions(comments=False))
        assert all("${RAY_AUTH_TOKEN:?" in unit.text for unit in units if "ray start" in unit.text)


@pytest.mark.parametrize("form", ["ray", "swarm-ray"])
@pytest.mark.parametrize("index", [0, 1])
def test_without_a_token_a_script_ends_before_anything_starts(form: str, index: int) -> None:
    text = render("ray", form, comments=False)[index].text
    first = next(place for place, line in enumerate(text.splitlines()) if "RAY_AUTH_TOKEN" in line)
    started = next(place for place, line in enumerate(text.splitlines()) if re.match(r"\s*(have=|docker |if \[)", line))
    assert first < started


@pytest.mark.parametrize("asked", ["RAY_AUTH_MODE=disabled", "RAY_AUTH_TOKEN_PATH=/run/ray/token", "RAY_AUTH_TOKEN"])
def test_ray_is_secured_as_was_asked(asked: str) -> None:
    names = [one.name for one in list_ray_variables((asked.partition("=")[0],))]
    assert names == []
    assert [one.name for one in list_ray_variables(("HF_HOME",))] == ["RAY_AUTH_MODE", "RAY_AUTH_TOKEN"]


@pytest.mark.parametrize(("name", "form"), [("ray", "ray"), *((name, "swarm-ray") for name in SEVERAL)])
def test_a_look_at_all_machines_is_a_command_that_xpukit_knows(name: str, form: str) -> None:
    """Its words are read by the command line itself: a change of its options shows here."""
    [script] = [file for file in render(name, form) if file.name == "xpukit-preflight.sh"]
    line = script.text.partition("exec ")[2].replace("\\\n", " ")
    words = [word for word in shlex.split(line) if word != "$@"]
    assert words[0] == "xpukit"
    command = typer.main.get_command(build_tree(frozenset(words[1:2])))
    for part in words[1:3]:
        command = command.commands[part]  # type: ignore[attr-defined]
    read = command.make_context("preflight", words[3:]).params
    assert read["hosts"] == "10.0.0.1,10.0.0.2"
    assert read["form"] == form.split("-", maxsplit=1)[0]
    assert bool(read["image"]) is (form == "swarm-ray")


def test_ray_and_the_engine_share_a_container() -> None:
    head, worker = list_containers(load_plan("ray"), FormOptions())
    assert [launch.role for launch in head.launches] == ["head", "engine"]
    assert [launch.role for launch in worker.launches] == ["worker"]
    # The ranks of the other machine are children of its `ray start`: its container has the GPUs and the environment.
    assert worker.find_option("--gpus") == head.find_option("--gpus") != ""
    assert ("--env", "VLLM_HOST_IP=10.0.0.2") in [option.words for option in worker.run.options]
    assert "SERVER_KEY" not in " ".join(worker.run.argv)


def test_swarm_knows_containers_by_name_only() -> None:
    for name in SEVERAL:
        for file in render(name, "swarm-ray", comments=False):
            # Hosts are named to the swarm, to ssh before the start, and to find the network between them.
            named = r"# on machine.*|--advertise-addr 10\.0\.0\.1|10\.0\.0\.1:2377|--hosts \S+|getent ahosts \S+"
            outside = re.sub(named, "", file.text)
            assert "10.0.0." not in outside, (name, file.name)
            assert "--privileged" not in file.text
            assert "--network host" not in file.text
            assert "passw" not in file.text.lower()


def test_swarm_proxy_is_the_endpoint() -> None:
    head, worker, *_ = render("proxy", "swarm-ray")
    assert head.text.count("--publish") == 1
    assert "http://xpukit-proxy:8001" in head.text
    assert "http://xpukit-proxy:8001" in worker.text
    assert "LMDEPLOY_DP_MASTER_ADDR=xpukit-node0" in worker.text


@pytest.mark.parametrize("name", LINES)
def test_the_command_in_the_shell_form_is_the_plans(name: str) -> None:
    plan = load_plan(name)
    text = "\n".join(file.text for file in render(name, "shell", comments=False))
    words = shlex.split(text.replace("\\\n", " ").replace(":?}", "}"), comments=True)
    for launch in plan.launches:
        argv = list(launch.argv)
        assert any(words[index : index + len(argv)] == argv for index in range(len(words))), launch.name


def test_a_model_on_disk_is_mounted_and_its_dollar_kept() -> None:
    [container] = list_containers(load_plan("local"), FormOptions())
    assert "type=bind,source=/data/models/small,target=/data/models/small,readonly" in container.run.argv
    assert "NOTE=50%_of_$HOME" in container.run.argv
    assert "'NOTE=50%_of_$HOME'" in render("local", "docker")[0].text
    assert "NOTE=50%_of_$$HOME" in render("local", "compose")[0].text
    assert "NOTE=50%%_of_$$HOME" in render("local", "systemd")[0].text
    assert "NOTE=50%%_of_$$HOME" in render("local", "quadlet")[0].text


def test_a_downloaded_model_stays_in_the_volume() -> None:
    """The caller's HF_HOME is no place inside."""
    for one in list_containers(load_plan("one"), FormOptions()):
        assert "HF_HOME" not in one.run.argv
        assert "HF_TOKEN" in one.run.argv


@pytest.mark.parametrize("bad", ["../x", "a b", "", "a;b", "-x", "x" * 64])
def test_a_name_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(UsageError) as caught:
        render("one", "docker", name=bad)
    assert "--name" in caught.value.message


@pytest.mark.parametrize("form", ["k8s", "swarm-ray"])
def test_names_are_hosts_where_they_have_to_be(form: str) -> None:
    with pytest.raises(UsageError):
        render("ray" if form == "swarm-ray" else "one", form, name="My_Model")


def test_oneapi_is_sourced_before_the_engine() -> None:
    plan = load_plan("native")
    image = msgspec.structs.replace(plan.engine, setvars="/opt/intel/oneapi/setvars.sh", setvars_why="a", image="x:1")
    plan = msgspec.structs.replace(plan, engine=image)
    source = "source /opt/intel/oneapi/setvars.sh --force"
    one, _ = list_containers(plan, FormOptions())
    assert one.find_option("--entrypoint") == "/bin/bash"
    assert one.arguments[1].startswith(f"{source} && exec vllm serve ")
    [script] = render_form("shell", plan, FormOptions())
    assert script.text.index(source) < script.text.index("vllm serve")
    bare = msgspec.structs.replace(plan, engine=msgspec.structs.replace(image, image=""))
    units = render_form("systemd", bare, FormOptions())
    assert f'ExecStart=/bin/bash -c "{source} && exec vllm serve ' in units[0].text


@pytest.mark.parametrize("form", ["docker", "compose", "k8s", "systemd", "quadlet"])
def test_all_rights_only_on_request(form: str) -> None:
    assert "privileged" not in "".join(file.text for file in render("one", form)).replace("no-new-privileges", "")
    assert "privileged" in "".join(file.text for file in render("one", form, privileged=True))


def test_asked_for_all_addresses_publishes_on_all() -> None:
    plan = load_plan("one")
    request = msgspec.structs.replace(plan.request, host="0.0.0.0")
    [one] = list_containers(msgspec.structs.replace(plan, request=request), FormOptions())
    assert one.find_option("--publish") == "0.0.0.0:8000:8000"


def test_ray_without_an_image_is_a_unit_of_its_own() -> None:
    plan = load_plan("ray")
    plan = msgspec.structs.replace(plan, engine=msgspec.structs.replace(plan.engine, image=""))
    units = {file.name: file.text for file in render_form("systemd", plan, FormOptions(comments=False))}
    assert {"xpukit-node0-ray.service", "xpukit-node0.service", "xpukit-node1-ray.service"} <= set(units)
    assert "xpukit-node0.target" in units
    engine = units["xpukit-node0.service"]
    assert "Requires=xpukit-node0-ray.service" in engine
    assert engine.index('ExecStartPre=/bin/bash -c "limit=$$((SECONDS') < engine.index("ExecStart=/usr/bin/env vllm")
    assert "/dev/tcp/10.0.0.1/6379" in units["xpukit-node1-ray.service"]
    assert "VLLM_API_KEY" not in units["xpukit-node1-ray.service"]

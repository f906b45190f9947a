"""HAProxy's words, engines' metrics, labels, the outcome as metrics, timers: what a rotation reads and writes."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from xpukit.core.errors import ExternalError, UsageError
from xpukit.facts.exporter_metrics import load_exporter_metrics
from xpukit.facts.rotation import list_rotation_limits
from xpukit.host.docker_decode import copy_container, decode_container
from xpukit.host.docker_values import ContainerInfo
from xpukit.operate.rotate.balancer import Balancer, parse_servers
from xpukit.operate.rotate.count_requests import count_requests
from xpukit.operate.rotate.deployment import describe_container, find_deployment, read_age
from xpukit.operate.rotate.metrics_file import render_metrics
from xpukit.operate.rotate.schedule import render_cron, render_timer
from xpukit.operate.rotate.state import RotationPlan, RotationReport

# Columns as HAProxy 2.6 names them, shortened to those before and after the ones that are read.
STAT = """# pxname,svname,qcur,qmax,scur,smax,slim,stot,status,weight,check_status,
engines,engine-0,1,2,3,4,32,100,UP,1,L7OK,
engines,engine-1,0,0,0,4,32,100,UP 1/2,1,L7STS,
engines,engine-2,0,0,2,4,32,100,DRAIN,1,L7OK,
engines,engine-3,0,0,0,4,32,100,MAINT (resolution),1,,
engines,engine-4,0,0,0,4,32,100,DOWN 1/2,1,L4TOUT,
engines,BACKEND,0,0,5,4,32,100,UP,1,,
endpoint,FRONTEND,,,5,4,32,100,OPEN,,,
"""


def test_servers_as_haproxy_lists_them() -> None:
    found = parse_servers(STAT)
    assert [(one.name, one.balance, one.requests) for one in found] == [
        ("engine-0", "up", 4),
        ("engine-1", "up", 0),
        ("engine-2", "drain", 2),
        ("engine-3", "maint", 0),
        ("engine-4", "down", 0),
    ]
    assert found[1].check == "L7STS"


@given(st.text(max_size=400))
def test_no_answer_of_haproxy_raises(text: str) -> None:
    parse_servers(text)
    parse_servers(STAT + text)


class Socket:
    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def __call__(self, command: str) -> str:
        self.asked.append(command)
        return self.answer


def test_commands_to_haproxy() -> None:
    socket = Socket("")
    balancer = Balancer(socket)
    balancer.set_state("engine-0", "drain")
    balancer.set_address("engine-0", "172.18.0.3", 8000)
    assert socket.asked == [
        "set server engines/engine-0 state drain",
        "set server engines/engine-0 addr 172.18.0.3 port 8000",
    ]
    socket.answer = "IP changed from '1.1.1.1' to '172.18.0.3' by 'stats socket command'"
    balancer.set_address("engine-0", "172.18.0.3", 8000)
    socket.answer = (
        "Update for the current server address family is only supported through configuration file by "
        "'stats socket command'"
    )
    balancer.set_address("engine-4", "172.18.0.7", 8000)  # a spare that never ran: HAProxy looks its name up
    socket.answer = "no need to change the addr, no need to change the port, nothing changed by 'stats socket command'"
    balancer.set_address("engine-0", "172.18.0.3", 8000)


@pytest.mark.parametrize("words", ["No such server.", "Permission denied"])
def test_what_haproxy_refuses_is_an_error(words: str) -> None:
    balancer = Balancer(Socket(words))
    with pytest.raises(ExternalError, match=words[:10]):
        balancer.set_state("engine-9", "ready")
    with pytest.raises(ExternalError):
        balancer.set_address("engine-9", "10.0.0.1", 1)
    with pytest.raises(ExternalError):
        balancer.list_servers()


@pytest.mark.parametrize("name", ["a;disable server", "a b", "", "a\nb"])
def test_no_second_command_is_smuggled_in(name: str) -> None:
    socket = Socket("")
    with pytest.raises(ExternalError):
        Balancer(socket).set_state(name, "ready")
    with pytest.raises(ExternalError):
        Balancer(socket).set_address("engine-0", name, 1)
    assert socket.asked == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('vllm:num_requests_running{engine="0"} 2.0\nvllm:num_requests_waiting{engine="0"} 3.0\n', 5),
        ('vllm:num_requests_running{engine="0"} 1\nvllm:num_requests_running{engine="1"} 2\n', 3),
        ('sglang:num_running_reqs{model_name="a b"} 4\nsglang:num_queue_reqs{model_name="a b"} 1\n', 5),
        ("vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n", 0),
        ("vllm:num_requests_waiting 3\n", None),
        ("vllm:num_requests_running NaN\n", None),
        ("# HELP vllm:num_requests_running x\nprocess_open_fds 3\n", None),
        ("", None),
    ],
)
def test_requests_by_the_engines_metrics(text: str, wanted: int | None) -> None:
    assert count_requests(text) == wanted


@given(st.text(max_size=300))
def test_no_metrics_raise(text: str) -> None:
    count_requests(text)
    count_requests("vllm:num_requests_running{" + text)


def make_balancer(**changed: object) -> ContainerInfo:
    slots = [{"slot": "engine-0", "service": "chat-0", "port": 8000}]
    labels = {
        "xpukit.deployment": "chat",
        "xpukit.role": "balancer",
        "xpukit.slots": json.dumps(slots),
        "xpukit.socket": "/run/balancer/admin.sock",
        "com.docker.compose.project": "chat",
        "com.docker.compose.project.config_files": "/srv/chat.compose.yaml,/srv/more.yaml",
        "com.docker.compose.project.working_dir": "/srv",
    }
    info = ContainerInfo(id="1", name="chat-balancer", image="i", status="running", labels=labels)
    return msgspec.structs.replace(info, **changed)  # type: ignore[arg-type]


def test_deployment_from_labels() -> None:
    found = find_deployment("chat", [make_balancer()])
    assert (found.project, found.files) == ("chat", ("/srv/chat.compose.yaml", "/srv/more.yaml"))
    assert [(slot.slot, slot.port, slot.spare) for slot in found.slots] == [("engine-0", 8000, False)]


def test_deployment_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UsageError) as none:
        find_deployment("other", [make_balancer()])
    assert none.value.hint == "there are: chat"
    with pytest.raises(ExternalError, match="is exited"):
        find_deployment("chat", [make_balancer(status="exited")])
    with pytest.raises(UsageError, match="slots"):
        find_deployment("chat", [make_balancer(labels={**make_balancer().labels, "xpukit.slots": "["})])


def test_container_states_and_age() -> None:
    now = datetime(2026, 11, 21, 12, 0, 10, tzinfo=timezone.utc)
    info = make_balancer(created="2026-11-21T12:00:00.123456789Z")
    assert read_age(info, now) == 10.0
    assert read_age(make_balancer(created="soon"), now) is None
    assert describe_container(None) == "absent"
    states = {
        one: describe_container(make_balancer(status=one)) for one in ("running", "exited", "restarting", "created")
    }
    assert states == {"running": "running", "exited": "stopped", "restarting": "failing", "created": "stopped"}


def test_copy_of_a_container_is_not_composes() -> None:
    raw = {
        "Id": "abcdef0123456789",
        "Image": "sha256:old",
        "Config": {
            "Image": "vllm:1",
            "Hostname": "abcdef012345",
            "Env": ["KEY=s3cret"],
            "Cmd": ["serve"],
            "Labels": {"com.docker.compose.service": "chat-0", "xpukit.slot": "engine-0"},
        },
        "HostConfig": {"CpusetCpus": "0-3", "Devices": [{"PathOnHost": "/dev/dri/renderD128"}]},
        "NetworkSettings": {
            "Networks": {"chat_default": {"Aliases": ["chat-0", "abcdef012345"], "IPAddress": "172.18.0.3"}}
        },
    }
    body = copy_container(raw, labels={"xpukit.kept": "1"}, without="com.docker.compose.")
    assert body["Image"] == "sha256:old"
    assert body["Labels"] == {"xpukit.slot": "engine-0", "xpukit.kept": "1"}
    assert "Hostname" not in body
    assert (body["Env"], body["Cmd"], body["HostConfig"]) == (["KEY=s3cret"], ["serve"], raw["HostConfig"])
    assert body["NetworkingConfig"] == {"EndpointsConfig": {"chat_default": {"Aliases": ["chat-0"]}}}
    assert decode_container(raw).addresses == {"chat_default": "172.18.0.3"}


def make_report(outcome: str, **more: object) -> RotationReport:
    plan = RotationPlan(mode="stop-first", why="", order=("engine-0",), min_healthy=1)
    base = {"deployment": "chat", "plan": plan, "rotated": (), "steps": (), "seconds": 1.0, "outcome": outcome}
    return RotationReport(**{**base, **more})  # type: ignore[arg-type]


def read_metrics(text: str) -> dict[str, float]:
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert all(sample.labels == {"service": "chat"} for sample in samples)
    assert all(sample.name in load_exporter_metrics() for sample in samples)
    return {sample.name.removeprefix("xpukit_rotation_"): sample.value for sample in samples}


def test_metrics_of_the_outcome() -> None:
    good = render_metrics(make_report("rotated"), "", 1000.4)
    assert read_metrics(good) == {"failed": 0, "last_success_timestamp_seconds": 1000}
    bad = render_metrics(make_report("failed"), good, 2000.0)
    assert read_metrics(bad) == {"failed": 1, "last_success_timestamp_seconds": 1000}
    assert read_metrics(render_metrics(make_report("failed"), "", 2000.0)) == {"failed": 1}
    assert render_metrics(make_report("nothing-to-do"), bad, 3000.0) == bad
    assert render_metrics(make_report("interrupted"), good, 3000.0) == good
    lost = render_metrics(make_report("interrupted", out_of_service=("engine-0",)), good, 3000.0)
    assert read_metrics(lost)["failed"] == 1


ARGV = ["/usr/local/bin/xpukit", "rotate", "chat", "--log", "/var/log/50% of $it.log"]


@pytest.mark.parametrize(
    ("every", "lines"),
    [
        ("6h", ["OnBootSec=6h", "OnUnitActiveSec=6h"]),
        ("weekly", ["OnCalendar=weekly", "Persistent=true"]),
        ("Sun *-*-* 03:17", ["OnCalendar=Sun *-*-* 03:17"]),
    ],
)
def test_timer(every: str, lines: list[str]) -> None:
    (service, text), (timer, when) = render_timer("chat", ARGV, every)
    assert (service, timer) == ("xpukit-rotate-chat.service", "xpukit-rotate-chat.timer")
    assert 'ExecStart=/usr/local/bin/xpukit rotate chat --log "/var/log/50%% of $$it.log"' in text
    assert "Type=oneshot" in text
    assert all(line in when.splitlines() for line in lines)


@pytest.mark.parametrize(
    ("every", "fields"),
    [("daily", "17 3 * * *"), ("1w", "17 3 * * 0"), ("8h", "17 */8 * * *"), ("5 4 * * 1-5", "5 4 * * 1-5")],
)
def test_cron(every: str, fields: str) -> None:
    line = render_cron("chat", ARGV, every).splitlines()[-1]
    assert line.startswith(f"{fields} root /usr/local/bin/xpukit rotate chat")
    assert r"'/var/log/50\% of $it.log'" in line


@pytest.mark.parametrize("every", ["", "0h", "soon", "1x", "5h; rm -rf /", "daily\nroot"])
def test_times_that_are_none(every: str) -> None:
    with pytest.raises(UsageError):
        render_timer("chat", ARGV, every)
    with pytest.raises(UsageError):
        render_cron("chat", ARGV, every)


def test_limits_say_why() -> None:
    assert all(limit.why and limit.value > 0 and limit.unit == "s" for limit in list_rotation_limits())
    assert {limit.name for limit in list_rotation_limits()} >= set(
        re.findall(r"find_rotation_limit\(\"(\w+)\"\)", _read_sources())
    )


def _read_sources() -> str:
    from pathlib import Path

    import xpukit.operate.rotate as room

    return "".join(path.read_text(encoding="utf-8") for path in Path(room.__path__[0]).glob("*.py"))

"""The monitor and loadbalancer recipes: configurations follow from the settings, nothing is open that need not be."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

import pytest
import yaml

from xpukit.core.errors import UsageError
from xpukit.facts.recipes import load_recipe
from xpukit.images.build import BuilderKind, Rendered
from xpukit.images.render import render_recipe
from xpukit.images.settings import resolve_settings

CASES = [(name, variant.name) for name in ("monitor", "loadbalancer") for variant in load_recipe(name).variants]
BUILDERS: tuple[BuilderKind, ...] = ("buildkit", "classic")
Golden = Callable[[str, str], None]


def render(name: str, *given: str, variant: str = "", builder: BuilderKind = "buildkit") -> Rendered:
    recipe = load_recipe(name)
    settings = resolve_settings(recipe, variant=variant, given=given)
    return render_recipe(recipe, settings, builder=builder, variant=variant, revision="test")


def read(rendered: Rendered, path: str) -> str:
    return next(file.content for file in rendered.files if file.path == path).decode()


def read_yaml(rendered: Rendered, path: str) -> Any:
    return yaml.safe_load(read(rendered, path))


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize(("name", "variant"), CASES)
def test_dockerfile_is_golden(name: str, variant: str, builder: BuilderKind, golden: object) -> None:
    text = render(name, variant=variant, builder=builder).dockerfile
    cast(Golden, golden)(f"dockerfiles/{name}-{variant}-{builder}.Dockerfile", text)


@pytest.mark.parametrize("builder", ["buildx", *BUILDERS])
@pytest.mark.parametrize(("name", "variant"), CASES)
def test_every_variant_keeps_the_rules(name: str, variant: str, builder: BuilderKind) -> None:
    text = render(name, variant=variant, builder=builder).dockerfile
    assert ("--mount=" in text) == (builder != "classic")
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE)[-1] == "10001:10001"
    assert "HEALTHCHECK " in text
    assert 'ENTRYPOINT ["/opt/xpukit/entrypoint.sh"]' in text
    for never in (":latest", "apt-get upgrade", "curl", "wget"):
        assert never not in text


@pytest.mark.parametrize(
    ("variant", "package", "port"),
    [
        ("prometheus", "prometheus", 9090),
        ("alertmanager", "prometheus-alertmanager", 9093),
        ("node-exporter", "prometheus-node-exporter", 9100),
    ],
)
def test_monitor_has_one_program_on_loopback(variant: str, package: str, port: int) -> None:
    rendered = render("monitor", variant=variant)
    assert rendered.apt_packages == ("ca-certificates", package)
    assert "XPUKIT_LISTEN=127.0.0.1" in rendered.dockerfile
    assert f"XPUKIT_PORT={port}" in rendered.dockerfile
    assert f"EXPOSE {port}" in rendered.dockerfile
    path = "/" if variant == "node-exporter" else "/-/healthy"
    assert f"GET {path} HTTP/1.0" in read(rendered, "healthcheck.sh")


def test_targets_are_grouped_by_job() -> None:
    given = "targets=vllm=engine1:8000,node=host:9100,vllm=engine2:8000"
    config = read_yaml(render("monitor", given, "scrape_interval_s=5", "metrics_path=/m"), "config/prometheus.yml")
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    assert jobs == {
        "prometheus": ["localhost:9090"],
        "vllm": ["engine1:8000", "engine2:8000"],
        "node": ["host:9100"],
    }
    assert config["global"]["scrape_interval"] == config["global"]["scrape_timeout"] == "5s"
    assert "alerting" not in config
    assert config["scrape_configs"][1]["metrics_path"] == "/m"


def test_alertmanagers_and_rules_are_named() -> None:
    rendered = render("monitor", "alertmanagers=am1:9093,am2:9093", "down_after_s=30")
    config = read_yaml(rendered, "config/prometheus.yml")
    assert config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] == ["am1:9093", "am2:9093"]
    rule = read_yaml(rendered, "config/rules/targets.yml")["groups"][0]["rules"][0]
    assert (rule["alert"], rule["for"]) == ("TargetDown", "30s")
    assert "{{ $labels.instance }}" in rule["annotations"]["summary"]


def test_retention_follows_the_settings() -> None:
    text = render("monitor", "retention_days=3", "retention_gb=2").dockerfile
    assert "XPUKIT_RETENTION_DAYS=3" in text
    assert "XPUKIT_RETENTION_GB=2" in text


@pytest.mark.parametrize(("given", "receiver"), [((), "page"), (("webhook_url=http://hooks:8080/x",), "webhook")])
def test_alertmanager_receiver(given: tuple[str, ...], receiver: str) -> None:
    config = read_yaml(render("monitor", *given, variant="alertmanager"), "config/alertmanager.yml")
    assert config["route"]["receiver"] == config["receivers"][0]["name"] == receiver
    assert ("webhook_configs" in config["receivers"][0]) == bool(given)


def test_prometheus_takes_no_lifecycle_or_admin_requests() -> None:
    script = read(render("monitor"), "entrypoint.sh")
    assert "--web.enable" not in script
    assert "--cluster.listen-address= " in script


def balancer_lines(*given: str, variant: str = "") -> list[str]:
    rendered = render("loadbalancer", *given, variant=variant)
    return [line.strip() for line in read(rendered, "haproxy.cfg").splitlines()]


@pytest.mark.parametrize(
    ("balance", "wanted"),
    [
        ("leastconn", ["balance leastconn"]),
        ("roundrobin", ["balance roundrobin"]),
        ("uri", ["balance uri", "hash-type consistent"]),
        ("source", ["balance source", "hash-type consistent"]),
        ("session", ["balance hdr(x-session-id)", "hash-type consistent", "hash-balance-factor 150"]),
        ("prefix", ["option http-buffer-request", "balance hash req.body,bytes(0,1024)", "hash-balance-factor 150"]),
    ],
)
def test_balance(balance: str, wanted: list[str]) -> None:
    lines = balancer_lines(f"balance={balance}")
    assert all(line in lines for line in wanted)
    assert len([line for line in lines if line.startswith("balance ")]) == 1


def test_backends_and_timeouts_follow_the_settings() -> None:
    lines = balancer_lines(
        "backends=a=10.0.0.1:8000,b=host-2.lan:8001", "health_path=/v1/models", "answer_timeout_s=7", "stop_after_s=9"
    )
    assert [line for line in lines if line.startswith("server ")] == [
        "server a 10.0.0.1:8000",
        "server b host-2.lan:8001",
    ]
    assert "option httpchk GET /v1/models" in lines
    assert {"timeout client 7s", "timeout server 7s", "hard-stop-after 9s"} <= set(lines)


def test_a_taken_request_is_never_sent_twice() -> None:
    assert [line for line in balancer_lines() if line.startswith("retry-on")] == ["retry-on conn-failure"]


def test_control_socket_is_a_file_of_one_user() -> None:
    sockets = [line for line in balancer_lines("metrics_port=8404") if line.startswith("stats ")]
    assert sockets == ["stats socket /run/balancer/admin.sock mode 600 level admin"]


def test_metrics_only_when_asked() -> None:
    assert "frontend metrics" not in balancer_lines()
    assert "bind 0.0.0.0:8404" in balancer_lines("metrics_port=8404")
    assert "EXPOSE 8080 8404" in render("loadbalancer", "metrics_port=8404").dockerfile


def test_limit_for_each_engine() -> None:
    default = next(line for line in balancer_lines("max_per_backend=32") if line.startswith("default-server"))
    assert default.endswith("maxconn 32")
    assert "maxconn" not in next(line for line in balancer_lines() if line.startswith("default-server"))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("loadbalancer", "backends=engine1:8000"),
        ("loadbalancer", "backends=a=host:8000 send-proxy"),
        ("loadbalancer", "balance=random"),
        ("loadbalancer", "port=80"),
        ("loadbalancer", "health_path=/x y"),
        ("monitor", "targets=host:9100"),
        ("monitor", "component=grafana"),
        ("monitor", "listen=localhost"),
        ("monitor", "webhook_url=http://user:pass@host/"),
        ("monitor", "retention_days=0"),
        ("monitor", "base_image=debian"),
    ],
)
def test_bad_settings_are_refused(name: str, given: str) -> None:
    with pytest.raises(UsageError):
        render(name, given)

"""The monitoring stack's files, its password, and how it is started."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.machines.dict_host import DictHost
from xpukit.core.errors import ExternalError, UsageError
from xpukit.facts.exporter_engines import load_engine_meanings
from xpukit.facts.exporter_metrics import load_exporter_metrics, load_exporter_sources
from xpukit.host.answers import Ran
from xpukit.operate.monitor.dashboards import DATASOURCE_UID, data_directory, load_dashboards
from xpukit.operate.monitor.render import render_files
from xpukit.operate.monitor.settings import MonitorSettings, make_settings
from xpukit.operate.monitor.start import find_compose, start_stack, write_stack

_NAME = re.compile(r"\b(?:hw_[a-z_]+|xpukit_[a-z_]+|engine:[a-z0-9_]+:[a-z]+)\b")


def make(**options: Any) -> MonitorSettings:
    return make_settings(exporters=(), engines=options.pop("engines", ("vllm=10.0.0.1:8000",)), **options)


def load_files(settings: MonitorSettings) -> dict[str, Any]:
    loaded: dict[str, Any] = {}
    for file in render_files(settings):
        if file.path.endswith((".yml", ".yaml")):
            loaded[file.path] = yaml.safe_load(file.text)
        elif file.path.endswith(".json"):
            loaded[file.path] = json.loads(file.text)
    return loaded


def test_nothing_but_loopback_unless_asked() -> None:
    services = load_files(make())["compose.yaml"]["services"]
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    assert not any("ports" in service for service in services.values())
    exposed = load_files(make(listen="0.0.0.0", exporter_image="our/xpukit:1"))["compose.yaml"]["services"]
    assert exposed["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "0.0.0.0"
    assert "--web.listen-address=127.0.0.1:9090" in exposed["prometheus"]["command"], "it has no users"
    assert "--listen=127.0.0.1" in exposed["exporter"]["command"]


def test_a_changed_configuration_starts_its_container_anew_and_no_other() -> None:
    def list_labels(**options: Any) -> dict[str, str]:
        services = load_files(make(**options))["compose.yaml"]["services"]
        return {name: service["labels"]["xpukit.config"] for name, service in services.items()}

    before = list_labels()
    assert list_labels() == before
    for options in ({"engines": ("vllm=10.0.0.9:8000",)}, {"ttft_sla_s": 5.0}):
        after = list_labels(**options)
        assert after["prometheus"] != before["prometheus"]
        assert after["grafana"] == before["grafana"]
    assert list_labels(scrape_interval_s=30)["grafana"] != before["grafana"], "the data source says the interval"


def test_no_password_is_written_where_others_read() -> None:
    compose = load_files(make())["compose.yaml"]
    environment = compose["services"]["grafana"]["environment"]
    assert "GF_SECURITY_ADMIN_PASSWORD" not in environment
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_admin_password"
    assert compose["secrets"]["grafana_admin_password"]["file"] == "./secrets/grafana_admin_password"
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == environment["GF_USERS_ALLOW_SIGN_UP"] == "false"


def test_services_are_pinned_and_without_rights() -> None:
    services = load_files(make(exporter_image="our/xpukit:1"))["compose.yaml"]["services"]
    for service in services.values():
        assert re.search(r":v?\d", service["image"])
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert service["security_opt"][0] == "no-new-privileges:true"
    assert services["exporter"]["pid"] == "host"


@pytest.mark.parametrize("there", [True, False])
def test_the_exporters_container_gets_render_nodes_where_there_are_any(there: bool) -> None:
    exporter = load_files(make(exporter_image="our/xpukit:1", render_nodes=there))["compose.yaml"]["services"][
        "exporter"
    ]
    assert exporter.get("devices") == (["/dev/dri"] if there else None)


def test_the_exporters_container_is_scraped_and_passes_rotations_on() -> None:
    files = load_files(make_settings(exporters=("10.0.0.2:9808",), engines=(), exporter_image="our/xpukit:1"))
    jobs = {job["job_name"]: job for job in files["prometheus/prometheus.yml"]["scrape_configs"]}
    assert jobs["xpukit"]["static_configs"] == [{"targets": ["127.0.0.1:9808", "10.0.0.2:9808"]}]
    exporter = files["compose.yaml"]["services"]["exporter"]
    assert "--text-files=/var/lib/xpukit/metrics" in exporter["command"]
    assert exporter["volumes"] == ["/var/lib/xpukit/metrics:/var/lib/xpukit/metrics:ro"]
    alone = load_files(make_settings(exporters=("10.0.0.2:9808",), engines=()))["prometheus/prometheus.yml"]
    assert alone["scrape_configs"][0]["static_configs"] == [{"targets": ["10.0.0.2:9808"]}]


def test_prometheus_scrapes_what_was_named() -> None:
    settings = make(engines=("vllm=10.0.0.1:8000", "sglang=10.0.0.2:30000", "vllm=10.0.0.3:8000"))
    jobs = {job["job_name"]: job for job in load_files(settings)["prometheus/prometheus.yml"]["scrape_configs"]}
    assert jobs["xpukit"]["static_configs"] == [{"targets": ["127.0.0.1:9808"]}]
    assert jobs["engine"]["static_configs"] == [
        {"targets": ["10.0.0.2:30000"], "labels": {"engine": "sglang"}},
        {"targets": ["10.0.0.1:8000", "10.0.0.3:8000"], "labels": {"engine": "vllm"}},
    ]
    assert "engine" not in {
        job["job_name"] for job in load_files(make(engines=()))["prometheus/prometheus.yml"]["scrape_configs"]
    }


def test_engines_behind_a_balancer_are_asked_for_and_never_written_down() -> None:
    text = load_files(make(engines=(), balancers=("vllm=127.0.0.1:18000", "sglang=127.0.0.1:18100")))
    jobs = {job["job_name"]: job for job in text["prometheus/prometheus.yml"]["scrape_configs"]}
    assert [job for job in jobs if job.startswith(("balancer", "engine"))] == [
        "balancer-0",
        "engines-0",
        "balancer-1",
        "engines-1",
    ]
    assert jobs["engines-1"]["http_sd_configs"] == [{"url": "http://127.0.0.1:18100/targets"}]
    set_to = {rule["target_label"]: rule.get("replacement") for rule in jobs["engines-1"]["relabel_configs"]}
    assert set_to == {
        "server": None,
        "__metrics_path__": "/engines/$1/metrics",
        "instance": "127.0.0.1:18100/$1",
        "__address__": "127.0.0.1:18100",
        "job": "engine",
        "engine": "sglang",
        "balancer": "127.0.0.1:18100",
    }


@pytest.mark.parametrize(
    "options",
    [
        {"engines": ("10.0.0.1:8000",)},
        {"balancers": ("127.0.0.1:18000",)},
        {"balancers": ("haproxy=127.0.0.1:18000",)},
        {"engines": ("vllm=10.0.0.1",)},
        {"engines": ('vllm=a"b:1',)},
        {"engines": ("vllm=h:70000",)},
        {"engines": ("vllm=[x]:1",)},
        {"engines": ("vllm=::1:8000",)},
        {"listen": "everywhere"},
        {"grafana_port": 9090},
        {"grafana_image": "a b"},
        {"prometheus_image": "x\n  y"},
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make(**options)


def test_rules_and_dashboards_use_only_names_that_exist() -> None:
    known = {
        *load_exporter_metrics(),
        *(meaning.record for meaning in load_engine_meanings()),
        "engine:ttft_sla:seconds",
    }
    labels = {label for metric in load_exporter_metrics().values() for label in metric.labels}
    texts = [path.read_text(encoding="utf-8") for path in (data_directory() / "rules").glob("*.yml")]
    exprs = [rule["expr"] for text in texts for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    for dashboard in load_dashboards().values():
        exprs += [target.expr for row in dashboard.rows for panel in row.panels for target in panel.targets]
        exprs += [variable.query for variable in dashboard.variables]
    used = {name for expr in exprs for name in _NAME.findall(expr)} - labels
    assert used, "no names found: the pattern is wrong"
    assert used - known == set()
    told = {meaning.record for meaning in load_engine_meanings()}
    assert told <= used, "recorded and shown nowhere"


def test_alerts_know_every_reason_of_throttling() -> None:
    facts = load_exporter_sources().throttle
    text = (data_directory() / "rules" / "hardware.yml").read_text(encoding="utf-8")
    heat, power = (set(told.split("|")) for told in re.findall(r'hw_gpu_throttled\{reason=~"([^"]+)"\}', text))
    assert heat == set(facts.heat)
    assert power == {*facts.power, "unknown"}
    assert not heat & power


def test_a_target_may_be_an_ipv6_address() -> None:
    settings = make(engines=("vllm=[fd00::7]:8000",), balancers=("vllm=b:1", "vllm=b:1"))
    assert settings.engines == (("vllm", "[fd00::7]:8000"),)
    assert settings.balancers == (("vllm", "b:1"),), "once"


def test_every_alert_says_what_and_what_next() -> None:
    names = set()
    for path in (data_directory() / "rules").glob("*.yml"):
        for rule in (
            rule for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
        ):
            names.add(rule["alert"])
            assert rule["labels"]["severity"] in ("info", "warning", "critical")
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["next"]
    assert {"GpuLost", "GpuLinkNarrow", "GpuTooHot", "KvCacheFull", "QueueGrowing"} <= names
    assert {"TtftAboveSla", "EngineDown", "RotationFailed"} <= names


def test_every_alert_has_a_promtool_test(repo: Path) -> None:
    tests = "".join(
        path.read_text(encoding="utf-8") for path in (repo / "tests" / "data" / "monitor").glob("*_test.yml")
    )
    for path in (data_directory() / "rules").glob("*.yml"):
        for alert in re.findall(r"- alert: (\w+)", path.read_text(encoding="utf-8")):
            assert re.search(rf"alertname: {alert}\n\s+exp_alerts:\n", tests), f"{alert}: never fires in a test"
            if alert not in ("ExporterReadErrors",):
                assert f"alertname: {alert}, exp_alerts: []" in tests, f"{alert}: always fires in its tests"


@pytest.mark.parametrize("name", ["hardware", "engine"])
def test_dashboards_are_whole(name: str) -> None:
    document = load_files(make())[f"grafana/dashboards/{name}.json"]
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert place["x"] + place["w"] <= 24
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == DATASOURCE_UID
    asked = {word for panel in panels for t in panel.get("targets", ()) for word in re.findall(r"\$(\w+)", t["expr"])}
    assert asked <= {variable["name"] for variable in document["templating"]["list"]} | {"__rate_interval"}


def test_the_data_source_is_the_one_that_dashboards_ask() -> None:
    source = load_files(make(prometheus_port=9191))["grafana/provisioning/datasources/xpukit.yml"]["datasources"][0]
    assert (source["uid"], source["url"]) == (DATASOURCE_UID, "http://127.0.0.1:9191")


def test_the_password_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    password = write_stack(tmp_path / "a", make())
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert stat.S_IMODE(password.parent.stat().st_mode) == 0o700
    first = password.read_text(encoding="utf-8")
    assert len(first) >= 24
    assert write_stack(tmp_path / "a", make(grafana_port=3001)).read_text(encoding="utf-8") == first, "kept"
    assert write_stack(tmp_path / "b", make()).read_text(encoding="utf-8") != first, "not the same everywhere"


def make_docker(**failing: str) -> DictHost:
    class Docker(DictHost):
        def _run(self, argv: tuple[str, ...]) -> Ran:
            word = next((word for word in failing if word in argv), "")
            return Ran(argv=argv, rc=1 if word else 0, err=failing.get(word, "").encode())

        def _has_program(self, name: str) -> bool:
            return name not in failing.get("missing", "").split()

    return Docker()


def test_up_gets_images_and_starts(tmp_path: Path) -> None:
    host, said = make_docker(inspect="No such image"), []
    start_stack(host, tmp_path, make(), said.append)
    ran = [question[1:] for question in host.asked if question[0] == "run"]
    assert ("docker", "pull", "--quiet", "prom/prometheus:v3.5.0") in ran
    assert ran[-1] == ("docker", "compose", "-f", f"{tmp_path}/compose.yaml", "up", "-d")
    assert len(said) == 2


def test_up_says_which_image_is_missing_and_what_to_do(tmp_path: Path) -> None:
    host = make_docker(inspect="No such image", pull="no route to host")
    with pytest.raises(ExternalError, match="prom/prometheus") as caught:
        start_stack(host, tmp_path, make(), print)
    assert "no route to host" in caught.value.message
    assert "docker load" in caught.value.hint


def test_up_says_that_the_daemon_is_down(tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match="daemon does not answer") as caught:
        start_stack(make_docker(**{"{{.Server.Version}}": "Cannot connect"}), tmp_path, make(), print)
    assert "systemctl" in caught.value.hint


def test_compose_is_found_in_both_forms() -> None:
    assert find_compose(make_docker()) == ("docker", "compose")
    assert find_compose(make_docker(compose="no such command")) == ("docker-compose",)
    with pytest.raises(ExternalError, match="no compose"):
        find_compose(make_docker(compose="no", missing="docker-compose"))
    with pytest.raises(ExternalError, match="docker is not installed"):
        find_compose(make_docker(missing="docker"))

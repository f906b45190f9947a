"""The compose file: Prometheus, Grafana and, where it has an image, the exporter; all on the host's network."""

from __future__ import annotations

import json

from xpukit.operate.monitor.settings import MonitorSettings

PASSWORD_FILE = "secrets/grafana_admin_password"

# Where rotations leave what became of them: xpukit rotate --text-files.
_TEXT_FILES = "/var/lib/xpukit/metrics"

_SAFE = """    restart: unless-stopped
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
"""


def render_compose(settings: MonitorSettings, *, prometheus: str, grafana: str) -> str:
    """For docker compose v2 and docker-compose 1.29.

    `prometheus` and `grafana` stand for what these read when they start: where it changed, compose starts them anew.
    The host's network, so that exporters and engines on loopback are reached and nothing else is opened; who listens
    where is said to each program. The containers run as the directory's owner, who alone can read the password.
    """
    uid, gid = settings.owner
    text = f"""# Written by xpukit monitor. Start: docker compose up -d; end: docker compose down.
services:
  prometheus:
    image: {json.dumps(settings.prometheus_image)}
    network_mode: host
    user: "{uid}:{gid}"
    command:
      - --config.file=/etc/prometheus/prometheus.yml
      - --storage.tsdb.path=/prometheus
      - --storage.tsdb.retention.time={settings.retention_days}d
      # It has no users of its own: never anything but loopback.
      - --web.listen-address=127.0.0.1:{settings.prometheus_port}
    volumes:
      - ./prometheus:/etc/prometheus:ro
      - ./data/prometheus:/prometheus
    labels: {{xpukit.config: "{prometheus}"}}
{_SAFE}    tmpfs: [/tmp]
  grafana:
    image: {json.dumps(settings.grafana_image)}
    network_mode: host
    user: "{uid}:{gid}"
    depends_on: [prometheus]
    environment:
      GF_SERVER_HTTP_ADDR: "{settings.listen}"
      GF_SERVER_HTTP_PORT: "{settings.grafana_port}"
      GF_SECURITY_ADMIN_PASSWORD__FILE: /run/secrets/grafana_admin_password
      GF_USERS_ALLOW_SIGN_UP: "false"
      GF_AUTH_ANONYMOUS_ENABLED: "false"
      GF_ANALYTICS_REPORTING_ENABLED: "false"
      GF_ANALYTICS_CHECK_FOR_UPDATES: "false"
      GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES: "false"
      GF_PLUGINS_PREINSTALL_DISABLED: "true"
    secrets: [grafana_admin_password]
    volumes:
      - ./grafana/provisioning:/etc/grafana/provisioning:ro
      - ./grafana/dashboards:/etc/grafana/dashboards:ro
      - ./data/grafana:/var/lib/grafana
    labels: {{xpukit.config: "{grafana}"}}
{_SAFE}    tmpfs: [/tmp, /var/log/grafana]
"""
    if settings.exporter_image:
        text += _render_exporter(settings)
    return text + f"secrets:\n  grafana_admin_password:\n    file: ./{PASSWORD_FILE}\n"


def _render_exporter(settings: MonitorSettings) -> str:
    """With the host's processes, or use by process could not be seen, and rights to look into them.

    Docker's own AppArmor profile allows a look at processes of the same profile only.
    """
    nodes = "    devices: [/dev/dri]\n" if settings.render_nodes else ""
    return f"""  exporter:
    image: {json.dumps(settings.exporter_image)}
    network_mode: host
    pid: host
    user: "0:0"
    command:
      - xpukit
      - exporter
      - --listen=127.0.0.1
      - --port={settings.exporter_port}
      - --text-files={_TEXT_FILES}
    restart: unless-stopped
    read_only: true
    cap_drop: [ALL]
    cap_add: [SYS_PTRACE, DAC_READ_SEARCH]
{nodes}    security_opt: ["no-new-privileges:true", "apparmor:unconfined"]
    volumes: ["{_TEXT_FILES}:{_TEXT_FILES}:ro"]
    tmpfs: [/tmp]
"""

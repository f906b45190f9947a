"""Dashboards: described in data/dashboards/*.toml, rendered as Grafana reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import msgspec

from xpukit.core.errors import BadFactsError
from xpukit.core.toml import load_toml

DATASOURCE_UID = "xpukit-prometheus"
# Grafana 10 and later read this version of the format and convert it themselves to their own.
_SCHEMA_VERSION = 39
_COLUMNS, _WIDTH, _HEIGHT = 3, 8, 8


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A query. `may_be_empty`: it shows only what is wrong, so that a healthy machine has no series."""

    expr: str
    legend: str
    may_be_empty: bool = False


class Panel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A panel; above `bad_above` a stat turns red."""

    title: str
    targets: tuple[Target, ...]
    kind: Literal["timeseries", "stat"] = "timeseries"
    unit: str = "short"
    description: str = ""
    bad_above: float | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


class Variable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something to choose at the dashboard's top."""

    name: str
    label: str
    query: str


class Dashboard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file."""

    title: str
    uid: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()


def data_directory() -> Path:
    """Our rules and dashboards."""
    return Path(__file__).resolve().parent / "data"


def load_dashboards() -> dict[str, Dashboard]:
    """All dashboards by file name without ending. Raises BadFactsError when the installation is damaged."""
    found = {}
    for path in sorted((data_directory() / "dashboards").glob("*.toml")):
        try:
            found[path.stem] = msgspec.convert(load_toml(path), Dashboard)
        except msgspec.ValidationError as err:
            raise BadFactsError(f"{path}: {err}", hint="install xpukit again") from err
    return found


def render_dashboard(dashboard: Dashboard) -> str:
    """The JSON that Grafana's file provider loads."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in dashboard.rows:
        panels.append(_place(len(panels) + 1, {"type": "row", "title": row.title, "collapsed": False}, 0, top, 24, 1))
        top += 1
        for number, panel in enumerate(row.panels):
            column = number % _COLUMNS
            y = top + number // _COLUMNS * _HEIGHT
            panels.append(_place(len(panels) + 1, _render_panel(panel), column * _WIDTH, y, _WIDTH, _HEIGHT))
        top += (len(row.panels) + _COLUMNS - 1) // _COLUMNS * _HEIGHT
    document = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["xpukit"],
        "schemaVersion": _SCHEMA_VERSION,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_render_variable(variable) for variable in dashboard.variables]},
        "annotations": {"list": []},
        "panels": panels,
    }
    return json.dumps(document, indent=1) + "\n"


def _place(identity: int, panel: dict[str, Any], x: int, y: int, width: int, height: int) -> dict[str, Any]:
    return {"id": identity, **panel, "gridPos": {"x": x, "y": y, "w": width, "h": height}}


def _datasource() -> dict[str, str]:
    return {"type": "prometheus", "uid": DATASOURCE_UID}


def _render_panel(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.bad_above is not None:
        steps.append({"color": "red", "value": panel.bad_above + 1})
    options: dict[str, Any] = (
        {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
        if panel.kind == "stat"
        else {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}}
    )
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _datasource(),
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": _datasource(), "expr": target.expr}
            | {"legendFormat": target.legend, "range": True}
            for number, target in enumerate(panel.targets)
        ],
    }


def _render_variable(variable: Variable) -> dict[str, Any]:
    return {
        "name": variable.name,
        "label": variable.label,
        "type": "query",
        "datasource": _datasource(),
        "query": {"query": variable.query, "refId": variable.name},
        "definition": variable.query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }

"""P2P or USM for oneCCL, from what the last evaluation of this host found out (finding XPK-CCL-MODE)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from xpukit.core.machine import Machine

VARIABLE = "CCL_TOPO_P2P_ACCESS"
MODE_ID = "XPK-CCL-MODE"
WRONG_ID = "XPK-CCL-WRONG-DATA"
_LINE = re.compile(rf"\b{VARIABLE}=([01])\b")
_NAMES: dict[str, Literal["p2p", "usm"]] = {"1": "p2p", "0": "usm"}
_MEASURE = "xpukit evaluate --only collectives"


class CclMode(msgspec.Struct, frozen=True, kw_only=True):
    """`mode` "": leave oneCCL's choice alone; `environment` is then empty. `measured`: an evaluation says so.

    `source` is the evaluation's time and suite; `reasons` say why, and what to do where nothing was measured.
    """

    mode: Literal["p2p", "usm", ""]
    environment: dict[str, str]
    measured: bool
    source: str
    reasons: tuple[str, ...]


def read_ccl_mode(results: Mapping[str, Any] | None, machine: Machine, *, ranks: int = 2) -> CclMode:
    """The mode by a results document (`xpukit.evaluate/1`, the run directory's results.json), None when there is none.

    `ranks`: how many GPUs a launch uses together; one exchanges nothing. A document of other GPUs is not believed, one
    that is damaged says nothing. Never raises for what the document holds.
    """
    if ranks < 2:
        return _leave("one rank exchanges nothing: no oneCCL mode is needed")
    if results is None:
        return _leave(f"{VARIABLE} left as it is: no evaluation of this host was given ({_MEASURE})")
    source = _name_source(results)
    strangers = _find_strangers(results, machine)
    if strangers:
        return _leave(f"{VARIABLE} left as it is: the evaluation {source} is of other GPUs ({strangers})")
    for wanted in (WRONG_ID, MODE_ID):
        for finding in _list_findings(results):
            if finding.get("id") != wanted:
                continue
            value = _read_value(finding.get("remedy"))
            summary = str(finding.get("summary") or "")
            if value:
                return CclMode(
                    mode=_NAMES[value],
                    environment={VARIABLE: value},
                    measured=True,
                    source=source,
                    reasons=(f"{VARIABLE}={value}: {_shorten(summary, value)} (evaluation {source})",),
                )
            return _leave(f"{VARIABLE} left as it is: {summary} (evaluation {source})", source=source, measured=True)
    return _leave(f"{VARIABLE} left as it is: the evaluation {source} compared no modes ({_MEASURE})", source=source)


def _leave(reason: str, *, source: str = "", measured: bool = False) -> CclMode:
    return CclMode(mode="", environment={}, measured=measured, source=source, reasons=(reason,))


def _shorten(summary: str, value: str) -> str:
    """The finding's own words without the setting, which stands before them already."""
    return summary.removeprefix(f"use {VARIABLE}={value}: ")


def _list_findings(results: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    findings = results.get("findings")
    return [one for one in findings if isinstance(one, Mapping)] if isinstance(findings, list | tuple) else []


def _read_value(remedy: object) -> str:
    lines = remedy if isinstance(remedy, list | tuple) else ()
    found = [match[1] for line in lines if isinstance(line, str) and (match := _LINE.search(line))]
    return found[0] if found else ""


def _name_source(results: Mapping[str, Any]) -> str:
    when = str(results.get("started") or results.get("created") or "")
    suite = str(results.get("suite") or "")
    return (
        " ".join(part for part in (f"of {when}" if when else "", f"(suite {suite})" if suite else "") if part)
        or "given"
    )


def _find_strangers(results: Mapping[str, Any], machine: Machine) -> str:
    """Measured GPUs that this machine does not have, or has as another kind; "" when all are its own."""
    devices = results.get("devices")
    here = {device.bdf.lower(): device.device_id.lower().removeprefix("0x") for device in machine.devices}
    strangers = []
    for one in devices if isinstance(devices, list | tuple) else ():
        bdf = str(one.get("bdf") or "").lower() if isinstance(one, Mapping) else ""
        device_id = str(one.get("device_id") or "").lower().removeprefix("0x") if bdf else ""
        if bdf and (bdf not in here or (device_id and here[bdf] and device_id != here[bdf])):
            strangers.append(bdf)
    return ", ".join(strangers)

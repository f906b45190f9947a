"""IOMMU group and mode, Access Control Services of the bridges above, and PCIe error counters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xpukit.core.machine import AcsPort, Iommu, Unread
from xpukit.host.door import Host
from xpukit.probe.config_space import ACS_REDIRECTS, is_whole, read_acs
from xpukit.probe.pci import index_functions
from xpukit.probe.question import PciFunction, Question
from xpukit.probe.sysfs import explain_unread, is_absent, parse_int, read_text

_AER_KINDS = ("correctable", "nonfatal", "fatal")
_AER_LINE = re.compile(r"([A-Za-z][\w/ .-]*?)\s+(\d+)")


def read_protection(host: Host, function: PciFunction, so_far: Mapping[str, Any]) -> dict[str, Any]:
    """IOMMU, ACS and AER together: what stands between this GPU and its peers."""
    known = index_functions(so_far)
    ports = [known[bdf] for bdf in function.path if bdf in known]
    acs, unread = _read_acs_ports(host, ports)
    aer, aer_unread = _read_counters(host, [*ports, function])
    unread += aer_unread
    found: dict[str, Any] = {
        "iommu": _read_group(host, function),
        "acs": acs,
        "aer": aer,
        "sources": {"iommu": f"{function.sys_path}/iommu_group", "acs": "config space", "aer": "aer_dev_*"},
    }
    return found | ({"unread": unread} if unread else {})


def _read_group(host: Host, function: PciFunction) -> Iommu:
    link = host.link(f"{function.sys_path}/iommu_group")
    if link.error:
        return Iommu(mode="off" if is_absent(link.error) else "")
    number = parse_int(link.target.rpartition("/")[2])
    if number is None:
        return Iommu()
    directory = f"/sys/kernel/iommu_groups/{number}"
    return Iommu(
        group=number,
        mode=read_text(host, f"{directory}/type") or "",
        group_members=host.list(f"{directory}/devices").names,
    )


def _read_acs_ports(host: Host, ports: list[PciFunction]) -> tuple[tuple[AcsPort, ...], tuple[Unread, ...]]:
    found = []
    cut = []
    for port in ports:
        config = host.read(f"{port.sys_path}/config")
        if not is_whole(config.data):
            cut.append(port.bdf)
            continue
        acs = read_acs(config.data)
        if acs is not None:
            redirects = bool(ACS_REDIRECTS & set(acs.enabled))
            found.append(AcsPort(bdf=port.bdf, capable=acs.capable, enabled=acs.enabled, redirects=redirects))
    if not cut:
        return tuple(found), ()
    why = "only the first 64 bytes of config space may be read"
    return tuple(found), (Unread(what=f"ACS of {', '.join(cut)}", why=why, remedy="run as root"),)


def parse_counters(text: str) -> dict[str, int]:
    """An `aer_dev_*` file: a name and a number on each line, with a TOTAL_… line at the end."""
    counters = {}
    for line in text.splitlines():
        match = _AER_LINE.fullmatch(line.strip())
        if match:
            counters[match[1]] = int(match[2])
    return counters


def total_counters(counters: Mapping[str, int]) -> int:
    """The file's own total, else the sum of its lines."""
    totals = [count for name, count in counters.items() if name.startswith("TOTAL")]
    return totals[0] if totals else sum(counters.values())


def _read_counters(host: Host, ports: list[PciFunction]) -> tuple[dict[str, int], tuple[Unread, ...]]:
    """Totals by kind over all ports from root to GPU, and each non-zero counter as 'BDF/kind/name'."""
    sums: dict[str, int] = {}
    details: dict[str, int] = {}
    unread: tuple[Unread, ...] = ()
    for port in ports:
        for kind in _AER_KINDS:
            path = f"{port.sys_path}/aer_dev_{kind}"
            answer = host.read(path)
            if not answer.ok:
                unread += explain_unread(path, answer)
                continue
            counters = parse_counters(answer.text)
            sums[kind] = sums.get(kind, 0) + total_counters(counters)
            details |= {
                f"{port.bdf}/{kind}/{name}": count
                for name, count in counters.items()
                if count and not name.startswith("TOTAL")
            }
    return sums | details, unread


QUESTION = Question(
    name="iommu",
    scope="device",
    order=60,
    summary="IOMMU group and mode, ACS of the bridges above, PCIe error counters",
    read_device=read_protection,
)

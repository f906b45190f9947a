"""What moves from one moment to the next: clocks, throttling, sensors, and who else uses a GPU."""

from __future__ import annotations

import re
from typing import Any

from xpukit.host.asked_once import AskedOnceHost
from xpukit.host.door import Host
from xpukit.probe.clocks import read_clocks
from xpukit.probe.pci import list_functions
from xpukit.probe.pcie_link import read_link
from xpukit.probe.sensors import read_sensors

_PDEV = re.compile(r"^drm-pdev:\s*([0-9a-f:.]+)\s*$", re.M)


def read_device_state(host: Host, *, users: bool = True) -> dict[str, dict[str, Any]]:
    """By BDF: clocks in MHz, throttle reasons, sensor values in their units, the link as it is at this moment (a card
    that does nothing may run its link slower), and with `users` the processes that hold the GPU open.
    """
    moment = AskedOnceHost(host)
    listing = list_functions(moment)
    functions = listing.intel_gpus
    clients = list_gpu_users(moment) if functions and users else {}
    states: dict[str, dict[str, Any]] = {}
    for function in functions:
        state: dict[str, Any] = {}
        for gt in read_clocks(moment, function, {}).get("gts", ()):
            name = f"tile{gt.tile}/gt{gt.gt}"
            if gt.actual_mhz is not None:
                state[f"{name} actual_mhz"] = gt.actual_mhz
            if gt.current_mhz is not None:
                state[f"{name} requested_mhz"] = gt.current_mhz
            state[f"{name} throttled_by"] = list(gt.throttle_reasons)
        for sensor in read_sensors(moment, function, {}).get("sensors", ()):
            state[f"{sensor.name} [{sensor.unit}]"] = sensor.value
        link = read_link(moment, function, {"functions": listing.functions}).get("link")
        if link is not None and link.current_speed_gts is not None:
            state["link"] = f"{link.current_speed_gts:g} GT/s x{link.current_width}"
        if users:
            state["used_by"] = clients.get(function.bdf, [])
        states[function.bdf] = state
    return states


def list_gpu_users(host: Host) -> dict[str, list[str]]:
    """BDF -> 'name (pid)' of processes with a DRM client there, from /proc/<pid>/fdinfo (drm-usage-stats).

    Processes of other users are visible to root only.
    """
    users: dict[str, set[str]] = {}
    for process in host.processes().processes:
        for descriptor in host.list(f"/proc/{process.pid}/fd").names:
            if not host.link(f"/proc/{process.pid}/fd/{descriptor}").target.startswith("/dev/dri/"):
                continue
            match = _PDEV.search(host.read(f"/proc/{process.pid}/fdinfo/{descriptor}").text)
            if match:
                users.setdefault(match[1], set()).add(f"{process.name} ({process.pid})")
    return {bdf: sorted(names) for bdf, names in users.items()}

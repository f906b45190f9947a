"""PCI memory windows: sizes, whether they can be resized, and a window smaller than the card's memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xpukit.core.finding import Evidence, Finding
from xpukit.core.machine import Bar
from xpukit.core.units import MIB, format_bytes
from xpukit.facts.devices import lookup_device
from xpukit.host.door import Host
from xpukit.probe.config_space import ResizableBar, read_resizable_bars
from xpukit.probe.question import PciFunction, Question
from xpukit.probe.sysfs import explain_unread, read_text

# Kernel resource flags (include/linux/ioport.h).
_MEMORY = 0x200
_PREFETCH = 0x2000
_MEMORY_64 = 0x100000
_BARS = 6
_RESIZE = re.compile(r"resource([0-5])_resize")


def parse_resources(text: str) -> tuple[Bar, ...]:
    """The memory windows in a sysfs `resource` file: lines 'start end flags', the first six are BARs 0 to 5."""
    bars = []
    for index, line in enumerate(text.splitlines()[:_BARS]):
        words = line.split()
        try:
            start, end, flags = (int(word, 16) for word in words)
        except ValueError:
            continue
        if not flags & _MEMORY or end <= start or start < 0:
            continue
        bars.append(
            Bar(
                index=index,
                size_bytes=end - start + 1,
                prefetchable=bool(flags & _PREFETCH),
                is_64bit=bool(flags & _MEMORY_64),
            )
        )
    return tuple(bars)


def parse_sizes(text: str) -> tuple[int, ...]:
    """Sizes in a `resourceN_resize` file: a hexadecimal mask in which bit n offers 2**n MiB."""
    try:
        mask = int(text.strip(), 16)
    except ValueError:
        return ()
    return tuple(MIB << bit for bit in range(min(mask.bit_length(), 44)) if mask >> bit & 1) if mask > 0 else ()


def read_bars(host: Host, function: PciFunction, so_far: Mapping[str, Any]) -> dict[str, Any]:
    """All memory windows; `bar_bytes` is the one that shows the card's memory (the largest prefetchable one)."""
    path = f"{function.sys_path}/resource"
    answer = host.read(path)
    if not answer.ok:
        return {"unread": explain_unread(path, answer)}
    bars = parse_resources(answer.text)
    offered = _read_offered(host, function)
    if offered is not None:
        bars = tuple(_add_sizes(bar, offered.get(bar.index, ())) for bar in bars)
    windows = [bar for bar in bars if bar.prefetchable]
    memory_bar = max(windows, key=lambda bar: (bar.size_bytes, -bar.index), default=None)
    found: dict[str, Any] = {"bars": bars, "sources": {"bars": path}}
    if memory_bar is None:
        return found
    found["bar_bytes"] = memory_bar.size_bytes
    facts = lookup_device(function.vendor_id, function.device_id)
    discrete = facts.discrete if facts else None
    if discrete is not False and not so_far.get("virtual_function"):
        wanted = facts.memory_bytes if facts else None
        small = is_small(memory_bar, wanted)
        found["extra"] = {"small_bar": small}
        if small:
            found["findings"] = (_report_small(function, memory_bar, wanted),)
    return found


def is_small(bar: Bar, memory_bytes: int | None) -> bool | None:
    """Whether the processor sees only a part of the card's memory; None when nothing tells.

    By the memory size where it is known, else a window of 256 MiB, the size before any resizing.
    """
    if memory_bytes is not None:
        return bar.size_bytes < memory_bytes // 2
    if bar.possible_bytes:
        return bar.size_bytes <= 256 * MIB and max(bar.possible_bytes) > bar.size_bytes
    return True if bar.size_bytes <= 256 * MIB else None


def _read_offered(host: Host, function: PciFunction) -> dict[int, tuple[int, ...]] | None:
    """Sizes by BAR from the kernel's resize files, else from config space; None when neither could be read."""
    listing = host.list(function.sys_path)
    files = [match for match in map(_RESIZE.fullmatch, listing.names) if match]
    if files:
        return {int(match[1]): parse_sizes(read_text(host, f"{function.sys_path}/{match[0]}") or "") for match in files}
    config = host.read(f"{function.sys_path}/config")
    if len(config.data) <= 256:
        return None
    resizable: tuple[ResizableBar, ...] = read_resizable_bars(config.data)
    return {bar.index: bar.possible_bytes for bar in resizable}


def _add_sizes(bar: Bar, sizes: tuple[int, ...]) -> Bar:
    return Bar(
        index=bar.index,
        size_bytes=bar.size_bytes,
        prefetchable=bar.prefetchable,
        is_64bit=bar.is_64bit,
        resizable=len(sizes) > 1,
        possible_bytes=sizes,
    )


def _report_small(function: PciFunction, bar: Bar, memory_bytes: int | None) -> Finding:
    size = format_bytes(bar.size_bytes)
    whole = f" of {format_bytes(memory_bytes)}" if memory_bytes else ""
    evidence = [Evidence(source=f"{function.sys_path}/resource (BAR {bar.index})", value=size)]
    if bar.possible_bytes:
        evidence.append(
            Evidence(
                source=f"resource{bar.index}_resize", value=f"offers up to {format_bytes(max(bar.possible_bytes))}"
            )
        )
    return Finding(
        id="XPK-PROBE-BAR-SMALL",
        severity="warning",
        summary=f"the processor sees only {size}{whole} of the memory of {function.bdf}: slow copies, limited P2P",
        evidence=tuple(evidence),
        remedy=(
            "switch on 'Above 4G Decoding' and 'Resizable BAR' (or 'Smart Access Memory') in the BIOS, CSM off",
            "a kernel argument pci=realloc may help where the BIOS offers no such setting",
        ),
        subject=function.bdf,
    )


QUESTION = Question(name="bar", scope="device", order=50, summary="BAR sizes and resizable BAR", read_device=read_bars)

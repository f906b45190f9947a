"""Machines that hypothesis makes up: 1 to 16 GPUs, 1 to 8 NUMA nodes, tiles, and what is odd about real ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from xpukit.core.machine import CpuLayout, Device, Link, Machine, NumaNode
from xpukit.core.units import format_cpu_list, parse_cpu_list
from xpukit.probe.topology import join_topology

GIB = 1 << 30


@st.composite
def make_machines(draw: st.DrawFn) -> Machine:
    nodes, cpu = draw(make_nodes())
    devices = draw(make_devices(len(nodes)))
    return Machine(
        devices=devices,
        cpu=cpu,
        numa=nodes,
        topology=join_topology(devices, (), nodes),
        level_zero={"status": "ok", "devices": [{"bdf": device.bdf} for device in devices]}
        if any(device.level_zero_index is not None for device in devices)
        else {},
    )


@st.composite
def make_nodes(draw: st.DrawFn) -> tuple[tuple[NumaNode, ...], CpuLayout]:
    count = draw(st.integers(1, 8))
    threads = draw(st.sampled_from((1, 2)))
    cores = [draw(st.integers(0, 6)) for _ in range(count)]
    if not any(cores):
        cores[0] = 1
    total = sum(cores)
    # As on Intel machines: first one thread of every core of the machine, then the second ones.
    first, siblings, lists = 0, [], []
    for number in cores:
        mine = list(range(first, first + number))
        first += number
        lists.append(mine + ([cpu + total for cpu in mine] if threads == 2 else []))
        siblings += [f"{cpu},{cpu + total}" if threads == 2 else str(cpu) for cpu in mine]
    online = list(range(total * threads))
    allowed = online
    if draw(st.booleans()):
        allowed = sorted(draw(st.sets(st.sampled_from(online), min_size=1)))
    sockets = [number * draw(st.integers(1, 2)) // count for number in range(count)]
    with_distances = draw(st.booleans())
    nodes = tuple(
        NumaNode(
            node=number,
            cpus=format_cpu_list(lists[number]),
            memory_bytes=draw(st.sampled_from((0, 64 * GIB, 64 * GIB, None))),
            distances=tuple(10 if other == number else draw(st.sampled_from((12, 21, 31))) for other in range(count))
            if with_distances
            else (),
            allowed_cpus=format_cpu_list(sorted(set(lists[number]) & set(allowed))),
            memory_allowed=draw(st.sampled_from((True, True, False, None))),
            socket=sockets[number],
        )
        for number in range(count)
    )
    cpu = CpuLayout(
        online=format_cpu_list(online),
        allowed=format_cpu_list(allowed),
        siblings=tuple(siblings),
        threads_per_core=threads,
    )
    return nodes, cpu


@st.composite
def make_devices(draw: st.DrawFn, nodes: int) -> tuple[Device, ...]:
    count = draw(st.integers(1, 16))
    answered = draw(st.booleans())
    order = draw(st.permutations(range(count)))
    tiles = [draw(st.sampled_from((1, 1, 2))) for _ in range(count)]
    flat: dict[int, list[int]] = {}
    position = 0
    for index in order:
        flat[index] = list(range(position, position + tiles[index]))
        position += tiles[index]
    devices = []
    for index in range(count):
        bus = 0x10 + 8 * index
        node = draw(st.sampled_from((None, *range(nodes), *range(nodes))))
        # Behind a switch of four, in a slot of its own, or (integrated graphics) on the root bus.
        integrated = draw(st.integers(0, 9)) == 0
        switched = draw(st.booleans())
        group = index // 4
        path: tuple[str, ...] = (f"0000:{bus:02x}:01.0",)
        if integrated:
            path = ()
        elif switched:
            upstream = f"{0x11 + 0x20 * group:02x}"
            path = (
                f"0000:{0x10 + 0x20 * group:02x}:01.0",
                f"0000:{upstream}:00.0",
                f"0000:{upstream}:{index % 4:02x}.1",
            )
        extra: dict[str, Any] = {"level_zero": {"driver_index": 0, "masks_flat": flat[index]}} if answered else {}
        devices.append(
            Device(
                index=index,
                bdf=f"0000:{bus + 1:02x}:00.0",
                vendor_id="8086",
                device_id="0bd5" if tiles[index] > 1 else "e211",
                name="GPU",
                known=True,
                discrete=not integrated,
                driver="xe",
                render_node=f"/dev/dri/renderD{128 + index}",
                numa_node=node,
                tiles=tiles[index],
                level_zero_index=order.index(index) if answered else None,
                memory_bytes=draw(st.sampled_from((None, 24 * GIB, 48 * GIB))),
                link=Link(read_at=f"0000:{bus + 1:02x}:00.0", current_gbps=draw(st.sampled_from((None, 7.9, 31.5)))),
                path=path,
                extra=extra,
            )
        )
    return tuple(devices)


def read_cpus(text: str) -> set[int]:
    """A CPU list as a set."""
    return set(parse_cpu_list(text))


def list_as_level_zero(
    machine: Machine, *, flat: bool, visible: set[int] | None = None
) -> list[tuple[int, int | None]]:
    """What a driver would list, written from its specification: (Device.index, tile), in its order.

    By its own order where the machine has one, else by PCI address, as ZE_ENABLE_PCI_ID_DEVICE_ORDER=1 makes it.
    """
    seen = [device for device in machine.devices if visible is None or device.index in visible]
    seen.sort(key=lambda device: (device.level_zero_index is None, device.level_zero_index or 0, device.bdf))
    listed: list[tuple[int, int | None]] = []
    for device in seen:
        tiles = device.tiles or 1
        listed += (
            [(device.index, tile if tiles > 1 else None) for tile in range(tiles)] if flat else [(device.index, None)]
        )
    return listed

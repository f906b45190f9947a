"""The variable that shows a process its GPUs: ZE_AFFINITY_MASK, in the numbers that Level Zero uses.

Level Zero numbers what it lists, in its own order, which is neither probe's nor PCI's. The order of the entries has no
effect; sorted, they are in the order of the ranks. (Level Zero specification, programming guide, "Affinity Mask".)
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xpukit.serve.devices import NVIDIA, DevicePool, Unit

PCI_ORDER = "ZE_ENABLE_PCI_ID_DEVICE_ORDER"
HIERARCHY = "ZE_FLAT_DEVICE_HIERARCHY"


class AffinityMask(msgspec.Struct, frozen=True, kw_only=True):
    """`environment` is all that has to be set, in order; `variable` and `value` are the mask itself.

    `value` "": none is needed, because the process sees nothing else. `everything`: it names all that there is, so that
    it could be left out as well. `guess`: Level Zero was not asked, and the numbers are by PCI address, which PCI_ORDER
    makes true. `visible`: the GPUs (`Device.index`) that the numbers count among, None for all of the machine.
    """

    variable: str
    value: str
    environment: dict[str, str]
    guess: bool
    reasons: tuple[str, ...]
    everything: bool = False
    visible: tuple[int, ...] | None = None


def make_mask(pool: DevicePool, units: Sequence[Unit], *, visible: Sequence[int] | None = None) -> AffinityMask:
    """The mask for these units. `visible`: the only GPUs whose device nodes the process gets (a container's); the
    numbers count among them, in Level Zero's order. By default all GPUs of the machine."""
    if pool.vendor == NVIDIA:
        return _make_cuda(pool, units)
    entries = _list_entries(pool, units, visible)
    value = ",".join(entries)
    total = sum(count for index, count in pool.counted.items() if visible is None or index in visible)
    everything = len(entries) == total and not any("." in entry for entry in entries)
    environment: dict[str, str] = {}
    reasons = []
    if pool.tiled:
        environment[HIERARCHY] = pool.hierarchy
    if not pool.order_known:
        environment[PCI_ORDER] = "1"
        reasons.append(
            f"guess: Level Zero did not say how it counts; by PCI address, which {PCI_ORDER}=1 asks it to do"
        )
    if visible is not None and everything:
        value = ""
        reasons.append("no mask: the process is given these GPUs only")
    else:
        environment["ZE_AFFINITY_MASK"] = value
        counted = f"the {total} that the process sees" if visible is not None else "all GPUs of the machine"
        reasons.append(f"ZE_AFFINITY_MASK={value}: {_describe(units)}, as Level Zero counts {counted}")
    return AffinityMask(
        variable="ZE_AFFINITY_MASK",
        value=value,
        environment=environment,
        guess=not pool.order_known,
        reasons=tuple(reasons),
        everything=everything,
        visible=None if visible is None else tuple(visible),
    )


def _list_entries(pool: DevicePool, units: Sequence[Unit], visible: Sequence[int] | None) -> list[str]:
    """The entries in Level Zero's order."""
    ordered = sorted(units, key=lambda unit: unit.order)
    if visible is None:
        return [unit.mask for unit in ordered]
    starts: dict[int, int] = {}
    position = 0
    for index, count in pool.counted.items():
        if index in visible:
            starts[index] = position
            position += count
    if pool.hierarchy == "COMPOSITE":
        return [f"{starts[unit.device]}" + ("" if unit.tile is None else f".{unit.tile}") for unit in ordered]
    return [str(starts[unit.device] + (unit.tile or 0)) for unit in ordered]


def _make_cuda(pool: DevicePool, units: Sequence[Unit]) -> AffinityMask:
    value = ",".join(unit.mask for unit in units)
    return AffinityMask(
        variable="CUDA_VISIBLE_DEVICES",
        value=value,
        environment={"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": value},
        guess=False,
        reasons=(f"CUDA_VISIBLE_DEVICES={value}: {_describe(units)}, by PCI address",),
        everything=len(units) == sum(pool.counted.values()),
    )


def _describe(units: Sequence[Unit]) -> str:
    return ", ".join(f"{unit.label} ({unit.bdf})" for unit in units)

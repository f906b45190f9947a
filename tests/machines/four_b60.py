"""Four B60 as each source lists them; every order differs, as on a server with a BMC as card0."""

from __future__ import annotations

from xpukit.core.machine import Device
from xpukit.host.level_zero.snapshot import LevelZeroAnswer, LevelZeroDevice, LevelZeroDriver, Peer

NAME = "Intel(R) Arc(TM) Pro B60 Graphics"
BDFS = ("0000:18:00.0", "0000:3b:00.0", "0000:8a:00.0", "0000:c1:00.0")
# Level Zero sorts otherwise than PCI does.
LEVEL_ZERO_ORDER = (2, 0, 3, 1)
MEMORY_BYTES = 24480 << 20
DRIVER_VERSION = 17012470


def make_uuid(bdf: str, *, device_id: int = 0xE211) -> str:
    """The UUID that Intel's driver gives, in memory order."""
    raw = bytes((0x86, 0x80, device_id & 0xFF, device_id >> 8, 0, 0, 0, 0, int(bdf[5:7], 16), 0, 0, 0, 0, 0, 0, 0))
    return raw.hex()


def make_devices(count: int = 4) -> tuple[Device, ...]:
    """What the device questions know before any tool was asked; card0 is the BMC."""
    return tuple(
        Device(
            index=index,
            bdf=bdf,
            vendor_id="8086",
            device_id="e211",
            name="Intel Arc Pro B60",
            known=True,
            discrete=True,
            driver="xe",
            card_node=f"/dev/dri/card{index + 1}",
            card_index=index + 1,
            render_node=f"/dev/dri/renderD{128 + index}",
            tiles=1,
            sources={"tiles": "xpukit device table"},
            numa_node=index // 2,
            numa_rule="device",
        )
        for index, bdf in enumerate(BDFS[:count])
    )


def make_level_zero_device(bdf: str, index: int | None, **changes: object) -> LevelZeroDevice:
    fields: dict[str, object] = {
        "driver_index": 0,
        "index": index,
        "mask_composite": None if index is None else str(index),
        "masks_flat": () if index is None else (index,),
        "type": "gpu",
        "name": NAME,
        "vendor_id": 0x8086,
        "device_id": 0xE211,
        "uuid": make_uuid(bdf),
        "bdf": bdf,
        "memory_bytes": MEMORY_BYTES,
        **changes,
    }
    return LevelZeroDevice(**fields)  # type: ignore[arg-type]


def make_answer(**changes: object) -> LevelZeroAnswer:
    """The loader's answer for the four cards, in its own order, with all peers."""
    devices = tuple(make_level_zero_device(BDFS[place], index) for index, place in enumerate(LEVEL_ZERO_ORDER))
    peers = tuple(
        Peer(driver_index=0, src=str(a), dst=str(b), can_access=True, access_flags=("access",), atomics=False)
        for a in range(4)
        for b in range(4)
        if a != b
    )
    fields: dict[str, object] = {
        "status": "ok",
        "loader_version": "1.24.0",
        "loader_path": "/usr/lib/x86_64-linux-gnu/libze_loader.so.1.24.0",
        "sysman_mode": "zesInit",
        "drivers": (LevelZeroDriver(index=0, api_version="1.14", driver_version=DRIVER_VERSION),),
        "devices": devices,
        "peers": peers,
        **changes,
    }
    return LevelZeroAnswer(**fields)  # type: ignore[arg-type]

"""GPUs that are slowed down by power or heat at this moment, and cards that may fall into deep sleep."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.core.machine import Device
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.hardware import SYS, list_serving_cards

# The kernel's names: power limits 1, 2 and 4. All other reasons are heat or the voltage regulator.
_POWER = ("pl1", "pl2", "pl4")
_DOCS = "https://docs.kernel.org/gpu/xe/index.html"


def look_at_power(patient: Patient) -> Iterable[Finding | Unchecked]:
    """By device."""
    for device in list_serving_cards(patient):
        yield from _find_throttling(device)
        yield from _find_deep_sleep(patient, device)


def _find_throttling(device: Device) -> Iterable[Finding]:
    reasons = {reason for gt in device.gts for reason in gt.throttle_reasons}
    if not reasons:
        return
    hot = sorted(reason for reason in reasons if not reason.startswith(_POWER))
    evidence = tuple(
        Evidence(
            source=f"throttle reasons of tile{gt.tile}/gt{gt.gt}",
            value=", ".join(gt.throttle_reasons)
            + (f" at {gt.actual_mhz:g} of {gt.max_mhz:g} MHz" if gt.actual_mhz and gt.max_mhz else ""),
        )
        for gt in device.gts
        if gt.throttle_reasons
    )
    sensors = tuple(
        Evidence(source=sensor.source, value=f"{sensor.name} {sensor.value:g} {sensor.unit}")
        for sensor in device.sensors
        if "temp" in sensor.source.rpartition("/")[2]
    )
    if hot:
        yield Finding(
            id="XPK-GPU-THROTTLED-BY-HEAT",
            severity="warning",
            summary=f"{device.bdf} is slowed down now by heat or its voltage regulator ({', '.join(hot)})",
            evidence=evidence + sensors,
            explanation="the GPU lowers its clock to protect itself: tokens per second fall and vary from minute to "
            "minute, and one slow GPU holds up its whole tensor-parallel group.",
            concerns="discrete GPUs",
            remedy=(
                "check fans, dust and the air between cards that sit side by side; in a server set the fans to a "
                "profile for PCIe cards",
                "watch it: xpukit evaluate samples clocks, heat and reasons during each test",
            ),
            links=(_DOCS,),
            subject=device.bdf,
        )
    else:
        yield Finding(
            id="XPK-GPU-AT-POWER-LIMIT",
            severity="info",
            summary=f"{device.bdf} runs at its power limit now ({', '.join(sorted(reasons))})",
            evidence=evidence,
            explanation="usual under full load: the clock is what the power limit allows. While nothing runs, or on "
            "one card of several alike, it is not.",
            concerns="discrete GPUs",
            remedy=(
                "see who uses the GPU: sudo fuser -v /dev/dri/renderD*",
                f"compare the limits of the cards: grep . {SYS}/{device.bdf}/hwmon/hwmon*/power*_max",
            ),
            commands=(f"grep . {SYS}/{device.bdf}/hwmon/hwmon*/power*_max",),
            links=(_DOCS,),
            subject=device.bdf,
        )


def _find_deep_sleep(patient: Patient, device: Device) -> Iterable[Finding]:
    """D3cold on Battlemage: newer kernels keep it off by a threshold of 0, since cards did not always wake up."""
    path = f"{SYS}/{device.bdf}"
    threshold = patient.host.read(f"{path}/vram_d3cold_threshold")
    allowed = patient.host.read(f"{path}/d3cold_allowed")
    is_on = patient.host.read(f"{path}/power/control")
    if not threshold.ok or threshold.text in ("", "0") or allowed.text == "0" or is_on.text != "auto":
        return
    yield Finding(
        id="XPK-D3COLD-ALLOWED",
        severity="info",
        summary=f"{device.bdf} may be switched off (D3cold) while nothing uses it",
        evidence=(
            Evidence(source=f"{path}/vram_d3cold_threshold", value=threshold.text),
            Evidence(source=f"{path}/power/control", value=is_on.text),
        ),
        explanation="waking from D3cold takes long and has failed on Battlemage boards; the kernel now sets the "
        "threshold to 0 there, which keeps it off.",
        concerns="Battlemage under xe of kernels before that change",
        remedy=("keep the card awake until the next boot (below); a newer kernel does it by itself",),
        commands=(f"echo 0 | sudo tee {path}/vram_d3cold_threshold",),
        links=(
            "https://gitlab.freedesktop.org/drm/xe/kernel/-/issues/4037",
            "https://gitlab.freedesktop.org/drm/xe/kernel/-/issues/4395",
        ),
        subject=device.bdf,
    )


CHECK = Check(
    name="power_and_heat",
    summary="no GPU is slowed down by heat or power now, none may fall into deep sleep",
    ids=("XPK-GPU-THROTTLED-BY-HEAT", "XPK-GPU-AT-POWER-LIMIT", "XPK-D3COLD-ALLOWED"),
    look=look_at_power,
    concerns="discrete GPUs",
    order=240,
)

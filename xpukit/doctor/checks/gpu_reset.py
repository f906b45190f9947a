"""Traces that a GPU hung: device core dumps and i915's error state."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.hardware import list_serving_cards, report_denied

_DUMPS = "/sys/class/devcoredump"
_NOTHING = "No error state collected"
_HEAD_BYTES = 4096
_DOCS = "https://docs.kernel.org/gpu/xe/xe_devcoredump.html"


def look_for_resets(patient: Patient) -> Iterable[Finding | Unchecked]:
    """The kernel keeps a core dump for a while only, or until somebody reads and clears it."""
    cards = {device.bdf: device for device in list_serving_cards(patient)}
    if not cards:
        return
    listing = patient.host.list(_DUMPS)
    for name in listing.names:
        target = patient.host.link(f"{_DUMPS}/{name}/failing_device").target.rpartition("/")[2]
        if target in cards:
            yield _report_hang(
                "XPK-GPU-COREDUMP",
                target,
                Evidence(source=f"{_DUMPS}/{name}/failing_device", value=target),
                f"sudo dd if={_DUMPS}/{name}/data of=gpu-coredump.txt bs=1M status=none",
            )
    if listing.error not in ("", "ENOENT"):
        yield from report_denied("gpu_reset", _DUMPS, listing.error, "whether a GPU hung lately")
    for device in cards.values():
        if device.driver != "i915" or device.card_index is None:
            continue
        path = f"/sys/class/drm/card{device.card_index}/error"
        answer = patient.host.read(path, limit_bytes=_HEAD_BYTES)
        if answer.ok and answer.text and not answer.text.startswith(_NOTHING):
            first = answer.text.splitlines()[0]
            yield _report_hang(
                "XPK-GPU-ERROR-STATE",
                device.bdf,
                Evidence(source=path, value=first[:200]),
                f"sudo dd if={path} of=gpu-error.txt bs=1M status=none",
            )
        elif not answer.ok:
            yield from report_denied("gpu_reset", path, answer.error, "whether a GPU hung since the machine started")


def _report_hang(identifier: str, bdf: str, evidence: Evidence, command: str) -> Finding:
    return Finding(
        id=identifier,
        severity="warning",
        summary=f"{bdf} hung: the driver kept a dump of it",
        evidence=(evidence,),
        explanation="the driver reset an engine or the whole GPU. What ran there at that time got DEVICE_LOST or hung; "
        "a serving engine must be started again, and after several resets the machine too.",
        concerns="GPUs under xe or i915",
        remedy=(
            "keep the dump for a report (below), then look at the kernel log: sudo dmesg | grep -iE 'xe|i915|reset'",
            "compare GuC, kernel and compute runtime with the tested ones: xpukit doctor",
            "start the serving engine again; where it hangs at once: unload the driver or reboot",
        ),
        commands=(command,),
        links=(_DOCS,),
        subject=bdf,
    )


CHECK = Check(
    name="gpu_reset",
    summary="no GPU hung lately",
    ids=("XPK-GPU-COREDUMP", "XPK-GPU-ERROR-STATE"),
    look=look_for_resets,
    concerns="GPUs under xe or i915",
    order=250,
)

"""/dev/dri/by-path: how oneCCL and the compute runtime find a GPU's node by its address."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.hardware import is_container, list_serving_cards

_DIRECTORY = "/dev/dri/by-path"


def look_at_links(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Asks /dev itself: in a container udev's database may name links that are not there."""
    cards = [device for device in list_serving_cards(patient) if device.render_node]
    if not cards or any(found.id == "XPK-PROBE-NODE-MISSING" for found in patient.machine.findings):
        return
    listing = patient.host.list(_DIRECTORY)
    missing = [device for device in cards if f"pci-{device.bdf}-render" not in listing.names]
    if not missing:
        return
    several = len(cards) > 1
    inside = is_container(patient)
    absent = ", ".join(device.bdf for device in missing)
    yield Finding(
        id="XPK-BY-PATH-MISSING",
        severity="warning" if several else "info",
        summary=f"{_DIRECTORY} has no link for {absent}",
        evidence=(
            Evidence(source=_DIRECTORY, value=listing.error or ", ".join(listing.names) or "empty"),
            *(
                (Evidence(source="platform", value=str(patient.machine.platform.get("container_evidence") or "")),)
                if inside
                else ()
            ),
        ),
        explanation="oneCCL opens /dev/dri/by-path/pci-ADDRESS-render to exchange memory between GPUs, and the compute "
        "runtime looks there first. Docker's --device /dev/dri brings the nodes but not these links, so one GPU works "
        "and tensor parallelism over several fails when it starts.",
        concerns="containers; machines without udev",
        remedy=(
            "start the container with the directory mounted: -v /dev/dri/by-path:/dev/dri/by-path"
            if inside
            else "let udev make the links again (below); the rule that makes them is 60-drm.rules",
        ),
        commands=() if inside else ("sudo udevadm trigger --action=add --subsystem-match=drm",),
        links=(
            "https://github.com/intel/llm-scaler/blob/main/vllm/README.md",
            "https://github.com/intel/compute-runtime/issues/905",
        ),
    )


CHECK = Check(
    name="by_path",
    summary="/dev/dri/by-path has a link for each GPU",
    ids=("XPK-BY-PATH-MISSING",),
    look=look_at_links,
    concerns="containers",
    order=140,
)

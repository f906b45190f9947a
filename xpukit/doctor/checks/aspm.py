"""Active State Power Management of the card's link: saved watts against latency."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.hardware import KERNEL_ARGUMENTS, SYS, list_serving_cards

_POLICY = "/sys/module/pcie_aspm/parameters/policy"
_STATES = ("l0s_aspm", "l1_aspm", "l1_1_aspm", "l1_2_aspm")
_SUBSTATES = ("l1_1_aspm", "l1_2_aspm")
_SAVING = ("powersave", "powersupersave")


def parse_policy(text: str) -> str:
    """The chosen word of 'default performance [powersave] powersupersave'; "" when none is marked."""
    match = re.search(r"\[(\w+)\]", text)
    return match[1] if match else ""


def look_at_aspm(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Says where ASPM is on: a warning only where the machine is set to save power before anything else."""
    cards = [device for device in list_serving_cards(patient) if device.link is not None and device.link.read_at]
    if not cards:
        return
    policy = parse_policy(patient.host.read(_POLICY).text)
    for device in cards:
        assert device.link is not None
        port = device.link.read_at
        answers = {name: patient.host.read(f"{SYS}/{port}/link/{name}") for name in _STATES}
        on = [name for name, answer in answers.items() if answer.ok and answer.text == "1"]
        if not on:
            continue
        deep = any(name in on for name in _SUBSTATES)
        yield Finding(
            id="XPK-ASPM-ON",
            severity="warning" if policy in _SAVING else "info",
            summary=f"{device.bdf}: its PCIe link may sleep ({', '.join(name.removesuffix('_aspm') for name in on)}), "
            f"kernel policy {policy or 'unknown'}",
            evidence=(
                *(Evidence(source=f"{SYS}/{port}/link/{name}", value="1") for name in on),
                *((Evidence(source=_POLICY, value=policy),) if policy else ()),
            ),
            explanation="a sleeping link needs time to wake"
            + (", much more from the deep states that are allowed here" if deep else "")
            + ". Single requests with small transfers (decoding one token at a time over several GPUs) wait for it; "
            "under steady load it does not sleep. At idle it saves power.",
            concerns="discrete GPUs",
            remedy=(
                "for latency: keep the link awake (below); for good: kernel argument pcie_aspm.policy=performance",
                "where the BIOS holds the control, set 'ASPM' there to Disabled for the slot",
            ),
            commands=(f"echo performance | sudo tee {_POLICY}",) if policy else (),
            links=("https://docs.kernel.org/admin-guide/abi-testing.html", KERNEL_ARGUMENTS),
            subject=device.bdf,
        )


CHECK = Check(
    name="aspm",
    summary="the card's link is not put to sleep where latency matters",
    ids=("XPK-ASPM-ON",),
    look=look_at_aspm,
    concerns="discrete GPUs",
    order=170,
)

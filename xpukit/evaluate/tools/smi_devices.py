"""Which number xpu-smi gives to which device, and of which generation the tool is. Asked while planning."""

from __future__ import annotations

import json
import re

import msgspec

from xpukit.core.json_document import BAD_JSON
from xpukit.host import Host

PROGRAM = "xpu-smi"
_TIMEOUT_S = 20.0
_VERSION = re.compile(r"Version:\s*([0-9]{1,3})\.[0-9]")
# How a job carries the numbers to its parser; no program reads it.
VARIABLE = "XPUKIT_SMI_DEVICES"


class SmiTool(msgspec.Struct, frozen=True, kw_only=True):
    """`numbers`: BDF -> device number; `major`: 1 or 2, None when it does not say; `problem`: why there is no list."""

    numbers: dict[str, int] = {}
    major: int | None = None
    problem: str = ""


def read_smi_tool(host: Host) -> SmiTool:
    """Ask its version and its list (JSON, in both generations)."""
    version = _VERSION.search(host.run([PROGRAM, "-v"], timeout_s=_TIMEOUT_S).text)
    major = int(version[1]) if version else None
    ran = host.run([PROGRAM, "discovery", "-j"], timeout_s=_TIMEOUT_S)
    numbers = _read_numbers(ran.text)
    problem = "" if numbers else f"{ran.command}: " + (ran.describe_failure() if ran.failure else "no list of devices")
    return SmiTool(numbers=numbers, major=major, problem=problem)


def _read_numbers(text: str) -> dict[str, int]:
    try:
        document = json.loads(text[text.index("{") :])
    except BAD_JSON:
        return {}
    listed = document.get("device_list") if isinstance(document, dict) else None
    found: dict[str, int] = {}
    for entry in listed if isinstance(listed, list) else ():
        bdf, number = (
            (entry.get("pci_bdf_address"), entry.get("device_id")) if isinstance(entry, dict) else (None, None)
        )
        if isinstance(bdf, str) and isinstance(number, int):
            found[bdf.lower()] = number
    return found


def write_numbers(numbers: dict[int, str]) -> str:
    """'0=0000:18:00.0,1=0000:3a:00.0'."""
    return ",".join(f"{number}={label}" for number, label in sorted(numbers.items()))


def read_numbers(text: str) -> dict[int, str]:
    """The other way round."""
    pairs = (part.partition("=") for part in text.split(",") if part)
    return {int(number): label for number, _, label in pairs if number.isdecimal()}

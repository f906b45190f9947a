"""What the firmware says of board, memory modules and slots."""

from __future__ import annotations

from xpukit.sysinfo.collector import Collector
from xpukit.sysinfo.inquire import make_collect

COLLECTOR = Collector(
    name="dmi",
    summary="dmidecode: BIOS, board, processors, memory modules, slots",
    preset="default",
    collect=make_collect("dmi"),
    timeout_s=15,
    root_adds="everything: the tables are closed to others",
    order=610,
)

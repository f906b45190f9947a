"""One log that several tools wrote, as upstream's evaluation script leaves it: each parser finds its own part."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from tests.unit.evaluate.parsers.damaged_text import DATA, Parse
from xpukit.evaluate.parsers.matrix_mul import parse_matrix_mul
from xpukit.evaluate.parsers.ze_bandwidth import parse_ze_bandwidth
from xpukit.evaluate.parsers.ze_peak import parse_ze_peak
from xpukit.evaluate.parsers.ze_peer import parse_ze_peer

TOOLS: dict[str, tuple[Parse, str]] = {
    "ze_peer": (parse_ze_peer, "pair-targets-6dev"),
    "ze_peak": (parse_ze_peak, "all"),
    "ze_bandwidth": (parse_ze_bandwidth, "csv-2dev"),
    "matrix_mul": (parse_matrix_mul, "installer-int8"),
}
STEPS = (
    "\x1b[1;34m[INFO]\x1b[0m Running H2D/D2H transfer_bw test, step 3 of 7\n"
    "Set CPU to performance mode\n0\n"
    "Return: Succeed to change the core frequency range on GPU 0 tile 0.\n"
    "#------------------------------------------------------------\n# Benchmarking: allreduce \n# #processes: 2\n"
    "     134217728      67108864            50       5321.20       5330.10       5325.65          0.10\n"
)


def read(tool: str) -> str:
    return (DATA / tool / f"{TOOLS[tool][1]}.txt").read_text(encoding="utf-8")


def key(readings: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    return [tuple(getattr(r, name) for name in r.__struct_fields__ if name != "line") for r in readings]


@pytest.mark.parametrize("order", list(permutations(TOOLS)), ids="-".join)
def test_each_parser_reads_its_own_part(order: tuple[str, ...]) -> None:
    log = STEPS.join(["", *(read(tool) for tool in order), ""])
    for tool, (parse, _) in TOOLS.items():
        output = parse(log)
        assert key(output.readings) == key(parse(read(tool)).readings)
        assert output.readings
        assert output.notes == output.problems == ()


@pytest.mark.parametrize("tool", TOOLS)
def test_a_part_that_broke_off_does_not_spoil_the_next(tool: str) -> None:
    """Cut after a whole line, then another tool's output: no reading that was not printed."""
    lines = read(tool).splitlines(keepends=True)
    for other in set(TOOLS) - {tool}:
        parse = TOOLS[other][0]
        own = key(parse(read(other)).readings)
        for end in range(len(lines)):
            assert key(parse("".join(lines[:end]) + read(other)).readings) == own

"""Bind this process to a NUMA node: CPUs by sched_setaffinity, memory by set_mempolicy, as `numactl -N -m` does.

Done by system call so that it needs no numactl on the machine. Call before any library starts threads.
"""

from __future__ import annotations

import ctypes
import os
import platform

from xpukit.core.units import parse_cpu_list

_MPOL_BIND = 2
_SYS_SET_MEMPOLICY = {"x86_64": 238, "aarch64": 237}


def bind_to_node(node: int, cpus: str) -> str:
    """Run on these CPUs (kernel list form; "" leaves them) and take memory from `node` only.

    Returns "" when both took effect, else what did not and why. Containers without CAP_SYS_NICE may refuse the memory
    policy; then first touch on the node's own CPUs still places memory there, if it has CPUs.
    """
    problems = [problem for problem in (_bind_cpus(cpus), _bind_memory(node)) if problem]
    return "; ".join(problems)


def _bind_cpus(cpus: str) -> str:
    try:
        wanted = parse_cpu_list(cpus)
        if wanted:
            os.sched_setaffinity(0, wanted)
    except (OSError, ValueError) as err:
        return f"not bound to CPUs {cpus}: {err}"
    return ""


def _bind_memory(node: int) -> str:
    number = _SYS_SET_MEMPOLICY.get(platform.machine())
    if number is None:
        return f"memory not bound: no known system call on {platform.machine()}"
    bits = 8 * ctypes.sizeof(ctypes.c_ulong)
    words = node // bits + 1
    mask = (ctypes.c_ulong * words)()
    mask[node // bits] = 1 << node % bits
    libc = ctypes.CDLL(None, use_errno=True)
    # The kernel reads maxnode - 1 bits.
    failed = libc.syscall(
        ctypes.c_long(number), ctypes.c_int(_MPOL_BIND), ctypes.byref(mask), ctypes.c_ulong(words * bits + 1)
    )
    if failed:
        code = ctypes.get_errno()
        return f"memory not bound to node {node}: {os.strerror(code)}"
    return ""

"""What the stand-ins of Intel's measuring tools share: switches and plausible numbers.

XPUKIT_STAND_IN is a comma-separated list of tool=behaviour: slow, hang, crash, garbage, wrong-units, half (dies in the
middle), no-p2p, bad-data. XPUKIT_STAND_IN_NOTES names a file that gets one line per start: tool, arguments, and the
environment that matters.
"""

import os
import random
import signal
import sys
import time

NOTED = (
    "ZE_AFFINITY_MASK", "ZE_FLAT_DEVICE_HIERARCHY", "NEOReadDebugKeys", "RenderCompressedBuffersEnabled",
    "CCL_TOPO_P2P_ACCESS", "CCL_ROOT",
)  # fmt: skip


def begin(tool):
    """The tool's behaviour, after what needs no output of its own has been done."""
    notes = os.environ.get("XPUKIT_STAND_IN_NOTES")
    if notes:
        settings = [f"{name}={os.environ[name]}" for name in NOTED if name in os.environ]
        with open(notes, "a") as file:
            file.write(" ".join([tool, *sys.argv[1:], "|", *settings, "|", os.getcwd()]) + "\n")
    switches = dict(item.split("=") for item in os.environ.get("XPUKIT_STAND_IN", "").split(",") if "=" in item)
    behaviour = switches.get(tool, "")
    if behaviour == "slow":
        time.sleep(1)
    elif behaviour == "hang":
        print("starting", flush=True)
        time.sleep(600)
    elif behaviour == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif behaviour == "garbage":
        noise = random.Random(7)
        for _ in range(200):
            sys.stdout.buffer.write(bytes(noise.randrange(256) for _ in range(60)) + b"\n")
        sys.exit(0)
    return behaviour


def fail_half_way(behaviour):
    """Dies as the real tools do: what was printed is kept, the exit code is that of an abort."""
    if behaviour == "half":
        sys.stdout.flush()
        print("terminate called without an active exception", file=sys.stderr, flush=True)
        os.abort()


def count_devices():
    """Devices that ZE_AFFINITY_MASK leaves visible."""
    return len(os.environ.get("ZE_AFFINITY_MASK", "0,1").split(","))


def option(*names, default=None):
    """The value behind an option."""
    for name in names:
        if name in sys.argv:
            return sys.argv[sys.argv.index(name) + 1]
    return default


def rate(peak_gbps, size):
    """GB/s of a copy with 5 us of overhead."""
    return size / (5e-6 + size / (peak_gbps * 1e9)) / 1e9

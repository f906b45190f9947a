from __future__ import annotations

import msgspec

from tests.machines.dict_host import DictHost
from xpukit.host.answers import LinkAnswer, NamesAnswer, ProcessEntry, ProcessesAnswer
from xpukit.host.overlay import OverlayHost
from xpukit.probe.state import list_gpu_users


def test_users_of_a_gpu_are_found_by_their_drm_clients() -> None:
    changes: dict[tuple[str, ...], msgspec.Struct] = {
        ("processes",): ProcessesAnswer(
            processes=(
                ProcessEntry(pid=7, name="vllm"),
                ProcessEntry(pid=8, name="sh"),
                ProcessEntry(pid=9, name="gone"),
            )
        ),
        ("list", "/proc/7/fd"): NamesAnswer(names=("0", "5", "6")),
        ("list", "/proc/8/fd"): NamesAnswer(error="EACCES"),
        ("list", "/proc/9/fd"): NamesAnswer(names=("3",)),
        ("link", "/proc/7/fd/0"): LinkAnswer(target="/dev/null"),
        ("link", "/proc/7/fd/5"): LinkAnswer(target="/dev/dri/renderD128"),
        ("link", "/proc/7/fd/6"): LinkAnswer(target="/dev/dri/renderD128"),
        ("link", "/proc/9/fd/3"): LinkAnswer(error="ENOENT"),
    }
    text = "pos:\t0\ndrm-driver:\txe\ndrm-client-id:\t24\ndrm-pdev:\t0000:03:00.0\n"
    host = OverlayHost(DictHost({"/proc/7/fdinfo/5": text, "/proc/7/fdinfo/6": text}), changes)
    assert list_gpu_users(host) == {"0000:03:00.0": ["vllm (7)"]}

"""The last lines of containers that serve models or may open a GPU."""

from __future__ import annotations

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector
from xpukit.sysinfo.containers import ENGINES, inspect_containers, list_running

_LINES = "400"
_MOST_CONTAINERS = 8


def collect(asker: Asker) -> None:
    words = load_inquiry("docker").words("serving")
    for engine in ENGINES:
        if not asker.which(engine).value:
            continue
        containers = inspect_containers(asker, engine, list_running(asker, engine))
        serving = [container for container in containers if container.is_serving(words)]
        if len(serving) > _MOST_CONTAINERS:
            asker.note(f"{engine}: logs of {_MOST_CONTAINERS} of {len(serving)} serving containers")
        for container in serving[:_MOST_CONTAINERS]:
            asker.run(
                engine, "logs", "--timestamps", "--tail", _LINES, container.id,
                timeout_s=10, limit_bytes=256 << 10, typical_bytes=40000,
            )  # fmt: skip
            asker.run(engine, "top", container.id, timeout_s=5, limit_bytes=32 << 10, typical_bytes=1500)


COLLECTOR = Collector(
    name="container_logs",
    summary=f"last {_LINES} log lines and processes of containers that serve models or may open a GPU",
    preset="default",
    collect=collect,
    timeout_s=60,
    root_adds="everything, where this user is not in group docker",
    order=470,
)

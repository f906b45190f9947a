"""Samples in Prometheus' text form, printed once or served over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from xpukit.core.errors import ExternalError
from xpukit.facts.exporter_metrics import load_exporter_metrics
from xpukit.operate.exporter.sample import Sample

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from prometheus_client.registry import CollectorRegistry


SILENCE_S = 30.0
HEALTH_PATH = "/-/healthy"


def group_families(samples: Iterable[Sample]) -> Iterator[Metric]:
    """One family a metric, in the order of the table; labels that a series lacks are left out.

    Raises KeyError for a metric that is not in the table.
    """
    from prometheus_client.core import Metric

    known = load_exporter_metrics()
    by_name: dict[str, list[Sample]] = {name: [] for name in known}
    for sample in samples:
        by_name[sample.name].append(sample)
    for name, facts in known.items():
        if not by_name[name]:
            continue
        # The library writes the suffix of counters itself.
        family = Metric(name.removesuffix("_total") if facts.kind == "counter" else name, facts.help, facts.kind)
        for sample in by_name[name]:
            family.add_sample(name, dict(sample.labels), sample.value)
        yield family


class _Collector:
    def __init__(self, collect: Callable[[], list[Sample]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        return group_families(self._collect())

    def describe(self) -> list[Metric]:
        """Nothing: so registering does not read the machine."""
        return []


def make_registry(collect: Callable[[], list[Sample]]) -> CollectorRegistry:
    """A registry that asks `collect` at each scrape."""
    from prometheus_client.registry import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(collect))
    return registry


def render_text(samples: Iterable[Sample]) -> str:
    """Prometheus' text form."""
    from prometheus_client.exposition import generate_latest

    listed = list(samples)
    return generate_latest(make_registry(lambda: listed)).decode()


def start_server(collect: Callable[[], list[Sample]], *, address: str, port: int, silence_s: float = SILENCE_S) -> Any:
    """Serve /metrics in threads; the server, whose `server_port` is the port and `shutdown()` the end.

    A client that says nothing for `silence_s` is let go. Raises ExternalError when the address is taken or not ours.
    """
    from concurrent.futures import ThreadPoolExecutor

    from prometheus_client.exposition import start_http_server

    # The server has a thread for each request, and the live host a helper for each thread that ever asked it.
    reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="xpukit-reading")
    registry = make_registry(lambda: reading.submit(collect).result())
    try:
        server, _ = start_http_server(port, addr=address, registry=registry)
    except OSError as err:
        hint = "choose another with --port, or see who has it: ss -ltnp"
        raise ExternalError(f"{address}:{port}: cannot listen: {err.strerror or err}", hint=hint) from err
    # Each connection has a thread: those that never ask would keep theirs for ever.
    server.RequestHandlerClass = _limit_silence(server.RequestHandlerClass, silence_s)
    server.set_app(_answer_health(server.get_app()))
    return server


def _answer_health(app: Any) -> Any:
    """Whoever only asks whether it is there does not make it read all GPUs."""

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        if environ.get("PATH_INFO") != HEALTH_PATH:
            return app(environ, start_response)
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"ok\n"]

    return answer


def _limit_silence(handler: Any, silence_s: float) -> Any:
    class Handler(handler):  # type: ignore[misc]
        timeout = silence_s

        def handle(self) -> None:
            # Who went away or fell silent is no error of ours, and no traceback in the log.
            with contextlib.suppress(TimeoutError, ConnectionError):
                super().handle()

        def finish(self) -> None:
            with contextlib.suppress(TimeoutError, ConnectionError):
                super().finish()

    return Handler

"""Builds with the daemon's classic builder, through its API."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from xpukit.core.errors import UsageError
from xpukit.host.docker_daemon import DockerDaemon
from xpukit.host.folder_server import LOOPBACK, serve_folder
from xpukit.images.build import BuildEvent, Rendered
from xpukit.images.builders.buildkit import BuildEnd
from xpukit.images.builders.context import pack_context
from xpukit.images.builders.labels import list_missing_labels
from xpukit.images.builders.mask import make_mask, mask_message
from xpukit.images.builders.parse import ClassicParser


def run_classic(
    rendered: Rendered,
    *,
    tags: Sequence[str],
    daemon: DockerDaemon,
    proxies: Mapping[str, str],
    on_event: Callable[[BuildEvent], None],
    log: Path,
    trees: Mapping[str, Path],
    network: str,
    pull: bool,
    no_cache: bool,
    source_date_epoch: int | None,
    timeout_s: float,
) -> BuildEnd:
    """Send the context as a tar and follow the build. Ctrl-C cancels it and removes what it left (docker_build.py)."""
    parser = ClassicParser()
    mask = make_mask(proxies)
    with _serve(rendered, daemon), tempfile.TemporaryFile() as context, log.open("ab") as log_file:
        pack_context(rendered, context, trees=trees, epoch=source_date_epoch or 0)
        context.seek(0)

        def read_message(message: Mapping[str, Any]) -> None:
            message = mask_message(message, mask)
            text = _describe_message(message)
            if text:
                log_file.write(text.encode("utf-8", errors="replace"))
                log_file.flush()
            for event in parser.feed(message):
                on_event(event)

        started = time.monotonic()
        built = daemon.build_classic(
            context,
            tags=tags,
            args={**(_spare_loopback(proxies) if rendered.served else proxies), **rendered.args},
            labels=list_missing_labels(rendered),
            network=network or rendered.network,
            pull=pull,
            no_cache=no_cache,
            on_message=read_message,
            timeout_s=timeout_s,
        )
        seconds = time.monotonic() - started
        for event in parser.finish():
            on_event(event)
        built = msgspec.structs.replace(built, error=mask(built.error))
        if built.error:
            log_file.write(f"{built.error}\n".encode("utf-8", errors="replace"))
    summary = parser.summarize()
    if built.error and not summary.error:
        step = parser.current_step
        if not step and "dockerfile parse error" in built.error:
            step = "Dockerfile"
        summary = msgspec.structs.replace(
            summary, error=built.error, failed_step=step, failed_lines=summary.failed_lines or (built.error,)
        )
    return BuildEnd(
        ok=bool(built.image_id),
        summary=summary,
        image_id=built.image_id,
        seconds=seconds,
        more_ids=("daemon-gone",) if built.gone else (),
    )


@contextlib.contextmanager
def _serve(rendered: Rendered, daemon: DockerDaemon) -> Iterator[None]:
    """What the steps get from loopback, which is only theirs where the daemon runs on this machine."""
    if rendered.served is None:
        yield
        return
    if not daemon.address.startswith("unix://"):
        raise UsageError(
            f"the daemon at {daemon.address} cannot reach {rendered.served.folder} on this machine's loopback",
            hint="use BuildKit, or name a repository that its machine reaches: --apt-repo URL",
        )
    with serve_folder(Path(rendered.served.folder), prefix=rendered.served.prefix, port=rendered.served.port):
        yield


def _spare_loopback(proxies: Mapping[str, str]) -> dict[str, str]:
    """The proxies, but none for what we serve."""
    spared = ",".join(filter(None, (proxies.get("no_proxy") or proxies.get("NO_PROXY", ""), LOOPBACK)))
    return {**proxies, "no_proxy": spared, "NO_PROXY": spared} if proxies else {}


def _describe_message(message: Mapping[str, Any]) -> str:
    if isinstance(stream := message.get("stream"), str):
        return stream
    if isinstance(status := message.get("status"), str) and not message.get("progressDetail"):
        return f"{message.get('id', '')} {status}".strip() + "\n"
    return ""

"""Builds images: BuildKit through the docker client, or the classic builder through the daemon's API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from xpukit.core.errors import OutputError, UsageError
from xpukit.host.docker_daemon import BUILD_TIMEOUT_S, DockerDaemon
from xpukit.host.door import Host
from xpukit.images.build import BuildEvent, BuildOutcome, KnownCause, OnEvent, Rendered
from xpukit.images.builders.buildkit import BuildEnd, list_proxies, run_buildkit
from xpukit.images.builders.causes import find_causes
from xpukit.images.builders.choose import Builder
from xpukit.images.builders.classic import run_classic
from xpukit.images.builders.parse import LAST_LINES


def build_image(
    rendered: Rendered,
    *,
    tags: Sequence[str],
    builder: Builder,
    daemon: DockerDaemon,
    log: Path,
    host: Host,
    on_event: OnEvent | None = None,
    trees: Mapping[str, Path] | None = None,
    network: str = "",
    pull: bool = False,
    no_cache: bool = False,
    source_date_epoch: int | None = None,
    timeout_s: float = BUILD_TIMEOUT_S,
) -> BuildOutcome:
    """Build a rendered recipe and say how it went; a build that fails is an outcome, not an exception.

    `trees` puts files and folders of this machine into the context: {"wheelhouse": Path(…)}. `log` is written anew and
    holds all that the builder said. `source_date_epoch` is the time of every file in the context (0 when not given).
    Raises ExternalError when the daemon cannot be reached (message says why), UsageError for a context that cannot be
    made, OutputError for a log that cannot be written. Ctrl-C cancels the build, removes its container, and goes on
    as KeyboardInterrupt.
    """
    if (rendered.builder == "classic") != (builder.kind == "classic"):
        raise UsageError(
            f"the recipe was rendered for {rendered.builder}, the builder is {builder.kind}",
            hint="render it for the builder that is used",
        )
    daemon.require()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
    except OSError as err:
        raise OutputError(
            f"{log}: cannot be written: {err.strerror or err}", hint="check the directory and its free space"
        ) from err
    proxies = list_proxies(host)
    take = on_event or _ignore
    try:
        if builder.kind == "classic":
            end = run_classic(
                rendered,
                tags=tags,
                daemon=daemon,
                proxies=proxies,
                on_event=take,
                log=log,
                trees=trees or {},
                network=network,
                pull=pull,
                no_cache=no_cache,
                source_date_epoch=source_date_epoch,
                timeout_s=timeout_s,
            )
        else:
            end = run_buildkit(
                rendered,
                tags=tags,
                builder=builder,
                proxies=proxies,
                address=daemon.given_address,
                on_event=take,
                log=log,
                trees=trees or {},
                network=network,
                pull=pull,
                no_cache=no_cache,
                source_date_epoch=source_date_epoch,
                timeout_s=timeout_s,
            )
            if not end.ok:
                end = _look_for_daemon(end, daemon)
    except OSError as err:
        raise OutputError(
            f"{err.filename or log}: cannot be written: {err.strerror or err}",
            hint="check the directory of the log, TMPDIR and free space",
        ) from err
    return _conclude(end, builder, log)


def _look_for_daemon(end: BuildEnd, daemon: DockerDaemon) -> BuildEnd:
    """It answered before the build; a client whose daemon dies reports that in many words, or as a cancelled step."""
    if daemon.check().ok:
        return end
    return msgspec.structs.replace(end, more_ids=(*end.more_ids, "daemon-gone"))


def _conclude(end: BuildEnd, builder: Builder, log: Path) -> BuildOutcome:
    summary = end.summary
    lines: tuple[str, ...] = ()
    causes: tuple[KnownCause, ...] = ()
    if not end.ok:
        lines = summary.failed_lines[-LAST_LINES:]
        if summary.error and summary.error not in lines:
            lines = (*lines, summary.error)
        found = find_causes(
            summary.failed_lines, error=summary.error, exit_code=summary.exit_code, more_ids=end.more_ids
        )
        causes = tuple(KnownCause(title=cause.title, remedy=cause.remedy) for cause in found)
    return BuildOutcome(
        ok=end.ok,
        image_id=end.image_id if end.ok else "",
        builder=builder.kind,
        argv=end.argv,
        seconds=round(end.seconds, 3),
        total_steps=summary.total_steps,
        cached_steps=summary.cached_steps,
        failed_step="" if end.ok else summary.failed_step,
        last_lines=lines,
        causes=causes,
        log=str(log),
    )


def _ignore(_event: BuildEvent) -> None:
    """Where nobody follows the build."""

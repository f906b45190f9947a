"""Builds with BuildKit, through the docker client: the exact command, and its run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from xpukit.core.errors import ExternalError
from xpukit.host.docker_client import PROXY_NAMES, run_client
from xpukit.host.door import Host
from xpukit.images.build import BuildEvent, Rendered
from xpukit.images.builders.choose import Builder
from xpukit.images.builders.context import name_context, write_context
from xpukit.images.builders.labels import list_missing_labels
from xpukit.images.builders.mask import make_mask
from xpukit.images.builders.parse import BuildKitParser, BuildSummary

# Stands for the temporary directories in a command that is only shown.
SHOWN_CONTEXT = "CONTEXT"
SHOWN_ID_FILE = "IMAGE-ID-FILE"


class BuildCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A command as it is run. `env` is set beside the caller's environment; `argv` names proxies but not their values:
    those may hold a password, and the client takes them from the environment."""

    argv: tuple[str, ...]
    env: dict[str, str]


class BuildEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a builder ended, before causes are looked for. `more_ids` are causes known from other signs."""

    ok: bool
    summary: BuildSummary
    image_id: str = ""
    argv: tuple[str, ...] = ()
    seconds: float = 0.0
    more_ids: tuple[str, ...] = ()


def plan_command(
    rendered: Rendered,
    *,
    tags: Sequence[str],
    builder: Builder,
    proxies: Mapping[str, str],
    context: str = SHOWN_CONTEXT,
    id_file: str = SHOWN_ID_FILE,
    address: str = "",
    network: str = "",
    pull: bool = False,
    no_cache: bool = False,
    source_date_epoch: int | None = None,
) -> BuildCommand:
    """The client's command for a context that lies in `context`. `address` only where the client must be told it."""
    argv = [builder.program]
    if address:
        argv += ["--host", address]
    argv += ["buildx", "build", "--load"] if builder.kind == "buildx" else ["build"]
    if builder.provenance:
        argv += ["--provenance=false"]
    argv += ["--progress=plain", "--iidfile", id_file]
    for tag in tags:
        argv += ["--tag", tag]
    for key, value in list_missing_labels(rendered).items():
        argv += ["--label", f"{key}={value}"]
    for key, value in sorted(rendered.args.items()):
        argv += ["--build-arg", f"{key}={value}"]
    for name in sorted(set(proxies) - set(rendered.args)):
        argv += ["--build-arg", name]
    for secret in rendered.secrets:
        argv += ["--secret", f"id={secret.id},src={secret.source}"]
    if network or rendered.network:
        argv += ["--network", network or rendered.network]
    if pull:
        argv.append("--pull")
    if no_cache:
        argv.append("--no-cache")
    env = {"DOCKER_BUILDKIT": "1"}
    if source_date_epoch is not None:
        env["SOURCE_DATE_EPOCH"] = str(source_date_epoch)
    return BuildCommand(argv=(*argv, context), env=env)


def list_proxies(host: Host) -> dict[str, str]:
    """Proxy settings of this environment, which are build arguments that Docker keeps out of the image.

    In both spellings: apt and curl read HTTP_PROXY only as http_proxy, other programs only in capitals.
    """
    found = {}
    for name in PROXY_NAMES:
        upper, lower = host.env(name).value, host.env(name.lower()).value
        if upper or lower:
            found[name] = str(upper or lower)
            found[name.lower()] = str(lower or upper)
    return found


def run_buildkit(
    rendered: Rendered,
    *,
    tags: Sequence[str],
    builder: Builder,
    proxies: Mapping[str, str],
    address: str,
    on_event: Callable[[BuildEvent], None],
    log: Path,
    trees: Mapping[str, Path],
    network: str,
    pull: bool,
    no_cache: bool,
    source_date_epoch: int | None,
    timeout_s: float,
) -> BuildEnd:
    """Write the context, run the client, read what it says. Ctrl-C ends the client, which cancels the build."""
    with tempfile.TemporaryDirectory(prefix="xpukit-build-") as place:
        context = Path(place) / name_context(rendered, trees, epoch=source_date_epoch or 0)
        id_file = Path(place) / "image-id"
        write_context(rendered, context, trees=trees, epoch=source_date_epoch or 0)
        command = plan_command(
            rendered,
            tags=tags,
            builder=builder,
            proxies=proxies,
            context=str(context),
            id_file=str(id_file),
            address=address,
            network=network,
            pull=pull,
            no_cache=no_cache,
            source_date_epoch=source_date_epoch,
        )
        parser = BuildKitParser()
        mask = make_mask(proxies)
        started = time.monotonic()
        with log.open("a", encoding="utf-8", errors="replace") as log_file:

            def read_line(line: str) -> None:
                line = mask(line)
                log_file.write(f"{line}\n")
                log_file.flush()
                for event in parser.feed(line):
                    on_event(event)

            env = {**proxies, **command.env}
            ran = run_client(command.argv, timeout_s=timeout_s, env=env, log=None, on_line=read_line)
        seconds = time.monotonic() - started
        if ran.failure in ("not-found", "denied"):
            raise ExternalError(ran.describe_failure(), hint="is the docker client still installed?")
        summary = parser.summarize()
        image_id = id_file.read_text(encoding="utf-8").strip() if ran.ok and id_file.exists() else ""
        image_id = image_id or (summary.image_id if ran.ok else "")
        if ran.failure == "timeout":
            summary = msgspec.structs.replace(summary, error=f"stopped after its limit of {timeout_s:.0f} s")
        elif not ran.ok and not summary.error:
            summary = msgspec.structs.replace(summary, error=mask(ran.describe_failure()))
        elif ran.ok and not image_id:
            # A client may take the end of a connection for the end of a build: only an image is a success.
            summary = msgspec.structs.replace(summary, error="the daemon ended the connection without a result")
        return BuildEnd(
            ok=ran.ok and bool(image_id), summary=summary, image_id=image_id, argv=command.argv, seconds=seconds
        )

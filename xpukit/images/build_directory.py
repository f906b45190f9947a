"""The folder of one build: its context, log and outcome, and later its smoke report and inventory."""

from __future__ import annotations

from pathlib import Path

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import OutputError, UsageError
from xpukit.core.json_document import build_document, encode_json, now_utc
from xpukit.host.door import Host
from xpukit.images.build import Rendered
from xpukit.images.builders.context import write_context
from xpukit.images.context import list_entries, split_linked
from xpukit.images.result import ContextListing, ImageResult

LOG_FILE = "build.log"
OUTCOME_FILE = "outcome.json"
CONTEXT_DIR = "context"
CONTEXT_LIST_FILE = "context.json"


def default_place(host: Host) -> Path:
    """Where builds are kept: XDG_STATE_HOME, else ~/.local/state."""
    state = host.env("XDG_STATE_HOME").value or ""
    home = host.env("HOME").value or "/root"
    return (Path(state) if state.startswith("/") else Path(home) / ".local" / "state") / "xpukit" / "builds"


def make_build_directory(host: Host, rendered: Rendered, given: Path | None) -> Path:
    """A new folder for this build, or the one given if it is empty. Raises UsageError, OutputError."""
    stamp = now_utc().replace("-", "").replace(":", "").replace("T", "-").rstrip("Z")
    place = given or default_place(host) / f"{stamp}-{rendered.recipe}"
    try:
        if given is None:
            place = _make_new(place)
        else:
            place.mkdir(parents=True, exist_ok=True)
            if any(place.iterdir()):
                raise UsageError(f"--output {place} is not empty", hint="name a new folder")
    except OSError as err:
        raise OutputError(f"{place}: cannot be made: {err.strerror or err}", hint="name another with --output") from err
    return place


def keep_context(directory: Path, rendered: Rendered) -> None:
    """The rendered files, and a listing with the hashes of all, also of those linked from elsewhere."""
    kept, _ = split_linked(rendered)
    write_context(kept, directory / CONTEXT_DIR, epoch=rendered.source_date_epoch)
    body = ContextListing(recipe=rendered.recipe, hash=rendered.hash, files=list_entries(rendered))
    write_atomic(
        directory / CONTEXT_LIST_FILE, encode_json(build_document("xpukit.image-context/1", "", body)).encode()
    )


def keep_outcome(directory: Path, result: ImageResult, hostname: str) -> None:
    """outcome.json: the document of --json."""
    write_atomic(directory / OUTCOME_FILE, encode_json(build_document("xpukit.image/1", hostname, result)).encode())


def _make_new(place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    for number in range(2, 1000):
        try:
            place.mkdir()
        except FileExistsError:  # another build of the same second
            place = place.with_name(f"{place.name.split('.')[0]}.{number}")
        else:
            return place
    raise OutputError(f"{place}: too many builds of one second", hint="name a folder with --output")

"""`xpukit build-image diff`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from xpukit.cli.session import JsonOption, Session, current_session
from xpukit.core.errors import BadFactsError, ExitCode, UsageError
from xpukit.core.json_document import BAD_JSON

if TYPE_CHECKING:
    from xpukit.images.engine_flags import EngineFlags
    from xpukit.images.image_diff import ImageDiff
    from xpukit.images.inventory import Inventory

T = TypeVar("T")
HELP = "What changed between two images: packages, engine flags, labels, environment, entry point, sizes."
SCHEMA = "xpukit.image-diff/1"
_MOST_SHOWN = 60


def build_image_diff(
    before: Annotated[str, typer.Argument(metavar="A", help="Image, build directory, or SBOM file (CycloneDX, SPDX).")],
    after: Annotated[str, typer.Argument(metavar="B", help="The same; what changed from A to B.")],
    json: JsonOption = False,
) -> int:
    """Load both, compare, print."""
    session = current_session()
    session.take(json=json)
    from xpukit.images.image_diff import diff_images

    old, old_flags = _load(before)
    new, new_flags = _load(after)
    found = diff_images(old, new, flags_before=old_flags, flags_after=new_flags)
    if session.json:
        from xpukit.core.json_document import build_document

        session.print_json(build_document(SCHEMA, "", found))
    else:
        _print(session, found)
    return int(ExitCode.OK)


def _load(name: str) -> tuple[Inventory, EngineFlags | None]:
    path = Path(name)
    if path.is_dir():
        return _load_directory(path)
    if path.is_file():
        return _load_file(path)
    if name.startswith((".", "/", "~")) or name.endswith(".json"):
        raise UsageError(f"{name}: not there", hint="give an image, a build directory or an SBOM file")
    return _load_image(name)


def _load_directory(path: Path) -> tuple[Inventory, EngineFlags | None]:
    from xpukit.images.engine_flags import EngineFlags
    from xpukit.images.inventory import FLAGS_FILE, INVENTORY_FILE, Inventory

    if not (path / INVENTORY_FILE).exists():
        raise UsageError(f"{path}: holds no {INVENTORY_FILE}", hint="is it the directory of a finished build?")
    inventory = _decode(path / INVENTORY_FILE, Inventory)
    flags = _decode(path / FLAGS_FILE, EngineFlags) if (path / FLAGS_FILE).exists() else None
    return inventory, flags


def _load_file(path: Path) -> tuple[Inventory, EngineFlags | None]:
    from xpukit.images.inventory import SCHEMA as INVENTORY_SCHEMA
    from xpukit.images.inventory import Inventory
    from xpukit.images.sbom_read import load_document, parse_sbom

    try:
        content = path.read_bytes()
    except OSError as err:
        raise BadFactsError(f"{path}: {err.strerror or err}", hint="check the path and its permissions") from err
    document = load_document(content, name=str(path))
    if document.get("schema") == INVENTORY_SCHEMA:
        return _decode(path, Inventory), None
    return parse_sbom(document, name=str(path)), None


def _decode(path: Path, kind: type[T]) -> T:
    import msgspec

    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, *BAD_JSON) as err:
        raise BadFactsError(f"{path}: {err}", hint="the file is damaged or of another version") from err


def _load_image(name: str) -> tuple[Inventory, EngineFlags | None]:
    """Look into the image itself: a container of it runs for a moment."""
    from xpukit.host.docker_daemon import DockerDaemon
    from xpukit.images.engine_flags import read_label
    from xpukit.images.inside import idle_request, keep_container
    from xpukit.images.inventory_read import read_inventory

    daemon = DockerDaemon()
    daemon.require()
    try:
        info = daemon.inspect_image(name)
        if info is None:
            raise UsageError(f"there is no image {name!r}", hint="see: docker images")
        with keep_container(daemon, idle_request(info.id)) as container:
            return read_inventory(daemon, container, info, image=name), read_label(info.labels)
    finally:
        daemon.close()


def _shorten(area: str, value: str) -> str:
    """As it stands in the table; the document has all of it. Of a layer it is bytes."""
    from xpukit.core.units import format_bytes

    if area == "layer" and value.isdecimal():
        return format_bytes(int(value))
    return value[:60]


def _print(session: Session, found: ImageDiff) -> None:
    from xpukit.cli.render import print_table
    from xpukit.core.units import format_bytes

    rows = [
        (
            change.area,
            change.change,
            change.name[:90],
            *(_shorten(change.area, one) for one in (change.before, change.after)),
        )
        for change in found.changes
    ]
    shown = rows if session.verbose else rows[:_MOST_SHOWN]
    title = f"{found.before} -> {found.after}"
    if shown:
        print_table(title, ("what", "change", "name", "before", "after"), shown, color=session.color)
    else:
        print(f"{title}: nothing differs")
    if len(shown) < len(rows):
        print(f"and {len(rows) - len(shown)} more (-v or --json shows all)")
    if found.size_before_bytes and found.size_after_bytes:
        print(f"size {format_bytes(found.size_before_bytes)} -> {format_bytes(found.size_after_bytes)}")
    for note in found.notes:
        session.say(f"note: {note}")

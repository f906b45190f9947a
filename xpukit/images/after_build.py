"""After a build: smoke test, the engine's flags, inventory and SBOM, and the flags as labels of the very image."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from xpukit.container.gpu_nodes import GpuNodes
from xpukit.core.atomic import write_atomic
from xpukit.core.errors import ExternalError
from xpukit.core.json_document import BAD_JSON, build_document, encode_json
from xpukit.facts.recipes import Recipe
from xpukit.host.docker_daemon import DockerDaemon
from xpukit.host.docker_values import ImageInfo
from xpukit.images.engine_flags import (
    LABEL_FLAGS_HASH,
    EngineFlags,
    encode_flags,
    hash_flags,
    make_labels,
    read_flags,
    read_label,
)
from xpukit.images.inside import idle_request, keep_container
from xpukit.images.inventory import FLAGS_FILE, INVENTORY_FILE, SBOM_FILE, SMOKE_FILE, Inventory, encode_inventory
from xpukit.images.inventory_read import read_inventory
from xpukit.images.sbom import render_sbom
from xpukit.images.smoke_compose import RunComposed
from xpukit.images.smoke_report import SCHEMA as SMOKE_SCHEMA
from xpukit.images.smoke_report import SmokeReport
from xpukit.images.smoke_test import SmokeLimits, smoke_test

LABEL_TIMEOUT_S = 300.0
ACCOUNT_FILE = "account.json"
# Older builds are looked through for one of the same image; there may be many.
_MOST_BUILDS = 50


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `image_id` is the labelled image, which has the tags now; file names lie in the directory.

    `built_id` is the image as the builder made it. `reused` names the directory of the earlier build of the same image
    whose reports these are, "" when all was done now. `notes` say what could not be done, in words.
    """

    built_id: str
    image_id: str
    smoke: SmokeReport | None
    inventory: Inventory
    flags: EngineFlags | None
    devices: tuple[str, ...] = ()
    reused: str = ""
    notes: tuple[str, ...] = ()


def account_for_image(
    daemon: DockerDaemon,
    image_id: str,
    recipe: Recipe,
    directory: Path,
    *,
    tags: Sequence[str] = (),
    gpus: Sequence[GpuNodes] = (),
    smoke: bool = True,
    limits: SmokeLimits | None = None,
    hostname: str = "",
    reuse: bool = True,
    compose: RunComposed | None = None,
) -> Account:
    """Test and describe a built image; writes smoke.json, engine-flags.json, inventory.json and the SBOM.

    With `reuse` the reports of an earlier build beside `directory` are taken over when it made the very same image,
    which passed on the same devices and is still there: a build that changed nothing costs nothing more.

    The order matters: flags first, then the labels (which give the image a new id), then everything else about the
    image that users get. Raises ExternalError when the daemon does not answer, OutputError for a full disk.
    """
    info = _require(daemon, image_id)
    if reuse and (found := _take_over(daemon, info.id, directory, tags, gpus, smoke=smoke)) is not None:
        return found
    built_id = info.id
    notes: list[str] = []
    flags = read_label(info.labels)
    if flags is None and recipe.answers.engine_argv:
        try:
            with keep_container(daemon, idle_request(info.id)) as container:
                flags = read_flags(daemon, container, recipe)
        except ExternalError as err:
            notes.append(f"the engine's flags were not read: {err.message}")
        if flags is None:
            notes.append("the engine's flags could not be had: serve will go by its tables")
    if flags is not None:
        write_atomic(directory / FLAGS_FILE, encode_flags(flags))
        if info.labels.get(LABEL_FLAGS_HASH) != hash_flags(flags):
            info = label_image(daemon, info, make_labels(flags), tags)
    report = None
    if smoke:
        report = smoke_test(daemon, info.id, recipe, gpus, folder=directory, limits=limits, compose=compose)
        report = msgspec.structs.replace(report, image=next(iter(tags), info.id))
        document = build_document(SMOKE_SCHEMA, hostname, report)
        write_atomic(directory / SMOKE_FILE, encode_json(document).encode())
    with keep_container(daemon, idle_request(info.id)) as container:
        inventory = read_inventory(daemon, container, info, image=next(iter(tags), ""))
    write_atomic(directory / INVENTORY_FILE, encode_inventory(inventory))
    try:
        write_atomic(directory / SBOM_FILE, render_sbom(inventory))
    except ExternalError as err:
        notes.append(err.message)
    account = Account(
        built_id=built_id,
        image_id=info.id,
        smoke=report,
        inventory=inventory,
        flags=flags,
        devices=tuple(gpu.bdf for gpu in gpus),
        notes=tuple(notes),
    )
    write_atomic(directory / ACCOUNT_FILE, encode_json(account).encode())
    return account


def _take_over(
    daemon: DockerDaemon, built_id: str, directory: Path, tags: Sequence[str], gpus: Sequence[GpuNodes], *, smoke: bool
) -> Account | None:
    """An earlier account of the same image, with its files copied here and the tags set."""
    devices = tuple(gpu.bdf for gpu in gpus)
    others = sorted(directory.parent.glob(f"*/{ACCOUNT_FILE}"), key=lambda path: path.parent.name, reverse=True)
    for path in others[:_MOST_BUILDS]:
        try:
            account = msgspec.json.decode(path.read_bytes(), type=Account)
        except (OSError, *BAD_JSON):
            continue
        passed = account.smoke is not None and account.smoke.verdict == "pass"
        if account.built_id != built_id or account.devices != devices or (smoke and not passed) or account.notes:
            continue
        if daemon.inspect_image(account.image_id) is None:
            continue
        for tag in tags:
            daemon.tag_image(account.image_id, tag)
        for name in (SMOKE_FILE, FLAGS_FILE, INVENTORY_FILE, SBOM_FILE):
            if (path.parent / name).exists():
                write_atomic(directory / name, (path.parent / name).read_bytes())
        account = msgspec.structs.replace(account, reused=account.reused or str(path.parent))
        write_atomic(directory / ACCOUNT_FILE, encode_json(account).encode())
        return account
    return None


def label_image(daemon: DockerDaemon, info: ImageInfo, labels: Mapping[str, str], tags: Sequence[str]) -> ImageInfo:
    """The image with more labels and without another layer: a build of `FROM image` and `LABEL`, given the tags.

    The daemon's build cache makes the same image of the same labels. (A commit would add a layer and a new time.)
    """
    dockerfile = f"FROM {info.id}\n" + "".join(f"LABEL {key}={json.dumps(value)}\n" for key, value in labels.items())
    built = daemon.build_classic(
        _make_context(dockerfile), tags=list(tags), on_message=lambda _: None, timeout_s=LABEL_TIMEOUT_S
    )
    if not built.image_id:
        raise ExternalError(f"labels were not added to {info.id[:19]}: {built.error}", hint="the image itself is fine")
    return _require(daemon, built.image_id)


def _make_context(dockerfile: str) -> io.BytesIO:
    content = dockerfile.encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    buffer.seek(0)
    return buffer


def _require(daemon: DockerDaemon, image: str) -> ImageInfo:
    info = daemon.inspect_image(image)
    if info is None:
        raise ExternalError(f"image {image} is not there", hint="see: docker images")
    return info

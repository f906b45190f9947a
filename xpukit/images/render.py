"""A recipe and its settings as a build context: the same input gives the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any

from xpukit import __version__
from xpukit.core.errors import BadFactsError, UsageError
from xpukit.facts.recipes import Recipe, SettingValue
from xpukit.images import build
from xpukit.images.sources import (
    CA_FILE,
    Sources,
    choose_fetched,
    find_served,
    is_folder,
    list_inputs,
    list_secrets,
    write_apt_line,
)
from xpukit.images.template import Notes, fill_settings, render_files


def render_recipe(
    recipe: Recipe,
    settings: Mapping[str, SettingValue],
    *,
    builder: build.BuilderKind,
    variant: str = "",
    sources: Sources | None = None,
    revision: str = "",
    source_date_epoch: int | None = None,
    require_hashes: bool = True,
) -> build.Rendered:
    """The build context of a recipe.

    Without `require_hashes` a file whose checksum is not known is rendered so that its step fails: good for looking.
    Raises BadFactsError for a template that fails; UsageError for a missing file, an unknown checksum or a base image
    that is not pinned.
    """
    sources = sources or Sources()
    base_image = add_digest(sources.base_image or str(settings.get("base_image", "")), settings)
    check_base_image(base_image)
    for key, value in settings.items():
        if key.endswith("_image") and key != "base_image":
            check_base_image(str(value), what=key)
    fetched = choose_fetched(recipe, settings, sources.hashes, require_hashes=require_hashes)
    labels = make_labels(
        recipe,
        settings,
        variant=variant,
        base_image=base_image,
        revision=revision,
        source_date_epoch=source_date_epoch,
    )
    inputs = list_inputs(sources, fetched, builder)
    served = find_served(sources, builder)
    notes = Notes()
    values: dict[str, Any] = {
        "recipe": recipe,
        "s": dict(settings),
        "pin": {pin.name: pin.version for pin in recipe.pins},
        "fetch": {file.name: file for file in fetched},
        "builder": builder,
        "has_mounts": builder != "classic",
        "base_image": base_image,
        "offline_wheels": sources.wheelhouse is not None,
        "apt_repo": write_apt_line(sources.apt_repo, inputs, served),
        "apt_repo_local": is_folder(sources.apt_repo) and served is None,
        "local_files": sources.files is not None and bool(fetched),
        "has_ca": sources.ca_bundle is not None,
        "source_date_epoch": source_date_epoch or 0,
        "era": recipe.answers.era,
        "labels": labels,
        "note_apt": notes.note_apt,
        "note_wheels": notes.note_wheels,
        "note_download": notes.note_download,
    }
    files = [*render_files(recipe, values), *inputs]
    files.sort(key=lambda file: file.path)
    for before, file in pairwise(files):
        if before.path == file.path:
            raise BadFactsError(
                f"recipe {recipe.name}: {file.path} is twice in the build context", hint="rename one of the two"
            )
    digest = _hash_files(files, settings)
    return build.Rendered(
        recipe=recipe.name,
        variant=variant,
        settings=dict(settings),
        builder=builder,
        files=tuple(files),
        # The hash is a label too, so it cannot be in what is hashed: it is given to the build beside the others.
        labels={**labels, build.LABEL_RECIPE_HASH: digest},
        hash=digest,
        secrets=list_secrets(sources, builder),
        network="host" if served else sources.network,
        source_date_epoch=source_date_epoch or 0,
        base_image=base_image,
        apt_packages=tuple(sorted(notes.apt)),
        wheels=tuple(sorted(notes.wheels)),
        downloads=tuple(sorted(notes.downloads)),
        served=served,
    )


def add_digest(name: str, settings: Mapping[str, SettingValue]) -> str:
    """The base image with the digest of the setting `base_digest`. Raises UsageError where its name has another."""
    digest = str(settings.get("base_digest", ""))
    if not digest or name.endswith(f"@{digest}"):
        return name
    if "@" in name:
        raise UsageError(f"base image {name} and base_digest name two digests", hint="give the digest once")
    return f"{name}@{digest}"


def check_base_image(name: str, what: str = "base image") -> None:
    """Raise UsageError for a base that means another image tomorrow: without a tag or digest, or `latest`."""
    if not name or name == "scratch" or "@sha256:" in name:
        return
    _, colon, tag = name.rpartition("/")[2].partition(":")
    if not colon or tag in ("", "latest"):
        raise UsageError(f"{what} {name!r} is not pinned", hint="name a version's tag or a digest, never latest")


def make_labels(
    recipe: Recipe,
    settings: Mapping[str, SettingValue],
    *,
    variant: str,
    base_image: str,
    revision: str,
    source_date_epoch: int | None,
) -> dict[str, str]:
    """The labels of the image, OCI's and ours. The time of creation only where SOURCE_DATE_EPOCH says one."""
    labels = {
        "org.opencontainers.image.title": recipe.name,
        "org.opencontainers.image.description": recipe.summary,
        "org.opencontainers.image.version": recipe.version,
        "org.opencontainers.image.source": "xpukit recipe " + recipe.name,
        "org.opencontainers.image.revision": revision or f"xpukit-{__version__}",
        "org.opencontainers.image.base.name": base_image,
        build.LABEL_RECIPE: recipe.name + (f"/{variant}" if variant else ""),
        build.LABEL_SETTINGS: json.dumps(dict(settings), sort_keys=True, separators=(",", ":")),
        build.LABEL_ENGINE: recipe.answers.engine,
        build.LABEL_ENGINE_VERSION: fill_settings(recipe.answers.engine_version, settings),
        build.LABEL_ERA: str(settings.get("era", recipe.answers.era)),
    }
    if source_date_epoch is not None:
        created = datetime.fromtimestamp(source_date_epoch, timezone.utc)
        labels["org.opencontainers.image.created"] = created.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {key: value for key, value in labels.items() if value}


def _hash_files(files: Sequence[build.ContextFile], settings: Mapping[str, SettingValue]) -> str:
    digest = hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode())
    for file in files:
        if file.path == CA_FILE:  # of this host, and in no layer of the final image
            continue
        content = file.sha256 or hashlib.sha256(file.content).hexdigest()
        digest.update(f"\0{file.path}\0{file.mode:o}\0{content}\0".encode())
    return digest.hexdigest()

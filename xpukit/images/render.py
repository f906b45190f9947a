"""A recipe and its settings as a build context: the same input gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from xpukit import __version__
from xpukit.core.errors import BadFactsError, ExternalError, UsageError
from xpukit.facts.paths import shipped_dir
from xpukit.facts.recipes import CHECK_FILE, TEMPLATE_FILE, Fetched, Recipe, SettingValue
from xpukit.images import build
from xpukit.images.context import link_file, link_folder

if TYPE_CHECKING:
    import jinja2

# Macros that every recipe may import: dockerfiles/_shared/*.j2.
_SHARED = "_shared"
CA_FILE = "ca.pem"


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Where a build gets its packages from, instead of the networks that its recipe names.

    `wheelhouse` and `files` (what `build-image --fetch` collected) are folders; `apt_repo` is a flat repository's
    folder or a line of sources.list without its "deb". `ca_bundle` is trusted while the build runs and is in no layer
    of the final image. `hashes` are checksums of files by name, from a lock; where `wheel_names` is not empty, only
    these wheels of the wheelhouse are offered. `proxies` are the predefined build arguments (they do not persist).
    """

    wheelhouse: Path | None = None
    apt_repo: str = ""
    files: Path | None = None
    ca_bundle: Path | None = None
    base_image: str = ""
    hashes: dict[str, str] = {}
    wheel_names: tuple[str, ...] = ()
    network: str = ""


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
    notes = _Notes()
    values: dict[str, Any] = {
        "recipe": recipe,
        "s": dict(settings),
        "pin": {pin.name: pin.version for pin in recipe.pins},
        "fetch": {file.name: file for file in fetched},
        "builder": builder,
        "has_mounts": builder != "classic",
        "base_image": base_image,
        "offline_wheels": sources.wheelhouse is not None,
        "apt_repo": _write_apt_line(sources.apt_repo, inputs),
        "apt_repo_local": _is_folder(sources.apt_repo),
        "local_files": sources.files is not None and bool(fetched),
        "has_ca": sources.ca_bundle is not None,
        "source_date_epoch": source_date_epoch or 0,
        "era": recipe.answers.era,
        "labels": labels,
        "note_apt": notes.note_apt,
        "note_wheels": notes.note_wheels,
        "note_download": notes.note_download,
    }
    files = [*_render_files(recipe, values), *inputs]
    files.sort(key=lambda file: file.path)
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
        secrets=_list_secrets(sources, builder),
        network=sources.network,
        source_date_epoch=source_date_epoch or 0,
        base_image=base_image,
        apt_packages=tuple(sorted(notes.apt)),
        wheels=tuple(sorted(notes.wheels)),
        downloads=tuple(sorted(notes.downloads)),
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


def choose_fetched(
    recipe: Recipe, settings: Mapping[str, SettingValue], hashes: Mapping[str, str], *, require_hashes: bool = True
) -> tuple[Fetched, ...]:
    """The files that this build fetches, names and addresses filled in. Raises UsageError for an unknown checksum."""
    chosen = []
    for file in recipe.fetch:
        if any(settings.get(key) != value for key, value in file.when.items()):
            continue
        filled = msgspec.structs.replace(
            file,
            url=fill_settings(file.url, settings),
            file=fill_settings(file.file, settings),
            sha256=hashes.get(file.name) or file.sha256,
        )
        if not filled.sha256 and require_hashes:
            raise UsageError(
                f"recipe {recipe.name}: no checksum is known for {filled.url}",
                hint=f"run: xpukit build-image {recipe.name} --fetch DIR, look at DIR/lock.toml, build with --lock",
            )
        chosen.append(filled)
    return tuple(chosen)


def list_inputs(
    sources: Sources, fetched: Sequence[Fetched], builder: build.BuilderKind
) -> tuple[build.ContextFile, ...]:
    """What the build gets from this host: wheels, files, Debian packages, and for the classic builder the CA bundle."""
    inputs: list[build.ContextFile] = []
    if sources.wheelhouse is not None:
        wheels = [file for file in link_folder(sources.wheelhouse, "wheelhouse") if _is_wanted(file.path, sources)]
        if not wheels:
            raise UsageError(f"{sources.wheelhouse}: holds no Python package", hint="collect them with --fetch")
        inputs += wheels
    if sources.files is not None:
        for file in fetched:
            inputs.append(_link_fetched(sources.files, file))
    if _is_folder(sources.apt_repo):
        if builder == "classic":
            raise UsageError(
                "the classic builder cannot mount a folder as --apt-repo",
                hint="use BuildKit, or serve the folder (python3 -m http.server -d DIR 8080) and name it by "
                "--apt-repo '[trusted=yes] http://HOST:8080 ./'",
            )
        inputs += link_folder(Path(sources.apt_repo), "apt-repo")
    if sources.ca_bundle is not None and builder == "classic":
        inputs.append(build.ContextFile(path=CA_FILE, content=_read_bytes(sources.ca_bundle)))
    return tuple(inputs)


def make_environment(folder: Path) -> jinja2.Environment:
    """Templates of a recipe's folder and of the shared folder. A name that is not defined is an error."""
    try:
        import jinja2
    except ImportError as err:
        raise ExternalError("rendering a recipe needs Jinja2", hint="install it: pip install 'xpukit[docker]'") from err
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([str(folder), str(shipped_dir("dockerfiles") / _SHARED)]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["label"] = quote_label
    environment.filters["words"] = _join_words
    return environment


def quote_label(text: str) -> str:
    """A label's value in a Dockerfile: quoted, with what Dockerfiles treat as special escaped."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def _render(environment: jinja2.Environment, name: str, values: Mapping[str, Any]) -> bytes:
    import jinja2

    try:
        text: str = environment.get_template(name).render(values)
    except jinja2.TemplateError as err:
        line = getattr(err, "lineno", None)
        where = f"{name}:{line}" if line else name
        raise BadFactsError(f"{where}: the template fails: {err.message or err}") from err
    # Parts of a template that do not apply leave blank lines; a recipe is read by people.
    return (re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n").encode()


def _join_words(items: Sequence[str], glue: str = " \\\n      ") -> str:
    return glue.join(items)


def fill_settings(text: str, settings: Mapping[str, SettingValue]) -> str:
    """The text with each `{name}` replaced by that setting's value."""
    for key, value in settings.items():
        text = text.replace("{" + key + "}", str(value))
    return text


def _list_context(recipe: Recipe) -> list[str]:
    """All files of the context by their path in the recipe's folder; a folder stands for everything in it."""
    folder = Path(recipe.folder)
    names: set[str] = set()
    wanted = list(recipe.context)
    if (folder / CHECK_FILE).exists():
        wanted.append(CHECK_FILE)
    for name in wanted:
        path = folder / name
        if path.is_dir():
            names |= {str(file.relative_to(folder)) for file in path.rglob("*") if file.is_file()}
        else:
            names.add(name)
    return sorted(names)


def _mode_of(content: bytes) -> int:
    """A script is executable, whatever the checkout, archive or umask made of its permission bits."""
    return 0o755 if content.startswith(b"#!") else 0o644


def _render_files(recipe: Recipe, values: Mapping[str, Any]) -> list[build.ContextFile]:
    environment = make_environment(Path(recipe.folder))
    dockerfile = _render(environment, TEMPLATE_FILE, values)
    files = [build.ContextFile(path="Dockerfile", content=dockerfile)]
    for name in _list_context(recipe):
        if name.endswith(".j2"):
            content = _render(environment, name, values)
        else:
            content = _read_bytes(Path(recipe.folder) / name)
        files.append(build.ContextFile(path=name.removesuffix(".j2"), content=content, mode=_mode_of(content)))
    return files


class _Notes:
    """What the macros say while a template is rendered: the packages and files that its steps need."""

    def __init__(self) -> None:
        self.apt: set[str] = set()
        self.wheels: set[str] = set()
        self.downloads: set[str] = set()

    def note_apt(self, packages: Sequence[str]) -> str:
        self.apt.update(packages)
        return ""

    def note_wheels(self, requirements: Sequence[str]) -> str:
        self.wheels.update(requirements)
        return ""

    def note_download(self, name: str) -> str:
        self.downloads.add(name)
        return ""


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise UsageError(f"{path}: cannot be read: {err.strerror or err}", hint="check the path") from err


def _is_folder(apt_repo: str) -> bool:
    return bool(apt_repo) and "://" not in apt_repo


def _write_apt_line(apt_repo: str, inputs: Sequence[build.ContextFile]) -> str:
    """The line of sources.list. A folder with a key beside its InRelease is verified by apt with that key; one without
    is trusted: its files are part of the recipe's hash. A URL is verified by the keys of the base image.
    """
    if not apt_repo:
        return ""
    if not _is_folder(apt_repo):
        return f"deb {apt_repo}" if " " in apt_repo else f"deb {apt_repo} ./"
    names = {file.path.removeprefix("apt-repo/") for file in inputs if file.path.startswith("apt-repo/")}
    if not names & {"Packages", "Packages.gz", "Packages.xz"}:
        raise UsageError(f"{apt_repo}: is no flat apt repository (no Packages in it)", hint="see docs/build-image.md")
    keys = sorted(name for name in names if name.endswith((".asc", ".gpg")) and name != "Release.gpg")
    trust = f"signed-by=/run/apt-repo/{keys[0]}" if keys and "InRelease" in names else "trusted=yes"
    return f"deb [{trust}] file:/run/apt-repo ./"


def _is_wanted(path: str, sources: Sources) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith((".whl", ".tar.gz", ".zip")) and (not sources.wheel_names or name in sources.wheel_names)


def _link_fetched(folder: Path, file: Fetched) -> build.ContextFile:
    linked = link_file(folder / file.file, f"files/{file.file}")
    if file.sha256 and linked.sha256 != file.sha256:
        raise UsageError(
            f"{folder / file.file}: SHA-256 is {linked.sha256}, not {file.sha256}",
            hint="the file was changed or cut off: fetch it again",
        )
    return linked


def _hash_files(files: Sequence[build.ContextFile], settings: Mapping[str, SettingValue]) -> str:
    digest = hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode())
    for file in files:
        if file.path == CA_FILE:  # of this host, and in no layer of the final image
            continue
        content = file.sha256 or hashlib.sha256(file.content).hexdigest()
        digest.update(f"\0{file.path}\0{file.mode:o}\0{content}\0".encode())
    return digest.hexdigest()


def _list_secrets(sources: Sources, builder: build.BuilderKind) -> tuple[build.BuildSecret, ...]:
    if sources.ca_bundle is None or builder == "classic":
        return ()
    return (build.BuildSecret(id="ca", source=str(sources.ca_bundle)),)

"""What a build needs and what it gives: the values that rendering, builders and what comes after hand on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

BuilderKind = Literal["buildx", "buildkit", "classic"]
# The labels that every image of ours carries, beside OCI's own (org.opencontainers.image.*).
LABEL_RECIPE = "io.xpukit.recipe"
LABEL_RECIPE_HASH = "io.xpukit.recipe-hash"
LABEL_SETTINGS = "io.xpukit.settings"
LABEL_ENGINE = "io.xpukit.engine"
LABEL_ENGINE_VERSION = "io.xpukit.engine-version"
LABEL_ERA = "io.xpukit.era"


class ContextFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a build context. `mode` is its permission bits; times are the source date epoch.

    A large file (a wheel, a Debian package) is not held in memory: `source` then names it on this host, `content` is
    empty, and `sha256` and `size_bytes` were taken when the context was made (`split_linked` of
    `xpukit/images/context.py` sorts them out for a builder).
    """

    path: str
    content: bytes = b""
    mode: int = 0o644
    source: str = ""
    sha256: str = ""
    size_bytes: int = 0


class BuildSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A file handed to the build as a BuildKit secret (CA bundle, proxy settings): it stays in no layer."""

    id: str
    source: str


class ServedFolder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of this host that the classic builder's steps get from loopback while the build runs. `prefix` is a
    checksum of its files, and `port` follows from it: the same files give the same address, and so the same cache.
    """

    folder: str
    prefix: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.prefix}/"


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """A recipe with its settings, ready to build: the same input gives byte-identical files.

    `hash` is over all files and settings (hex SHA-256); `args` are build arguments that do not persist in the image.
    `apt_packages` and `wheels` are what its RUN steps install,
    `downloads` the names of the recipe's files that they fetch. `network` is the mode of the RUN steps ("" default).
    `served` must be there while they run.
    """

    recipe: str
    variant: str
    settings: dict[str, Any]
    builder: BuilderKind
    files: tuple[ContextFile, ...]
    labels: dict[str, str]
    hash: str
    args: dict[str, str] = {}
    secrets: tuple[BuildSecret, ...] = ()
    network: str = ""
    source_date_epoch: int = 0
    base_image: str = ""
    apt_packages: tuple[str, ...] = ()
    wheels: tuple[str, ...] = ()
    downloads: tuple[str, ...] = ()
    served: ServedFolder | None = None

    @property
    def dockerfile(self) -> str:
        """The rendered Dockerfile's text."""
        return next(file.content for file in self.files if file.path == "Dockerfile").decode()


class BuildEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a running build said. `step` and `steps` are 0 where the builder does not number them; `stage` is
    "" where it counts all steps together, or has one stage only.
    """

    kind: Literal["step", "line", "cached", "done", "error"]
    text: str
    step: int = 0
    steps: int = 0
    stage: str = ""
    seconds: float | None = None


class KnownCause(msgspec.Struct, frozen=True, kw_only=True):
    """What a failure usually means, and what to do about it: each remedy is one way."""

    title: str
    remedy: tuple[str, ...]


class BuildOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a build ended. `failed_step` and `last_lines` are set when it failed; `causes` what that usually means.

    `cached_steps` of `total_steps` came from the cache. `argv` is the command as run, empty for the classic builder,
    which is driven through the daemon's API.
    """

    ok: bool
    image_id: str = ""
    builder: BuilderKind
    argv: tuple[str, ...] = ()
    seconds: float = 0.0
    total_steps: int = 0
    cached_steps: int = 0
    failed_step: str = ""
    last_lines: tuple[str, ...] = ()
    causes: tuple[KnownCause, ...] = ()
    log: str = ""


OnEvent = Callable[[BuildEvent], None]

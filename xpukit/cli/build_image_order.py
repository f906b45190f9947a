"""From the options of `build-image` to a rendered recipe."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from xpukit.core.errors import UsageError
from xpukit.facts.recipes import Recipe, SettingValue, load_recipe
from xpukit.images.build import BuilderKind, Rendered
from xpukit.images.render import render_recipe
from xpukit.images.sources import Sources

if TYPE_CHECKING:
    from xpukit.cli.session import Session
    from xpukit.host.door import Host
    from xpukit.images.lock import Lock

_CA_NAMES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT")
_BUILDERS = ("auto", "buildx", "buildkit", "classic")
# What is rendered where no machine is looked at.
_USUAL_BUILDER: BuilderKind = "buildkit"


class ImageOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The options as given."""

    recipe: str
    variant: str = ""
    given: tuple[str, ...] = ()
    settings_file: Path | None = None
    interactive: bool = False
    builder: str = "auto"
    base_image: str = ""
    wheelhouse: Path | None = None
    apt_repo: str = ""
    ca_bundle: str = ""
    network: str = ""
    lock: Path | None = None
    tags: tuple[str, ...] = ()
    no_cache: bool = False
    pull: bool = False
    no_smoke: bool = False
    force: bool = False
    output: Path | None = None


class ResolvedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The recipe with all its settings, ready to be rendered for a builder."""

    order: ImageOrder
    recipe: Recipe
    settings: dict[str, SettingValue]

    def render(
        self,
        sources: Sources,
        *,
        kind: str,
        source_date_epoch: int | None = None,
        require_hashes: bool = False,
    ) -> Rendered:
        """The context; `kind` "" is the one that --builder names, else the usual one."""
        named = kind or (self.order.builder if self.order.builder != "auto" else _USUAL_BUILDER)
        return render_recipe(
            self.recipe,
            self.settings,
            builder=msgspec.convert(named, BuilderKind),
            variant=self.order.variant,
            sources=sources,
            source_date_epoch=source_date_epoch,
            require_hashes=require_hashes,
        )


def check_order(order: ImageOrder) -> None:
    """Refuse options that cannot be meant. Raises UsageError."""
    if order.builder not in _BUILDERS:
        near = get_close_matches(order.builder, _BUILDERS, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"--builder {order.builder}: no such builder", hint=f"{meant}one of {', '.join(_BUILDERS)}")
    if order.lock is not None and order.wheelhouse is not None:
        raise UsageError("--lock names its own wheels; leave out --wheelhouse", hint="they lie beside the lock")
    if order.apt_repo:
        from xpukit.images.settings import refuse_secret

        hint = "an address without a password, or a folder: --apt-repo DIR"
        refuse_secret("its address", order.apt_repo, source="--apt-repo", hint=hint)
    for tag in order.tags:
        if tag.endswith(":latest"):
            raise UsageError(f"--tag {tag}: latest says nothing about what is inside", hint="name a version")


def resolve_order(session: Session, order: ImageOrder) -> ResolvedOrder:
    """Load the recipe and settle its settings, asking for them where that is wanted. Raises UsageError."""
    from xpukit.images.prompt import ask_settings, ask_variant, write_command
    from xpukit.images.settings import check_value, refuse_secret, resolve_settings

    recipe = load_recipe(order.recipe)
    if order.interactive and recipe.variants and not order.variant:
        order = msgspec.structs.replace(order, variant=ask_variant(recipe, read_line=_read_line, say=session.say))
    settings = resolve_settings(recipe, variant=order.variant, file=order.settings_file, given=order.given)
    if order.base_image and "base_image" in settings:
        setting = recipe.settings["base_image"]
        refuse_secret("base_image", order.base_image, source="--base-image")
        settings["base_image"] = check_value(setting, "base_image", order.base_image, source="--base-image")
    if order.interactive:
        settings = ask_settings(recipe, settings, read_line=_read_line, say=session.say)
        plain = resolve_settings(recipe, variant=order.variant)
        session.say(f"the same without asking: {write_command(order.recipe, order.variant, plain, settings)}")
        if "base_image" in settings:  # it was asked for with the option's value as its default
            order = msgspec.structs.replace(order, base_image="")
    return ResolvedOrder(order=order, recipe=recipe, settings=settings)


def make_sources(order: ImageOrder, *, lock: Lock | None = None, ca_bundle: Path | None = None) -> Sources:
    """Where packages come from. `ca_bundle` is the one found on this host, used where none was given."""
    from xpukit.images import lock as locks

    fields: dict[str, Any] = {}
    if lock is not None and order.lock is not None:
        folder = order.lock.parent
        fields["hashes"] = locks.hashes_of(lock)
        if lock.of_kind("file"):
            fields["files"] = folder / locks.FILES_DIR
        if lock.of_kind("wheel"):
            fields["wheelhouse"] = folder / locks.WHEELS_DIR
            fields["wheel_names"] = locks.wheel_names(lock)
        if (debs := locks.find_debs(lock, folder)) is not None:
            fields["apt_repo"] = str(debs)
    if order.ca_bundle == "none":
        ca_bundle = None
    elif order.ca_bundle:
        ca_bundle = Path(order.ca_bundle)
        if not ca_bundle.is_file():
            raise UsageError(f"--ca-bundle {ca_bundle}: no such file", hint="name a PEM file, or none")
    return Sources(
        wheelhouse=fields.pop("wheelhouse", order.wheelhouse),
        apt_repo=order.apt_repo or fields.pop("apt_repo", ""),
        ca_bundle=ca_bundle,
        base_image=order.base_image,
        network=order.network,
        **{name: value for name, value in fields.items() if name != "apt_repo"},
    )


def find_ca_bundle(session: Session, host: Host, order: ImageOrder) -> Path | None:
    """The CA bundle that programs on this host are told to use, if any; says so."""
    if order.ca_bundle:
        return None
    for name in _CA_NAMES:
        value = host.env(name).value
        if value and host.exists(value):
            session.say(f"this host trusts {value} ({name}): so does the build (--ca-bundle none: not)")
            return Path(value)
    return None


def read_epoch(host: Host) -> int | None:
    """SOURCE_DATE_EPOCH of this environment, None where it is not set. Raises UsageError for what is no time."""
    value = host.env("SOURCE_DATE_EPOCH").value
    if not value:
        return None
    # 253402300799 is the last second of the year 9999.
    if not value.isdecimal() or int(value) > 253402300799:
        raise UsageError(f"SOURCE_DATE_EPOCH={value!r} is no time", hint="seconds since 1970, e.g. of the last commit")
    return int(value)


def _read_line(prompt: str) -> str:
    print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        print(file=sys.stderr)
        raise EOFError
    return line

"""`xpukit build-image`: what is asked for. The build itself is in build_image_run.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xpukit.cli import build_image_diff
from xpukit.cli.build_image_group import BUILD, BuildCommand, BuildImageGroup
from xpukit.cli.session import JsonOption, current_session
from xpukit.core.errors import ExitCode, UsageError

HELP = "Build a serving image from a recipe, test it, and keep account of what is in it."
EPILOG = "`xpukit build-image diff A B` says what changed between two images (see its --help)."

app = typer.Typer(cls=BuildImageGroup, rich_markup_mode=None, add_completion=False)
app.command("diff", help=build_image_diff.HELP)(build_image_diff.build_image_diff)


@app.command(BUILD, cls=BuildCommand, hidden=True, help=HELP, epilog=EPILOG)
def build_image(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="A recipe's name, or the folder of your own (with a /).")
    ] = None,
    json: JsonOption = False,
    list_only: Annotated[bool, typer.Option("--list", help="List the recipes.")] = False,
    show: Annotated[
        str | None, typer.Option("--show", metavar="RECIPE", help="Settings, variants, pins, what is fetched.")
    ] = None,
    variant: Annotated[str, typer.Option("--variant", metavar="NAME", help="A named set of settings.")] = "",
    given: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; may be repeated.")
    ] = None,
    settings_file: Annotated[
        Path | None, typer.Option("--settings", metavar="FILE", help="Settings from a TOML file; --set goes before.")
    ] = None,
    interactive: Annotated[bool, typer.Option("--interactive", "-i", help="Ask for each setting.")] = False,
    print_only: Annotated[
        bool, typer.Option("--print", help="Print the rendered Dockerfile; looks at no machine.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the build command and the context's files.")
    ] = False,
    context: Annotated[
        Path | None, typer.Option("--context", metavar="DIR", help="Write the build context there; build nothing.")
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", "-t", metavar="NAME[:TAG]", help="Default xpukit/<recipe>:<version>-<hash>. Repeatable."),
    ] = None,
    builder: Annotated[str, typer.Option("--builder", help="auto, buildx, buildkit or classic.")] = "auto",
    base_image: Annotated[str, typer.Option("--base-image", metavar="IMAGE", help="Start from this image.")] = "",
    wheelhouse: Annotated[
        Path | None, typer.Option("--wheelhouse", metavar="DIR", help="Python packages come from this folder only.")
    ] = None,
    apt_repo: Annotated[
        str, typer.Option("--apt-repo", metavar="DIR|URL", help="Debian packages come from this repository only.")
    ] = "",
    ca_bundle: Annotated[
        str,
        typer.Option(
            "--ca-bundle", metavar="FILE|none", help="Trusted during the build; default: what this host uses."
        ),
    ] = "",
    network: Annotated[str, typer.Option("--network", metavar="MODE", help="Of RUN steps: none, host, ...")] = "",
    fetch: Annotated[
        Path | None, typer.Option("--fetch", metavar="DIR", help="Collect there what an offline build needs.")
    ] = None,
    lock: Annotated[
        Path | None, typer.Option("--lock", metavar="FILE", help="Build only from what this lock names, unchanged.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every step again.")] = False,
    pull: Annotated[bool, typer.Option("--pull", help="Ask the registry for the base image again.")] = False,
    no_smoke: Annotated[bool, typer.Option("--no-smoke", help="Do not run the finished image.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Go on where this host does not fit the image.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Where log, context and reports are kept.")
    ] = None,
) -> int:
    """Look, or build."""
    session = current_session()
    session.take(json=json)
    actions: dict[str, object] = {"--list": list_only, "--show": show, "--print": print_only, "--dry-run": dry_run}
    actions |= {"--context": context, "--fetch": fetch}
    chosen = [name for name, value in actions.items() if value]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} exclude each other", hint="choose one")
    from xpukit.cli.build_image_tables import print_recipes, show_recipe

    if list_only:
        return print_recipes(session)
    if show is not None:
        if recipe not in (None, show):
            raise UsageError(f"--show {show}: a recipe was named too: {recipe}", hint="name one")
        return show_recipe(session, show)
    if recipe is None:
        raise UsageError("no recipe was named", hint="see: xpukit build-image --list")
    from xpukit.cli.build_image_order import ImageOrder, check_order, make_sources, resolve_order

    order = ImageOrder(
        recipe=recipe,
        variant=variant,
        given=tuple(given or ()),
        settings_file=settings_file,
        interactive=interactive,
        builder=builder,
        base_image=base_image,
        wheelhouse=wheelhouse,
        apt_repo=apt_repo,
        ca_bundle=ca_bundle,
        network=network,
        lock=lock,
        tags=tuple(tag or ()),
        no_cache=no_cache,
        pull=pull,
        no_smoke=no_smoke,
        force=force,
        output=output,
    )
    check_order(order)
    resolved = resolve_order(session, order)
    if print_only:
        print(resolved.render(make_sources(order), kind="").dockerfile, end="")
        return int(ExitCode.OK)
    session.require_live("build-image")
    from xpukit.cli import build_image_run

    if fetch is not None:
        return build_image_run.run_fetch(session, resolved, fetch)
    if context is not None:
        return build_image_run.write_out_context(session, resolved, context)
    if dry_run:
        return build_image_run.print_dry_run(session, resolved)
    return build_image_run.run_build(session, resolved)

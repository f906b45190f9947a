"""`build-image RECIPE` and `build-image diff A B` under one name: what is no subcommand is for the build."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

BUILD = "build"


class BuildImageGroup(TyperGroup):
    """A group whose first argument may also be a recipe: then the hidden command `build` gets all of them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands or args[0] == BUILD:
            args = [BUILD, *args]
        return super().parse_args(ctx, args)


class BuildCommand(TyperCommand):
    """The hidden command, which shows itself under its group's name."""

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        pieces = self.collect_usage_pieces(ctx)
        formatter.write_usage(ctx.parent.command_path, " ".join(pieces))

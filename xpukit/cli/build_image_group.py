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


# Of click, or of the copy of click inside newer typers.
_Context: Any = TyperCommand.context_class


class _BuildContext(_Context):  # type: ignore[misc]
    """The hidden command's, under its group's name: so it stands in its usage and in hints."""

    @property
    def command_path(self) -> str:
        return str(self.parent.command_path)


class BuildCommand(TyperCommand):
    """The hidden command, which shows itself under its group's name."""

    context_class = _BuildContext

"""`bench MODEL` and `bench log|run|find-limit|stress|context` under one name: what is no subcommand is a model."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

PRINT = "print"
# The subcommands as options, for who looks for them there.
_SPELLINGS = {
    "--log": "log",
    "--run": "run",
    "--find-limit": "find-limit",
    "--stress": "stress",
    "--context": "context",
}


class BenchGroup(TyperGroup):
    """A group whose first argument may also be a model: then the hidden command `print` gets all of them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] in _SPELLINGS:
            args = [_SPELLINGS[args[0]], *args[1:]]
        if not args or args[0] not in self.commands or args[0] == PRINT:
            args = [PRINT, *args]
        return super().parse_args(ctx, args)

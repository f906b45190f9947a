"""Several machines joined by Ray, the engine installed on each: a script a machine, one for before, one for the end."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.core.errors import UsageError
from xpukit.serve.forms import FormFile, FormOptions
from xpukit.serve.forms.machines import list_machines, write_preflight
from xpukit.serve.forms.quoting import quote_word
from xpukit.serve.forms.scripts import name_ids, write_machine_scripts
from xpukit.serve.plan_types import Plan

NAME = "ray"
SUMMARY = "several machines joined by Ray: a script for each, one before, and one to end it"
ALIASES = ()
NEEDS_IMAGE = False


def render(plan: Plan, options: FormOptions) -> tuple[FormFile, ...]:
    """A script for each machine, started in any order: workers wait for the head, the engine for all machines.

    Raises UsageError for a plan that does without Ray.
    """
    parts = list_machines(plan)
    if not all(part.ray for part in parts):
        hint = "--nodes A,B with --executor ray; --form shell writes what this plan starts"
        raise UsageError("this plan starts no Ray: its machines do without, or there is one only", hint=hint)
    files = write_machine_scripts(plan, options, keep_ids=True)
    return (
        *files,
        write_preflight(plan, options, "ray"),
        FormFile(name=f"{options.name}-teardown.sh", text=_write_end(options), executable=True),
    )


def _write_end(options: FormOptions) -> str:
    head, tail = (quote_word(part) for part in name_ids(options, 0).rsplit("0", 1))
    return f"""#!/bin/bash
# Ends what this machine's script started, and only that (`ray stop` would end other people's Ray too). Run it in the
# directory in which the script was run.
for file in {head}*{tail}; do
  [ -e "$file" ] || continue
  kill -TERM "$(cat "$file")" 2>/dev/null
  rm -f -- "$file"
done
"""


def start(names: Sequence[str]) -> tuple[str, ...]:
    """By hand, one script on each machine."""
    del names
    return ()

"""Does the engine get the same environment and arguments however its container is started?"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from xpukit.core.json_document import BAD_JSON
from xpukit.facts.recipes import Recipe
from xpukit.images.smoke_report import EnvironmentDifference, SmokeCheck

MARK = "XPUKIT-ENVIRONMENT "
# Compose is one more where the host has it.
WAYS = ("run", "exec", "entrypoint")
# What differs between containers, shells and our own looking, whatever the image does.
_IGNORED = re.compile(r"^(HOSTNAME|HOME|PWD|OLDPWD|SHLVL|_|TERM|PYTHONPATH|XPUKIT_SAY_ENVIRONMENT|LC_CTYPE)$")
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|CREDENTIAL", re.IGNORECASE)


def judge_environments(recipe: Recipe, outputs: dict[str, str]) -> tuple[SmokeCheck, tuple[EnvironmentDifference, ...]]:
    """Whether the engine saw the same variables in all ways that were tried."""
    name = "same-environment"
    if not recipe.answers.version_argv:
        return SmokeCheck(name=name, verdict="not-applicable", said="the image has no engine"), ()
    ways = (*WAYS, *(way for way in outputs if way not in WAYS))
    found = {way: find_environment(outputs.get(way, "")) for way in ways}
    silent = [way for way, environment in found.items() if environment is None]
    if recipe.answers.engine == "none" and len(silent) == len(found):
        said = "no Python program to ask; where nothing is sourced, all that it sees is the image's ENV"
        return SmokeCheck(name=name, verdict="not-applicable", said=said), ()
    if silent:
        said = f"not seen when started by {', '.join(silent)} (no Python engine, a failed start or a remote daemon)"
        return SmokeCheck(name=name, verdict="unknown", said=said), ()
    differences = compare_environments({way: environment or {} for way, environment in found.items()})
    if differences:
        said = ", ".join(difference.name for difference in differences)
        return SmokeCheck(name=name, verdict="fail", said=f"differs: {said}"), differences
    count = len(found["run"] or {})
    return SmokeCheck(name=name, verdict="pass", said=f"{count} variables, by {', '.join(ways)}"), ()


def find_environment(output: str) -> dict[str, str] | None:
    """The environment that the last Python process of the output said it has; None where none did."""
    found: dict[str, str] | None = None
    for line in output.splitlines():
        if line.startswith(MARK):
            try:
                _, environment = json.loads(line[len(MARK) :])
            except (TypeError, *BAD_JSON):
                continue
            if isinstance(environment, dict):
                found = {str(key): str(value) for key, value in environment.items()}
    return found


def compare_environments(ways: Mapping[str, Mapping[str, str]]) -> tuple[EnvironmentDifference, ...]:
    """Variables that are not the same in all ways, by name; values of secrets are not shown."""
    names = sorted({name for environment in ways.values() for name in environment if not _IGNORED.match(name)})
    differences = []
    for name in names:
        values = {way: environment.get(name, "") for way, environment in ways.items()}
        if len(set(values.values())) > 1:
            if _SECRET.search(name):
                values = {way: "(set)" if value else "" for way, value in values.items()}
            differences.append(EnvironmentDifference(name=name, values=values))
    return tuple(differences)


def strip_marks(output: str) -> str:
    """The output without our own lines."""
    return "\n".join(line for line in output.splitlines() if not line.startswith(MARK)).strip()


def parse_check_lines(output: str, rc: int) -> list[tuple[str, bool, str]]:
    """(name, ok, why) of check.sh's lines "ok NAME" and "failed NAME: why"; the exit code when there are none."""
    rows = []
    for line in output.splitlines():
        match = re.match(r"^(ok|failed) ([^\s:]+)(?::\s*(.*))?$", line.strip())
        if match:
            rows.append((match[2], match[1] == "ok", match[3] or ""))
    if rc != 0 and all(ok for _, ok, _ in rows):
        last = (output.strip().splitlines() or [""])[-1]
        rows.append(("exit-code", False, f"check.sh ended with {rc}: {last}"[:300]))
    return rows

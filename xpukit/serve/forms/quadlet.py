"""Quadlet files (`.container`) for Podman 4.4 and later: its own keys where every version has them, else PodmanArgs."""

from __future__ import annotations

from collections.abc import Sequence

from xpukit.core.errors import UsageError
from xpukit.facts.launch_forms import load_launch_forms
from xpukit.serve.forms import FormFile, FormOptions
from xpukit.serve.forms.container import ContainerLaunch, list_containers, write_health_check
from xpukit.serve.forms.environment_file import list_checks, name_place, write_environment_file
from xpukit.serve.forms.heading import list_heading, list_reasons
from xpukit.serve.forms.quoting import join_words
from xpukit.serve.forms.unit_text import (
    continue_unit_lines,
    escape_text,
    join_command,
    quote_command_word,
    quote_setting_word,
)
from xpukit.serve.plan_types import Plan

NAME = "quadlet"
SUMMARY = "Quadlet .container files for Podman 4.4 and later"
ALIASES = ("podman-systemd",)
NEEDS_IMAGE = True
# Options of `podman run` with a key of their own.
_KEYS = {
    "--name": "ContainerName",
    "--device": "AddDevice",
    "--cap-add": "AddCapability",
    "--cap-drop": "DropCapability",
    "--publish": "PublishPort",
    "--network": "Network",
}
# Quadlet does these itself, or systemd does.
_OWN = ("--rm", "--detach", "--restart")


def render(plan: Plan, options: FormOptions) -> tuple[FormFile, ...]:
    """A file a container, and one for values that are passed."""
    containers = list_containers(plan, options, engine="podman")
    if any("" in one.run.arguments for one in containers):
        # Seen with Podman 5.4: an empty word ends Exec= for its generator.
        raise UsageError(
            "Quadlet drops an empty word of a command and all after it",
            hint="write a flag and its empty value as one word (--flag=), or --form systemd",
        )
    files = [_write_file(plan, one, options) for one in containers]
    return (*files, *write_environment_file((variable for one in containers for variable in one.passed), options))


def _write_file(plan: Plan, one: ContainerLaunch, options: FormOptions) -> FormFile:
    lines: list[str] = []
    if options.comments:
        reasons = dict.fromkeys(reason for launch in one.launches for reason in list_reasons(launch, inside=True))
        notes = (f"note: {note}" for note in one.run.notes)
        lines = [f"# {line}" for line in (*list_heading(plan), *reasons, *notes)]
    lines += ["[Unit]", f"Description={escape_text(f'{plan.model.id or plan.model.asked} ({one.name})')}"]
    lines += ["StartLimitIntervalSec=1h", "StartLimitBurst=5", "", "[Container]"]
    lines.append(f"Image={quote_setting_word(one.run.image)}")
    said: set[str] = set()
    for option in one.run.options:
        if option.words[0] in _OWN:
            continue
        if options.comments and option.reason not in said:
            lines.append(f"# {option.reason}" + (f" ({option.source})" if option.source else ""))
            said.add(option.reason)
        lines.append(_write_option(option.words))
    if one.health_port is not None:
        lines += _write_health(one.health_port, comments=options.comments)
    if one.run.arguments:
        lines.append(f"Exec={continue_unit_lines([quote_command_word(word) for word in one.run.arguments])}")
    lines += ["", "[Service]", *(["Restart=on-failure", "RestartSec=10"] if options.restart else [])]
    # Type=notify: the start ends when the container runs; the image may have to be fetched before.
    lines += ["TimeoutStartSec=infinity", f"TimeoutStopSec={load_launch_forms().stop.grace_s + 30}"]
    if one.passed:
        lines.append(f"EnvironmentFile=-{quote_setting_word(name_place(options))}")
        lines += list_checks(one.passed)
    lines += ["", "[Install]", "WantedBy=multi-user.target default.target"]
    return FormFile(name=f"{one.name}.container", text="\n".join(lines) + "\n")


def _write_option(words: Sequence[str]) -> str:
    name = words[0]
    if name == "--init":
        return "RunInit=true"
    if name == "--security-opt" and words[1] == "no-new-privileges":
        return "NoNewPrivileges=true"
    if name == "--env" and "=" in words[1]:
        # Quadlet writes it into ExecStart=, where systemd would fill in variables.
        return f"Environment={quote_command_word(words[1])}"
    if name in _KEYS:
        return f"{_KEYS[name]}={quote_command_word(words[1])}"
    return f"PodmanArgs={join_command(words)}"


def _write_health(port: int, *, comments: bool) -> list[str]:
    """By podman's options: the keys came later than Quadlet. Podman hands the text to a shell."""
    fact = load_launch_forms().health
    words = ("--health-cmd", join_words(write_health_check(port)))
    times = ("--health-interval", f"{fact.interval_s}s", "--health-timeout", f"{fact.timeout_s}s")
    rest = ("--health-retries", str(fact.retries), "--health-start-period", f"{fact.start_s}s")
    lines = [f"# {fact.why}"] if comments else []
    return [*lines, f"PodmanArgs={join_command(words)}", f"PodmanArgs={join_command((*times, *rest))}"]


def start(names: Sequence[str]) -> tuple[str, ...]:
    """systemctl starts what was put in /etc/containers/systemd."""
    del names
    return ()

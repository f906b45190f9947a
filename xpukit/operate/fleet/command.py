"""What is run on every host: a command of xpukit whose answer is one document."""

from __future__ import annotations

import base64
import shlex
from pathlib import Path

import msgspec

from xpukit.core.errors import UsageError

_MOST_FILE_BYTES = 1 << 20


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """A command that can be sent. `document`: what its JSON is called; `added`: words that xpukit adds;
    `collect`: patterns of files that come back too; `limit_s`: how long it may take unless said otherwise."""

    schema: str
    document: str
    added: tuple[str, ...] = ("--json",)
    collect: tuple[str, ...] = ()
    limit_s: float = 300.0


ROOMS = {
    "probe": Room(schema="xpukit.probe/1", document="probe.json", limit_s=120),
    "doctor": Room(schema="xpukit.doctor/1", document="doctor.json"),
    "sysinfo": Room(
        schema="xpukit.sysinfo/1",
        document="sysinfo.json",
        added=("--json", "--output", "."),
        collect=("*.tar.*",),
        limit_s=600,
    ),
    "evaluate": Room(
        schema="xpukit.evaluate/1",
        document="results.json",
        added=("--json", "--out", "run"),
        collect=("run/report.md", "run/report.html"),
        limit_s=3600,
    ),
}
# Words that ask for another answer, or for one in another place.
_REFUSED = (
    "--json", "--out", "-o", "--output", "--resume", "--from", "--record", "--log", "--csv", "--csv-file", "--list",
    "--dry-run", "--watch", "--restore-tuning", "--html", "--fix", "show", "diff", "log", "--estimate", "--no-redact",
    "-h", "--help",
)  # fmt: skip


class FleetCommand(msgspec.Struct, frozen=True, kw_only=True):
    """`words` as they were given; `argv` as they are run there; `files`: name -> content, base64."""

    room: str
    words: str
    argv: tuple[str, ...]
    files: dict[str, str]

    @property
    def facts(self) -> Room:
        """What is known of its kind."""
        return ROOMS[self.room]


def read_command(text: str) -> FleetCommand:
    """Check the command and pack the files that it names. Raises UsageError."""
    try:
        words = shlex.split(text)
    except ValueError as err:
        raise UsageError(f"{text!r}: {err}", hint='quote it as one word: "evaluate --suite quick"') from err
    if words[:1] == ["xpukit"]:
        words = words[1:]
    if not words or words[0] not in ROOMS:
        known = ", ".join(ROOMS)
        raise UsageError(f"{text!r} is none of {known}", hint='for example: xpukit fleet run "probe" --hosts A,B')
    refused = [word for word in words[1:] if word.partition("=")[0] in _REFUSED]
    if refused:
        hint = "the fleet's run decides where answers go, and in what form"
        raise UsageError(f"{refused[0]}: not in a command for a fleet", hint=hint)
    files: dict[str, str] = {}
    argv = [_pack_file(word, files) for word in words[1:]]
    return FleetCommand(
        room=words[0], words=shlex.join(words), argv=(words[0], *argv, *ROOMS[words[0]].added), files=files
    )


def _pack_file(word: str, files: dict[str, str]) -> str:
    """A word that names a file here (a suite, rules, references) goes along and is named as it is called there."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    path = Path(value)
    if not ("/" in value or path.suffix in (".toml", ".csv", ".json")) or not path.is_file():
        return word
    content = path.read_bytes()
    if len(content) > _MOST_FILE_BYTES:
        raise UsageError(f"{path}: larger than 1 MiB", hint="copy it to the hosts, and name it where it lies there")
    if path.name in files:
        raise UsageError(f"{path}: two files of one name", hint="rename one")
    files[path.name] = base64.b64encode(content).decode()
    return f"{option}{equals}{path.name}"

"""What a command gets from the global options: the machine to look at and the way to speak."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xpukit.core.errors import OutputError, UsageError

if TYPE_CHECKING:
    from xpukit.host import Host
    from xpukit.host.recording import RecordingHost
    from xpukit.host.redaction.pseudonyms import PseudonymMap
    from xpukit.host.redaction.redactor import Redactor

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
FromOption = Annotated[
    Path | None,
    typer.Option("--from", metavar="BUNDLE", help="Look at a recording (directory or archive), not at this machine."),
]


class Session:
    """The global options of one invocation and what was opened for it."""

    def __init__(self) -> None:
        self.json = False
        self.source: Path | None = None
        self.record: Path | None = None
        self.redact = False
        self.verbose = 0
        self.debug = False
        self.no_color = False
        self.argv: Sequence[str] = ()
        # The command's name, for what a recording made by it covers.
        self.command = ""
        self._host: Host | None = None
        self._recording: RecordingHost | None = None
        self._redactor: Redactor | None = None

    def take(self, *, json: bool = False, source: Path | None = None) -> None:
        """Global options may stand before or after the command's name."""
        self.json = self.json or json
        if source is not None:
            if self.source is not None and self.source != source:
                raise UsageError("--from was given twice", hint="name one recording")
            self.source = source

    def open_host(self) -> Host:
        """The machine: live, recorded while asked, or replayed."""
        if self._host is None:
            self._host = self._make_host()
        return self._host

    def open_state(self) -> Host:
        """The same machine, asked for what earlier commands left on it: a recording of others need not hold that."""
        from xpukit.host.replay import LenientView, ReplayHost

        host = self.open_host()
        return LenientView(host) if isinstance(host, ReplayHost) else host

    def _make_host(self) -> Host:
        if self.source is not None:
            if self.record is not None:
                raise UsageError("--record and --from exclude each other", hint="copy the recording instead")
            from xpukit.host.replay import ReplayHost

            replay = ReplayHost(self.source, command=self.command, names=self._load_names())
            if self.verbose and replay.has_real_names:
                self.say(f"{self.source}: made on this host: real names are put back (--redact leaves them out)")
            if not replay.manifest.complete:
                self.warn(f"{self.source}: the recording was cut short; some answers may be missing")
            if replay.damaged_lines:
                self.warn(f"{self.source}: {replay.damaged_lines} answers are damaged and were passed over")
            return replay
        return self._open_live()

    def _open_live(self) -> Host:
        from xpukit.host.live import LiveHost

        live = LiveHost()
        if self.record is None and not self.redact:
            return live
        from xpukit.host.recording import RecordingHost
        from xpukit.host.redacting import RedactingHost
        from xpukit.host.redaction.local_names import read_local_users
        from xpukit.host.redaction.redactor import Redactor

        self._redactor = Redactor(live.identity(), known=self._load_names(even_redacted=True), users=read_local_users())
        host: Host = live
        if self.record is not None:
            covers = (self.command,) if self.command else ()
            command = ("xpukit", *self.argv)
            self._recording = RecordingHost(live, self.record, command=command, scrub=self._redactor, covers=covers)
            host = self._recording
        return RedactingHost(host, self._redactor) if self.redact else host

    def _load_names(self, *, even_redacted: bool = False) -> PseudonymMap | None:
        """This host's map; None where names are not wanted back."""
        if self.redact and not even_redacted:
            return None
        from xpukit.host.redaction.pseudonyms import default_map_path, load_map

        return load_map(default_map_path())

    def _keep_names(self) -> None:
        """Save the map, so that the next recording uses the same names. A failure is only said."""
        if self._redactor is None:
            return
        from xpukit.host.redaction.pseudonyms import default_map_path, save_map

        try:
            save_map(default_map_path(), self._redactor.map)
        except OutputError as err:
            self.warn(f"the map of pseudonyms was not kept: {err.message}")

    def require_live(self, command: str) -> None:
        """Raise UsageError when the command needs a real machine and was given a recording."""
        if self.source is not None:
            raise UsageError(f"{command} measures a real machine; --from gives a recorded one", hint="leave --from out")

    def close(self) -> None:
        """Finish a recording; say what a replay could not answer."""
        if self._host is None:
            return
        from xpukit.host.replay import ReplayHost

        if self._recording is not None:
            self._recording.close()
            self.say(f"recorded to {self._recording.directory}")
        self._keep_names()
        if isinstance(self._host, ReplayHost) and self._host.misshapen:
            first = next(iter(self._host.misshapen.values()))
            self.warn(f"{self.source}: {len(self._host.misshapen)} answers are damaged and were passed over: {first}")
        if isinstance(self._host, ReplayHost) and self._host.unrecorded:
            count = len(set(self._host.unrecorded))
            version = self._host.manifest.xpukit_version
            self.warn(f"the recording (made by xpukit {version}) does not hold {count} answers asked for now")
            if self.verbose:
                for question in sorted(set(self._host.unrecorded)):
                    self.say("  not recorded: " + " ".join(question))

    def say(self, text: str) -> None:
        """Talk, to standard error."""
        print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        self.say(f"warning: {text}")

    def print_json(self, document: dict[str, Any]) -> None:
        from xpukit.core.json_document import encode_json

        sys.stdout.write(encode_json(document))

    @property
    def color(self) -> bool:
        """Colour only on a terminal that did not ask for none."""
        from xpukit.host.terminal import wants_color

        return not self.no_color and wants_color(sys.stdout)


SESSION = Session()


def current_session() -> Session:
    """The session of this invocation."""
    return SESSION


def reset_session() -> Session:
    """A fresh session (the start of an invocation)."""
    SESSION.__init__()  # type: ignore[misc]
    return SESSION

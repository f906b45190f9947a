"""What a build shows while it runs: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from xpukit.core.units import format_seconds
from xpukit.images.build import BuildEvent

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

SHOWN_LINES = 4
# An instruction over many lines is one long line here; the log has all of it.
_INSTRUCTION_CHARS = 160
_END = re.compile(
    r".*executor failed running \[.*\]: exit code: (\d+)"
    r"|(?:.*process \".*\" did not complete successfully|The command '.*' returned a non-zero code)"
    r": (?:exit code: )?(\d+)",
    re.DOTALL,
)


class BuildState:
    """What is known of a running build from its events; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = clock()
        self._step_begun = self._begun
        self.position = ""
        self.text = ""
        self.cached = 0
        self.done = 0
        self.failed = ""
        self.lines: deque[str] = deque(maxlen=SHOWN_LINES)

    def take(self, event: BuildEvent) -> None:
        if event.kind == "step":
            self._step_begun = self._clock()
            self.position = describe_position(event)
            self.text = shorten_instruction(event.text)
            self.lines.clear()
        elif event.kind == "line":
            self.lines.append(event.text)
        elif event.kind == "cached":
            self.cached += 1
        elif event.kind == "done":
            self.done += 1
        elif event.kind == "error":
            self.failed = event.text

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._begun

    @property
    def step_s(self) -> float:
        return self._clock() - self._step_begun


class BuildProgress:
    """An `on_event` for `build_image`: live where the console is a terminal, else a line for each step.

    With `verbose` the plain form prints the output of the steps, too; the full log is in a file either way.
    """

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        from rich.live import Live

        self._console = console
        self._verbose = verbose
        self.state = BuildState()
        self._live = Live(self, console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> BuildProgress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: BuildEvent) -> None:
        self.state.take(event)
        line = describe_event(event, verbose=self._verbose)
        if self._live is None:
            if line:
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        elif event.kind == "error" or (event.kind == "done" and event.step):
            # What has ended stays above the live part, shortened to a line of the terminal.
            self._live.console.print(line, markup=False, highlight=False, no_wrap=True, overflow="ellipsis", crop=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        state = self.state
        clock = f"{format_clock(state.step_s)} of {format_clock(state.elapsed_s)}"
        head = f"{state.position} {state.text}".strip() or "starting"
        yield Text(head, style="bold", no_wrap=True, overflow="ellipsis")
        yield Text(f"  {clock}, {state.done} done, {state.cached} from the cache; Ctrl-C cancels", style="dim")
        for line in state.lines:
            yield Text(f"  {line}", style="dim", no_wrap=True, overflow="ellipsis")


def describe_position(event: BuildEvent) -> str:
    """'[runtime 3/9]', as BuildKit counts in each stage, or '[3/9]'; "" for what has no number."""
    stage = f"{event.stage} " if event.stage else ""
    return f"[{stage}{event.step}/{event.steps}]" if event.step else ""


def shorten_instruction(text: str) -> str:
    """One line without mounts and runs of spaces, cut at 160 characters."""
    line = " ".join(word for word in text.split() if not word.startswith("--mount="))
    return line if len(line) <= _INSTRUCTION_CHARS else f"{line[: _INSTRUCTION_CHARS - 1]}…"


def shorten_end(line: str) -> str:
    """The builders end with the whole instruction again and its exit code: only the latter is new."""
    found = _END.fullmatch(line)
    return f"exit code {found[1] or found[2]}" if found else line


def format_clock(seconds: float) -> str:
    """Tenths of a second below a minute: a running clock must not change its unit at each step."""
    return f"{seconds:.1f} s" if seconds < 60 else format_seconds(seconds)


def describe_event(event: BuildEvent, *, verbose: bool = False) -> str:
    """The plain line of an event, "" for one that is not shown."""
    position = describe_position(event)
    lead = f"{position} " if position else ""
    if event.kind == "step":
        return f"{lead}{shorten_instruction(event.text)}"
    if event.kind == "cached":
        return f"{lead}from the cache"
    if event.kind == "done":
        return f"{lead}done" + (f" in {format_clock(event.seconds)}" if event.seconds is not None else "")
    if event.kind == "error":
        return f"{lead}failed: {shorten_end(event.text)}"
    return f"{lead}| {event.text}" if verbose else ""

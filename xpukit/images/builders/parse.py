"""What a running build says, as events: pure, tolerant parsers of BuildKit's plain progress and the classic messages.

Steps are the Dockerfile's instructions without FROM, which is no work of the build: a rebuild in which nothing changed
has as many cached steps as steps.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from xpukit.images.build import BuildEvent

LAST_LINES = 20
# Kept of each step for the search for causes.
_KEPT_LINES = 400

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_VERTEX_LINE = re.compile(r"^#(\d+) (.*)$")
_STEP_NAME = re.compile(r"^\[(?:(?P<stage>\S.*?) +)?(?P<step>\d+)/(?P<steps>\d+)\] (?P<text>.*)$")
_DONE = re.compile(r"^DONE (\d+(?:\.\d+)?)s$")
_ERROR = re.compile(r"^ERROR:? ?(.*)$")
_OUTPUT = re.compile(r"^\d+\.\d+ ?(.*)$")
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
_EXIT_CODE = re.compile(r"(?:exit code:|returned a non-zero code:) (\d+)")
_PARSE_ERROR = re.compile(r"dockerfile parse error (?:on )?line (\d+)", re.IGNORECASE)
_IMAGE_ID = re.compile(r"^writing image (sha256:[0-9a-f]{64})")
_CLASSIC_STEP = re.compile(r"^Step (\d+)/(\d+) : (.*)$", re.DOTALL)


class BuildSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the output of a build comes to. `failed_lines` are the lines of the failing step, oldest first."""

    total_steps: int = 0
    cached_steps: int = 0
    image_id: str = ""
    failed_step: str = ""
    failed_lines: tuple[str, ...] = ()
    error: str = ""
    exit_code: int | None = None


class _Vertex:
    def __init__(self, name: str) -> None:
        self.name = name
        found = _STEP_NAME.match(name)
        self.text = found["text"] if found else name
        self.step = int(found["step"]) if found else 0
        self.steps = int(found["steps"]) if found else 0
        self.stage = (found["stage"] or "") if found else ""
        self.counts = found is not None and not _is_from(found["text"])
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.cached = False
        self.ended = False
        self.error = ""


class BuildKitParser:
    """Reads `--progress=plain`, one line at a time."""

    def __init__(self) -> None:
        self._vertices: dict[str, _Vertex] = {}
        self._tail: deque[str] = deque(maxlen=_KEPT_LINES)
        self._image_id = ""

    def feed(self, line: str) -> tuple[BuildEvent, ...]:
        """The events of one line; most often one, or none."""
        text = clean_line(line)
        found = _VERTEX_LINE.match(text)
        if found is None:
            if not text:
                return ()
            self._tail.append(text)
            return (BuildEvent(kind="line", text=text),)
        number, rest = found[1], found[2]
        vertex = self._vertices.get(number)
        if vertex is None:
            vertex = self._vertices[number] = _Vertex(rest)
            kind = "step" if vertex.step else "line"
            return (_make_event(kind, vertex, vertex.text),)
        if rest in (vertex.name, "...", "CANCELED") or _DIGEST.match(rest):
            return ()
        if rest == "CACHED":
            vertex.cached = vertex.ended = True
            return (_make_event("cached", vertex, vertex.text),) if vertex.counts else ()
        if done := _DONE.match(rest):
            vertex.ended = True
            return (_make_event("done", vertex, vertex.text, float(done[1])),) if vertex.step else ()
        if error := _ERROR.match(rest):
            vertex.error = error[1] or "failed"
            return (_make_event("error", vertex, vertex.error),)
        if image := _IMAGE_ID.match(rest):
            self._image_id = image[1]
        output = _OUTPUT.match(rest)
        said = output[1] if output else rest
        vertex.lines.append(said)
        return (_make_event("line", vertex, said),)

    def summarize(self) -> BuildSummary:
        counted = [vertex for vertex in self._vertices.values() if vertex.counts]
        failed = next((vertex for vertex in self._vertices.values() if vertex.error), None)
        plain = [line for line in self._tail if not line.startswith(("---", " > "))]
        # Newer clients add hints after the error; older ones print it without a mark, as the last line.
        marked = [line for line in plain if line.startswith("ERROR: ")]
        error = (marked or plain or [""])[-1].removeprefix("ERROR: ")
        step, lines = "", tuple(self._tail)
        if failed is not None:
            # The last words name the step's error and often say more; after a lost daemon they are about that.
            step, error = failed.name, error if failed.error in error else failed.error
            lines = tuple(failed.lines) or (failed.error,)
        elif parse := _PARSE_ERROR.search(error):
            step = f"Dockerfile line {parse[1]}"
        elif running := [vertex for vertex in self._vertices.values() if not vertex.ended]:
            # No step failed, the builder did (its daemon died): what was being done then.
            step, lines = running[-1].name, (*running[-1].lines, *self._tail)
        code = _EXIT_CODE.search(error)
        return BuildSummary(
            total_steps=len(counted),
            cached_steps=sum(vertex.cached for vertex in counted),
            image_id=self._image_id,
            failed_step=step,
            failed_lines=lines,
            error=error,
            exit_code=int(code[1]) if code else None,
        )


class ClassicParser:
    """Reads the messages of the daemon's build API, one decoded JSON object at a time."""

    def __init__(self) -> None:
        self._step = _Vertex("")
        self._total = 0
        self._cached = 0
        self._ended = False
        self._rest = ""
        self._error = ""
        self._exit_code: int | None = None
        self._image_id = ""

    def feed(self, message: Mapping[str, Any]) -> tuple[BuildEvent, ...]:
        """The events of one message: output comes in pieces, so a line may need several messages."""
        if isinstance(error := message.get("error"), str):
            self._error = error
            detail = message.get("errorDetail")
            code = detail.get("code") if isinstance(detail, Mapping) else None
            self._exit_code = code if isinstance(code, int) else None
            return (*self.finish(), _make_event("error", self._step, clean_line(error)))
        if isinstance(aux := message.get("aux"), Mapping):
            self._image_id = str(aux.get("ID", "")) or self._image_id
            return ()
        if isinstance(status := message.get("status"), str):
            # Progress bars of a pull come hundreds of times; what has ended or begun is enough.
            if message.get("progressDetail"):
                return ()
            layer = message.get("id")
            return self._take_line(f"{layer}: {status}" if layer else status)
        stream = message.get("stream")
        if not isinstance(stream, str):
            return ()
        if found := _CLASSIC_STEP.match(stream.rstrip("\n")):
            return (*self.finish(), *self._begin(int(found[1]), int(found[2]), found[3]))
        *whole, self._rest = (self._rest + stream).split("\n")
        return tuple(event for line in whole for event in self._take_line(line))

    @property
    def current_step(self) -> str:
        """The instruction that was begun last, "" before the first."""
        return self._step.name

    def finish(self) -> tuple[BuildEvent, ...]:
        """The line that was begun and not ended, if any."""
        rest, self._rest = self._rest, ""
        return self._take_line(rest) if rest else ()

    def summarize(self) -> BuildSummary:
        return BuildSummary(
            total_steps=self._total,
            cached_steps=self._cached,
            image_id=self._image_id,
            failed_step=self._step.name if self._error else "",
            failed_lines=tuple(self._step.lines) or ((self._error,) if self._error else ()),
            error=self._error,
            exit_code=self._exit_code,
        )

    def _begin(self, step: int, steps: int, text: str) -> tuple[BuildEvent, ...]:
        text = clean_line(text.replace("\n", " "))
        self._step = _Vertex(f"[{step}/{steps}] {text}")
        self._ended = False
        self._total += self._step.counts
        return (_make_event("step", self._step, text),)

    def _take_line(self, line: str) -> tuple[BuildEvent, ...]:
        text = clean_line(line)
        if text == " ---> Using cache":
            self._step.cached = True
            self._cached += 1
            return (_make_event("cached", self._step, self._step.text),)
        if text.startswith((" ---> Running in ", "Removing intermediate container ")):
            return ()
        if text.startswith(" ---> "):
            # An instruction that runs prints its result after the container's removal; one event is enough.
            if self._ended or self._step.cached:
                return ()
            self._ended = True
            return (_make_event("done", self._step, self._step.text),)
        if not text:
            return ()
        self._step.lines.append(text)
        return (_make_event("line", self._step, text),)


def clean_line(line: str) -> str:
    """A line as it would stand on a screen: no colours; of a progress bar its last state; no control characters."""
    text = _ANSI.sub("", line).rstrip("\r\n ")
    text = text.rsplit("\r", 1)[-1]
    return "".join(char for char in text if char == "\t" or char.isprintable())


def _is_from(instruction: str) -> bool:
    return instruction[:5].upper() == "FROM "


def _make_event(kind: Any, vertex: _Vertex, text: str, seconds: float | None = None) -> BuildEvent:
    return BuildEvent(kind=kind, text=text, step=vertex.step, steps=vertex.steps, stage=vertex.stage, seconds=seconds)

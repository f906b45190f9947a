"""What is shown of a running build."""

from __future__ import annotations

import io

from rich.console import Console

from tests.unit.images.test_builders_parse import read_buildkit
from xpukit.images.build import BuildEvent
from xpukit.images.builders.progress import BuildProgress, BuildState, describe_event, format_clock


def show(name: str, *, terminal: bool, verbose: bool = False) -> tuple[str, BuildProgress]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=60, height=20, _environ={"TERM": "xterm"})
    with BuildProgress(console, verbose=verbose) as progress:
        for event in read_buildkit(name)[1]:
            progress(event)
    return out.getvalue(), progress


def test_plain_lines() -> None:
    text, _ = show("ok", terminal=False)
    assert text.splitlines() == [
        "[one 1/3] FROM registry.example/xpukit-test/debian:12",
        "[one 1/3] done in 0.0 s",
        "[one 2/3] COPY a.txt /a.txt",
        "[one 2/3] done in 0.2 s",
        "[one 3/3] RUN echo made > /made && printf 'first\\nsecond\\n'",
        "[one 3/3] done in 0.2 s",
        "[two 2/3] COPY --from=one /made /made",
        "[two 2/3] done in 0.0 s",
        "[two 3/3] RUN echo to-error >&2 && sleep 1.2 && echo end",
        "[two 3/3] done in 1.5 s",
    ]


def test_plain_lines_with_output() -> None:
    text, _ = show("failing_step", terminal=False, verbose=True)
    assert "3/3] | ls: cannot access '/nonexistent': No such file or directory" in text
    assert "3/3] failed: exit code 2\n" in text
    assert "\x1b" not in text


def test_terminal_view() -> None:
    text, progress = show("cached", terminal=True)
    assert "\x1b[" in text
    assert progress.state.cached == 4
    console = Console(file=io.StringIO(), force_terminal=True, width=60)
    with console.capture() as capture:
        console.print(progress)
    assert "4 from the cache; Ctrl-C cancels" in capture.get()


def test_state_measures_with_the_given_clock() -> None:
    now = [10.0]
    state = BuildState(clock=lambda: now[0])
    now[0] = 15.0
    state.take(BuildEvent(kind="step", text="RUN x", step=2, steps=5))
    now[0] = 18.0
    state.take(BuildEvent(kind="line", text="said"))
    assert (state.elapsed_s, state.step_s, state.position, list(state.lines)) == (8.0, 3.0, "[2/5]", ["said"])
    state.take(BuildEvent(kind="step", text="RUN y", step=3, steps=5))
    assert list(state.lines) == []


def test_markup_in_output_stays_text() -> None:
    out = io.StringIO()
    with BuildProgress(Console(file=out, width=60), verbose=True) as progress:
        progress(BuildEvent(kind="line", text="[bold]not markup[/bold] [/]", step=1, steps=1))
    assert out.getvalue() == "[1/1] | [bold]not markup[/bold] [/]\n"
    assert describe_event(BuildEvent(kind="cached", text="RUN x", step=1, steps=2)) == "[1/2] from the cache"


def test_long_instructions_are_one_short_line() -> None:
    line = describe_event(BuildEvent(kind="step", text="RUN a &&     b " + "x" * 400, step=1, steps=1))
    assert line.startswith("[1/1] RUN a && b xxx")
    assert len(line) == 166


def test_clock_keeps_its_unit() -> None:
    assert (format_clock(0.0), format_clock(59.94)) == ("0.0 s", "59.9 s")
    assert format_clock(61).startswith("1 min")

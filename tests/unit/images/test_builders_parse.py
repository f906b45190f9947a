"""The parsers of build output on what real builds said, and on anything at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.images.build import BuildEvent
from xpukit.images.builders.parse import BuildKitParser, BuildSummary, ClassicParser, clean_line

DATA = Path(__file__).parents[2] / "data" / "builders"


def read_buildkit(name: str) -> tuple[BuildSummary, list[BuildEvent]]:
    parser = BuildKitParser()
    lines = (DATA / f"buildkit_{name}.txt").read_text(encoding="utf-8").splitlines()
    events = [event for line in lines for event in parser.feed(line)]
    return parser.summarize(), events


def read_classic(name: str) -> tuple[BuildSummary, list[BuildEvent]]:
    parser = ClassicParser()
    messages = [json.loads(line) for line in (DATA / f"classic_{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    events = [event for message in messages for event in parser.feed(message)]
    events += parser.finish()
    return parser.summarize(), events


def test_buildkit_success() -> None:
    summary, events = read_buildkit("ok")
    assert (summary.total_steps, summary.cached_steps, summary.failed_step) == (4, 0, "")
    assert summary.image_id == "sha256:c90d83443af13cc07e42c1186d6f60bb62e50a89159557638f975d74f6d60ba5"
    run = [event for event in events if event.text.startswith("RUN echo to-error")]
    assert [(event.kind, event.step, event.steps, event.seconds) for event in run] == [
        ("step", 3, 3, None),
        ("done", 3, 3, 1.5),
    ]
    lines = [event.text for event in events if event.kind == "line" and event.step]
    assert lines == ["first", "second", "to-error", "end"]
    assert not any("sha256:5" in event.text for event in events if event.step)


def test_classic_success_says_the_same() -> None:
    summary, events = read_classic("ok")
    # SHELL, LABEL and CMD are steps here, too; FROM never is.
    assert (summary.total_steps, summary.cached_steps, summary.failed_step) == (7, 0, "")
    assert summary.image_id.startswith("sha256:1b5fb14ecaa6")
    lines = [event.text for event in events if event.kind == "line"]
    assert lines == ["first", "second", "to-error", "end", "Successfully built 1b5fb14ecaa6"]
    done = [event.step for event in events if event.kind == "done"]
    assert done == [1, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("read", [read_buildkit, read_classic])
def test_unchanged_rebuild_is_cached_throughout(read: object) -> None:
    summary, events = read("cached")  # type: ignore[operator]
    assert summary.cached_steps == summary.total_steps > 3
    assert len([event for event in events if event.kind == "cached"]) == summary.cached_steps


def test_failing_step() -> None:
    for summary, events, step in (
        (*read_buildkit("failing_step"), "[two 3/3] RUN echo about to fail && ls /nonexistent"),
        (*read_classic("failing_step"), "[7/9] RUN echo about to fail && ls /nonexistent"),
        (*read_buildkit("newer_failing_step"), "[3/3] RUN ls /nonexistent"),
    ):
        assert summary.failed_step == step
        assert summary.exit_code == 2
        assert summary.failed_lines[-1] == "ls: cannot access '/nonexistent': No such file or directory"
        assert events[-1].kind in ("error", "line")
        assert [event.kind for event in events].count("error") == 1
        assert "exit code: 2" in summary.error or "non-zero code: 2" in summary.error
    assert "View build" not in read_buildkit("newer_failing_step")[0].error


def test_base_that_cannot_be_had() -> None:
    buildkit, _ = read_buildkit("bad_base")
    assert buildkit.failed_step == "[internal] load metadata for registry.invalid/none:1"
    assert "no such host" in buildkit.error
    classic, _ = read_classic("bad_base")
    assert classic.failed_step == "[5/9] FROM xpukit-test/absent:1"
    assert "no such host" in classic.error
    assert classic.failed_lines == (classic.error,)


def test_dockerfile_that_does_not_parse() -> None:
    summary, _ = read_buildkit("bad_syntax")
    assert summary.failed_step == "Dockerfile line 9"
    assert summary.error.endswith("unknown instruction: CDM")
    assert summary.total_steps == 0


def test_daemon_that_died_names_the_step_at_work() -> None:
    summary, _ = read_buildkit("daemon_killed")
    assert summary.failed_step == "[2/2] RUN echo working && sleep 60"
    assert "working" in summary.failed_lines
    assert "did not provide an image ID" in summary.error


def test_classic_output_in_pieces_becomes_lines() -> None:
    parser = ClassicParser()
    parser.feed({"stream": "Step 1/2 : RUN a  && \n  b\n"})
    assert parser.feed({"stream": "\x1b[91mone "}) == ()
    assert [event.text for event in parser.feed({"stream": "line\x1b[0m\ntwo"})] == ["one line"]
    assert [event.text for event in parser.finish()] == ["two"]
    assert parser.finish() == ()


def test_progress_of_a_pull_is_not_repeated() -> None:
    parser = ClassicParser()
    pull = {"status": "Downloading", "id": "ab12", "progressDetail": {"current": 1, "total": 9}, "progress": "[=> ]"}
    assert parser.feed(pull) == ()
    assert parser.feed({"status": "Pull complete", "id": "ab12", "progressDetail": {}})[0].text == "ab12: Pull complete"


def test_clean_line() -> None:
    assert clean_line("\x1b[1;31m10%\r 55%\r\x1b[K100% \x07done  \r\n") == "100% done"
    assert clean_line("\ta") == "\ta"


@given(
    st.lists(st.text(max_size=60) | st.from_regex(r"#\d (DONE|ERROR|CACHED|\[a 1/2\]|\d\.\d) ?.{0,9}", fullmatch=True))
)
def test_buildkit_parser_takes_anything(lines: list[str]) -> None:
    parser = BuildKitParser()
    for line in lines:
        parser.feed(line)
    summary = parser.summarize()
    assert 0 <= summary.cached_steps <= summary.total_steps


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["stream", "error", "errorDetail", "aux", "status", "id", "progressDetail"]),
            JSON,
            max_size=4,
        ),
        max_size=6,
    )
)
def test_classic_parser_takes_anything(messages: list[dict[str, object]]) -> None:
    parser = ClassicParser()
    for message in messages:
        parser.feed(message)
    parser.finish()
    assert parser.summarize().total_steps >= 0

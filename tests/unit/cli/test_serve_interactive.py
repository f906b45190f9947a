"""`serve --interactive` as somebody types it: the answers on standard input, the questions beside the result."""

from __future__ import annotations

import io
import shlex

import pytest

from tests.machines.recorded_machines import RECORDED
from xpukit.cli import app
from xpukit.cli.serve_fit_bar import draw_fit
from xpukit.serve.questions import Fit, Segment


class Terminal(io.StringIO):
    """Standard input that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Typed:
    """Runs a command with typed answers."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.patch, self.capture = patch, capture
        self.out = self.err = ""

    def __call__(self, answers: str, *words: str) -> int:
        self.patch.setattr("sys.stdin", Terminal(answers.replace("|", "\n")))
        code = app.run(["serve", "--interactive", *words])
        self.out, self.err = self.capture.readouterr()
        return code

    @property
    def line(self) -> list[str]:
        """The words of the line that gives the same."""
        after = self.err.split("The same again:\n", 1)[1]
        return shlex.split(after.splitlines()[0])


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(monkeypatch, capsys)


def bundle(name: str) -> str:
    return str(RECORDED / f"{name}.tar.xz")


# hardware, model, size, engine, version, quantization, context, thinking, tools, form
ALL_DEFAULTS = "8xB60|Qwen/Qwen3-8B||||||||\n"


def test_a_walk_with_the_defaults(typed: Typed) -> None:
    assert typed(ALL_DEFAULTS) == 0
    assert typed.line == ["xpukit", "serve", "Qwen/Qwen3-8B", "--platform", "8xB60"]
    assert "vllm serve Qwen/Qwen3-8B" in typed.out
    assert typed.err.count("KV cache") >= 3, "the fit is shown beside the choices"
    assert "Which" not in typed.out, "the result stands alone on standard output"


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (ALL_DEFAULTS, ()),
        ("8xB60|Qwen/Qwen3-30B-A3B||||fp8|16k|4|y|y|docker\n", ()),
        ("3|2|1|Qwen/Qwen3-8B||||4|||||\n", ()),
        ("8xH200|internlm/Intern-S1|1|sglang|||32k||y|n|\n", ()),
        ("8xB60|BAAI/bge-m3||||shell\n", ()),
        ("Qwen/Qwen3-14B||||||||\n", ("--from", bundle("b60x8_2s"))),
        ("docker\n", ("Qwen/Qwen3-8B", "--platform", "4xB60", "--engine", "vllm:0.21.0", "-q", "fp8", "-c", "8k",
                      "--concurrency", "2", "--thinking", "--tools", "--image", "intel/vllm:0.21.0")),
    ],
)  # fmt: skip
def test_the_line_gives_the_same(typed: Typed, answers: str, words: tuple[str, ...]) -> None:
    assert typed(answers, *words) == 0, typed.err
    first, line = typed.out, typed.line
    assert app.run(line[1:]) == 0
    out, _ = typed.capture.readouterr()
    assert out == first


def test_what_the_command_line_says_is_not_asked(typed: Typed) -> None:
    assert typed("\n|\n", "Qwen/Qwen3-8B", "--platform", "8xB60", "-q", "fp8", "--engine", "vllm", "-c", "8k", "--tools", "--thinking") == 0  # fmt: skip
    for title in (
        "Which hardware",
        "Which model",
        "Which engine",
        "quantized",
        "How long",
        "thinking from",
        "call tools",
    ):
        assert title not in typed.err
    assert "In which form?" in typed.err


def test_search_and_sizes(typed: Typed) -> None:
    # A search with two hits, the second of them, then another size of that family.
    assert typed("8xH200|intern-s1 mini|1|Pro|||||||||\n") == 0, typed.err
    assert typed.line[2] == "internlm/Intern-S1-Pro"


def test_back_goes_to_the_question_before(typed: Typed) -> None:
    assert typed("b|8xB60|Qwen/Qwen3-8B|b|b|4xB580|Qwen/Qwen3-8B||||||||\n") == 0, typed.err
    assert typed.line == ["xpukit", "serve", "Qwen/Qwen3-8B", "--platform", "4xB580"]
    assert "this is the first question" in typed.err


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("8xAbacus|8xB60", "no GPU 'Abacus'"),
        ("8xB60|no-such-thing/at-all|Qwen/Qwen3-8B", "not a model that we know"),
        ("8xB60|/nowhere/at/all|Qwen/Qwen3-8B", "no such directory"),
        ("8xB60|Qwen/Qwen3-8B||no-engine", "no-engine"),
        ("8xB60|Qwen/Qwen3-8B||||mxfp4", "mxfp4 is not possible here"),
        ("8xB60|Qwen/Qwen3-8B||||99", "none of them"),
        ("8xB60|Qwen/Qwen3-8B|||||long", "is not a number of tokens"),
        ("8xB60|Qwen/Qwen3-8B|||||8k|0", "not a number from 1 on"),
        ("8xB60|Qwen/Qwen3-8B||||||maybe", "neither yes nor no"),
        ("2|/nowhere.tar.xz|8xB60", "/nowhere.tar.xz"),
    ],
)
def test_a_wrong_answer_is_asked_again(typed: Typed, answers: str, said: str) -> None:
    code = typed(f"{answers}|||||||||||||||||||\n")
    assert said in typed.err
    assert code in (0, 130)
    assert "Traceback" not in typed.err


@pytest.mark.parametrize(
    ("answers", "platform"),
    [
        ("B70||", "1xB70"),
        ("Max1550|4|", "4xMax1550"),
        ("h200|8|2", "2x8xH200"),
        ("3|8|", "8xB60"),
        ("2 x 8 x h200", "2x8xH200"),
    ],
)
def test_platforms_are_asked_for_in_full(typed: Typed, answers: str, platform: str) -> None:
    spread = ("--tp", "2") if platform.startswith("2x") else ()
    assert typed(f"{answers}|Qwen/Qwen3-8B|||||||||||\n", *spread) == 0, typed.err
    assert typed.line[3:5] == ["--platform", platform]


def test_a_recording_can_be_chosen(typed: Typed) -> None:
    assert typed(f"2|{bundle('b60x8_2s')}|Qwen/Qwen3-8B||||||||\n") == 0, typed.err
    assert "8 GPUs" in typed.err
    assert typed.line[3:5] == ["--from", bundle("b60x8_2s")]


def test_what_does_not_fit_is_told_on_the_way_and_at_the_end(typed: Typed) -> None:
    assert typed("1xB580|meta-llama/Llama-3.1-70B|||||||||\n") == 1
    assert "does not fit" in typed.err
    assert "would help" in typed.err


@pytest.mark.parametrize("answers", ["", "8xB60\n", "8xB60|Qwen/Qwen3-8B\n", "q\n", "8xB60|quit\n"])
def test_leaving_changes_nothing(typed: Typed, answers: str) -> None:
    assert typed(answers) == 130
    assert typed.out == ""
    assert "nothing was changed" in typed.err


def test_ctrl_c_leaves(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Terminal, size: int = -1) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(Terminal, "readline", interrupt)
    assert typed("") == 130
    assert "Traceback" not in typed.err


def test_without_a_terminal_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("8xB60\n"))
    assert app.run(["serve", "--interactive"]) == 2
    err = capsys.readouterr().err
    assert "terminal" in err
    assert "next:" in err


@pytest.mark.parametrize(
    "words",
    [("--interactive", "--web"), ("--interactive", "--plan", "x.json"), ("--web", "--calibrate", "x.log"), ("--web", "--run"),
     ("--web", "--out", "x")],
)  # fmt: skip
def test_what_does_not_go_together(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["serve", "Qwen/Qwen3-8B", *words]) == 2
    assert "next:" in capsys.readouterr().err


def test_json_gives_the_plan(typed: Typed) -> None:
    import json

    assert typed(ALL_DEFAULTS, "--json") == 0
    assert json.loads(typed.out)["schema"] == "xpukit.plan/1"


def make_fit(*sizes: tuple[str, int], total: int) -> Fit:
    segments = tuple(Segment(name=name, bytes=size, kind="fact", why="") for name, size in sizes)
    wanted = sum(size for _, size in sizes)
    return Fit(
        fits=wanted <= total,
        headline="head",
        total_bytes=total,
        budget_bytes=total,
        scale_bytes=max(total, wanted),
        segments=segments,
        max_context=1,
        asked_context=1,
        concurrency=1.0,
        margin_bytes=0,
        short_bytes=max(0, wanted - total),
        ways_out=("16 GPUs",),
    )


def test_the_bar_gives_each_part_its_letter() -> None:
    bar, legend, *rest = draw_fit(make_fit(("weights", 30), ("width buffers", 15), ("KV cache", 15), total=60))
    assert bar.startswith("[" + "w" * 30 + "i" * 15 + "K" * 15 + "]")
    assert "w weights" in legend
    assert "i width buffers" in legend
    assert rest[-1] == "would help: 16 GPUs"


def test_the_bar_marks_where_the_memory_ends() -> None:
    bar = draw_fit(make_fit(("weights", 120), total=60))[0]
    assert bar.startswith("[" + "w" * 30 + "|" + "w" * 30 + "]")

"""The shell of the command line: globals, errors, exit codes."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from xpukit import __version__
from xpukit.cli import app as app_module
from xpukit.cli.app import run
from xpukit.core.errors import CouldNotJudgeError, ExitCode, UnrecordedQuestionError, XpukitError

COMMANDS = (
    *("probe", "evaluate", "compare", "baseline", "baseline lint", "baseline show", "baseline record"),
    *("sysinfo", "sysinfo show", "sysinfo diff", "doctor"),
    *("install", "install plan", "install apply", "install undo", "install status", "install export", "install index"),
    *("install bundle", "install bundle create", "install bundle verify"),
    *("build-image", "build-image diff", "run-image", "cdi", "serve", "bench", "check", "rotate"),
    *("bench run", "bench log", "bench find-limit", "bench stress", "bench context"),
    *("fleet", "fleet run", "fleet collectives", "fleet preflight"),
    *("exporter", "monitor", "monitor print", "monitor up"),
)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_golden(command: str, capsys: pytest.CaptureFixture[str], golden: object) -> None:
    assert run([*command.split(), "--help"]) == 0
    assert callable(golden)
    golden(f"help-{command.replace(' ', '-') or 'xpukit'}.txt", capsys.readouterr().out)


def test_every_option_is_documented(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        run([*command.split(), "--help"])
        options = set(re.findall(r"(--[a-z][a-z-]+)", capsys.readouterr().out)) - {"--help"}
        page = "".join(path.read_text(encoding="utf-8") for path in (repo / "docs").glob(f"{command.split()[0]}*.md"))
        assert not {option for option in options if option not in page}, command


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"xpukit {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        ([], 2, "Usage: xpukit"),
        (["frob"], 2, "No such command"),
        (["probe", "--frob"], 2, "--frob"),
        (["--from", "/no/such/bundle", "probe"], 2, "/no/such/bundle"),
        (["probe", "--from", "/no/such/bundle"], 2, "/no/such/bundle"),
        (["--from", "a", "probe", "--from", "b"], 2, "--from was given twice"),
        (["evaluate", "--from", "x"], 2, "measures a real machine"),
        (["evaluate", "--from", "/no/such/bundle", "--log", __file__], 2, "/no/such/bundle"),
        (["--from", "x", "evaluate"], 2, "measures a real machine"),
        (["evaluate", "--resume", "/no/run"], 2, "not a run directory"),
        (["evaluate", "--resume", "/no/run", "--suite", "quick"], 2, "leave out --suite"),
        (["evaluate", "--repeat", "0"], 2, "--repeat"),
        (["probe", "--dot", "-", "--svg", "-"], 2, "standard output"),
        (["compare"], 2, "RUN"),
        (["compare", "/no/run", "/no/other"], 2, "no such file"),
        (["compare", "a", "b", "--csv", "-", "--html", "-"], 2, "standard output"),
        (["compare", "a", "b", "--threshold", "0"], 2, "--threshold"),
        (["compare", "a", "b", "--min-change", "-1"], 2, "--min-change"),
        (["baseline", "lint", "/no/file.csv"], 2, "no such file"),
        (["baseline", "show", "--device", "no such card"], 2, "no such device"),
        (["baseline", "show", "--device", "b60", "--from", "x"], 2, "both name devices"),
        (["baseline", "record", "/no/run", "--out", "x.csv"], 2, "no such file"),
    ],
)
def test_bad_usage(argv: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == code
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err


def _raise(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(app_module, "build_tree", lambda _wanted: fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (XpukitError("m", hint="h"), 4),
        (CouldNotJudgeError("m", hint="h"), 3),
        (UnrecordedQuestionError(("read", "/x"), "bundle"), 3),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("m"), 4),
    ],
)
def test_each_error_has_its_code_and_a_json_form(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _raise(monkeypatch, error)
    assert run(["probe", "--json"]) == code
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["schema"] == "xpukit.error/1"
    assert document["error"]["exit_code"] == code
    assert "Traceback" not in captured.err
    if not isinstance(error, KeyboardInterrupt):
        assert run(["--debug", "probe"]) == code
        assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_went_away_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _raise(monkeypatch, BrokenPipeError())
    before = sys.stdout
    try:
        assert run(["probe"]) == 0
    finally:
        sys.stdout = before


@pytest.mark.live
@pytest.mark.parametrize("command", ["probe", "probe --json", "--help", "sysinfo --list"])
def test_a_full_disk_behind_standard_output_is_said(command: str) -> None:
    import subprocess

    machine = Path(__file__).parents[2] / "machines/recorded/a770.tar.xz"
    source = [] if command in ("--help", "sysinfo --list") else ["--from", str(machine)]
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "xpukit", *command.split(), *source],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert ran.returncode == ExitCode.EXTERNAL_FAILURE
    assert ran.stderr.splitlines() == [
        "xpukit: standard output cannot be written: No space left on device",
        "  next: free space where it goes, or send it elsewhere",
    ]


@pytest.mark.live
def test_start_up_imports_nothing_heavy() -> None:
    import subprocess

    code = (
        "import sys\nfrom xpukit.cli.app import run\nrun(['--help'])\n"
        "heavy = {'numpy','pandas','docker','matplotlib','jinja2','rich.table','psutil','pyudev','zstandard','dpctl','ray'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.strip() == "[]"

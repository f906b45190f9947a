"""`xpukit doctor`: what is printed, the script of --fix, the exit code. Checks are made here; real ones have tests of
their own.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

import jsonschema
import pytest

from tests.machines.dict_host import DictHost
from tests.machines.recorded_machines import open_loosely
from xpukit.cli.app import run
from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.core.machine import Machine
from xpukit.doctor import registry
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.examine import Diagnosis, examine_machine
from xpukit.doctor.fix_script import flatten, write_fix_script
from xpukit.doctor.report import Report, build_report, judge_report, parse_acceptance

CAPTURED = pytest.CaptureFixture[str]
BUNDLE = str(Path(__file__).resolve().parents[2] / "machines" / "recorded" / "max1550.tar.xz")
GOVERNOR = Finding(
    id="XPK-TEST-GOVERNOR",
    severity="warning",
    summary="the governor is powersave",
    evidence=(Evidence(source="/sys/governor", value="powersave"),),
    remedy=("set it to performance",),
    explanation="copies wait for the processor",
    commands=("sudo cpupower frequency-set -g performance",),
    links=("https://example.org/governor",),
    install_step="cpu-governor",
)
BROKEN = Finding(id="XPK-TEST-BROKEN", severity="critical", summary="no driver", subject="0000:03:00.0")
NOT_ASKED = Unchecked(check="made", why="debugfs: permission denied", remedy="run as root")


def make_check(*said: Finding | Unchecked, name: str = "made") -> Check:
    def look(patient: Patient) -> Iterable[Finding | Unchecked]:
        return said

    ids = tuple(one.id for one in said if isinstance(one, Finding)) or ("XPK-TEST-NONE",)
    return Check(name=name, summary="made for a test", ids=ids, look=look)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> object:
    """`use(check, ...)`: these are all the checks there are."""

    def put(*checks: Check) -> None:
        monkeypatch.setattr(registry, "list_checks", lambda: checks)

    return put


def doctor(*argv: str) -> int:
    # `probe` has findings of its own about the recorded machine: only the made checks are wanted here.
    return run(["doctor", "--from", BUNDLE, "--only", "made", *argv])


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ((), 0),
        ((GOVERNOR,), 0),
        ((BROKEN,), 1),
        ((NOT_ASKED,), 3),
        ((NOT_ASKED, GOVERNOR), 3),
        ((NOT_ASKED, BROKEN), 1),
    ],
)
def test_exit_code(use: object, said: tuple[Finding | Unchecked, ...], code: int, capsys: CAPTURED) -> None:
    use(make_check(*said))  # type: ignore[operator]
    assert doctor() == code
    assert doctor("--json") == code
    assert doctor("--brief") == code
    assert doctor("--fix") == code


def test_worst_first_with_evidence_why_and_remedy(use: object, capsys: CAPTURED) -> None:
    use(make_check(GOVERNOR, NOT_ASKED, BROKEN))  # type: ignore[operator]
    assert doctor() == 1
    out = capsys.readouterr().out
    assert out.index("critical XPK-TEST-BROKEN 0000:03:00.0: no driver") < out.index("warning  XPK-TEST-GOVERNOR:")
    for words in (
        "/sys/governor: powersave",
        "copies wait for the processor",
        "set it to performance",
        "sudo cpupower frequency-set -g performance",
        "https://example.org/governor",
        "made: debugfs: permission denied (would help: run as root)",
        "1 critical, 1 warning; 1 not checked; 1 check",
    ):
        assert words in out


def test_brief_is_one_line_each(use: object, capsys: CAPTURED) -> None:
    use(make_check(GOVERNOR, NOT_ASKED, BROKEN))  # type: ignore[operator]
    doctor("--brief")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["critical", "warning", "unchecked"]
    assert len(lines) == 4


def test_json_fits_its_schema_and_is_the_same_each_time(use: object, repo: Path, capsys: CAPTURED) -> None:
    use(make_check(GOVERNOR, NOT_ASKED, BROKEN))  # type: ignore[operator]
    documents = []
    for _ in range(2):
        doctor("--json", "--ignore", "XPK-TEST-BROKEN")
        documents.append(json.loads(capsys.readouterr().out))
        documents[-1].pop("created")
    assert documents[0] == documents[1]
    schema = json.loads((repo / "docs" / "schemas" / "xpukit.doctor-1.json").read_text(encoding="utf-8"))
    jsonschema.validate({**documents[0], "created": ""}, schema)
    assert [one["id"] for one in documents[0]["findings"]] == ["XPK-TEST-GOVERNOR"]
    assert [one["id"] for one in documents[0]["ignored"]] == ["XPK-TEST-BROKEN"]
    assert documents[0]["checks"] == ["made"]


def test_accepted_findings_are_said_and_not_judged(use: object, capsys: CAPTURED) -> None:
    use(make_check(BROKEN))  # type: ignore[operator]
    assert doctor("--ignore", "xpk-test-broken") == 0
    assert "1 accepted (XPK-TEST-BROKEN)" in capsys.readouterr().out
    assert doctor("--ignore", "XPK-TEST-BROKEN@0000:03:00.0") == 0
    assert doctor("--ignore", "XPK-TEST-BROKEN@0000:99:00.0") == 1
    assert "no such finding here" in capsys.readouterr().err


def test_only_this_check_and_the_findings_of_probe(use: object, capsys: CAPTURED) -> None:
    use(make_check(GOVERNOR), make_check(BROKEN, name="other"))  # type: ignore[operator]
    assert doctor("--brief") == 0
    assert "BROKEN" not in capsys.readouterr().out
    run(["doctor", "--from", BUNDLE, "--json"])
    assert json.loads(capsys.readouterr().out)["checks"] == ["probe", "made", "other"]
    run(["doctor", "--from", BUNDLE, "--json", "--only", "probe"])
    assert json.loads(capsys.readouterr().out)["checks"] == ["probe"]


def test_list_of_checks(use: object, capsys: CAPTURED) -> None:
    use(make_check(GOVERNOR))  # type: ignore[operator]
    assert run(["doctor", "--list"]) == 0
    assert "XPK-TEST-GOVERNOR" in capsys.readouterr().out
    assert run(["doctor", "--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["checks"]
    assert [row["name"] for row in rows] == ["probe", "made"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--only", "frob"], "no such check: frob"),
        (["--ignore", "governor"], "no finding's id"),
        (["--fix", "--json"], "exclude each other"),
        (["--fix", "--brief"], "exclude each other"),
        (["--log", "x", "--fix"], "--log explains a log"),
    ],
)
def test_bad_usage(argv: list[str], words: str, capsys: CAPTURED) -> None:
    assert run(["doctor", *argv]) == 2
    assert words in capsys.readouterr().err


def test_a_check_with_a_defect_costs_only_itself() -> None:
    def look(patient: Patient) -> Iterable[Finding]:
        raise ValueError("boom")

    bad = Check(name="bad", summary="s", ids=("XPK-TEST-BAD",), look=look)
    said = examine_machine(DictHost(), Machine(), checks=(bad, make_check(GOVERNOR)))
    assert said.findings == (GOVERNOR,)
    assert "boom" in said.unchecked[0].why


def commands_in(script: str) -> list[str]:
    return [line for line in script.splitlines() if line and not line.startswith("#")]


def fix(*findings: Finding, unchecked: tuple[Unchecked, ...] = (), install: str = "") -> str:
    report = Report(findings=findings, unchecked=unchecked)
    return write_fix_script(
        report, host="h", version="1", name_install=lambda found: install if found.install_step else ""
    )


def test_script_has_the_commands_and_says_which_findings_have_none() -> None:
    script = fix(BROKEN, GOVERNOR, unchecked=(NOT_ASKED,))
    assert script.startswith("#!/bin/sh\n")
    assert commands_in(script) == ["set -eu", "sudo cpupower frequency-set -g performance"]
    assert "# No command for these" in script
    assert "#   critical XPK-TEST-BROKEN (0000:03:00.0): no driver" in script
    assert "#   made: debugfs: permission denied" in script


def test_script_names_the_command_of_install() -> None:
    assert "install apply" not in fix(GOVERNOR)
    said = fix(GOVERNOR, install="sudo xpukit install apply --with governor")
    assert "takes it back: sudo xpukit install apply --with governor" in said
    assert commands_in(said) == commands_in(fix(GOVERNOR))


@pytest.mark.parametrize(
    ("machine", "id_", "command"),
    [
        ("unbound", "XPK-KERNEL-TOO-OLD", "sudo xpukit install apply --with kernel"),
        ("b60x8_2s", "XPK-IOMMU-TRANSLATING", "sudo xpukit install apply --with iommu-pt"),
        ("b60x8_2s", "XPK-KERNEL-OLDER-THAN-TESTED", "sudo xpukit install apply --with intel-kernel"),
        ("vm", "XPK-PROBE-LEVEL-ZERO-MISSING", "sudo xpukit install apply"),
        ("unbound", "XPK-FIRMWARE-FILE-MISSING", "sudo xpukit install apply --source DIR (DIR/firmware has the files)"),
        ("a770_small_bar", "XPK-PROBE-NODE-DENIED", "sudo xpukit install apply"),
    ],
)
def test_the_command_of_install_is_one_that_the_machine_has(
    machine: str, id_: str, command: str, capsys: CAPTURED
) -> None:
    assert run(["doctor", "--from", str(Path(BUNDLE).parent / f"{machine}.tar.xz"), "--fix"]) in (0, 1)
    parts = capsys.readouterr().out.split("\n\n")
    (part,) = (
        part for part in parts if part.startswith("# ") and f" {id_}" in part.splitlines()[0] and "0:03" not in part
    )
    assert part.splitlines()[-1].endswith(f"takes it back: {command}")


@pytest.mark.parametrize(
    ("begin", "command", "install"),
    [
        (
            "ID=debian VERSION_ID=12 PRETTY_NAME='Debian GNU/Linux 12 (bookworm)'",
            "-t bookworm-backports",
            " --source DIR",
        ),
        ("ID=debian VERSION_ID=13 PRETTY_NAME='Debian GNU/Linux 13 (trixie)'", "firmware-intel-graphics", "apply"),
        ("ID=ubuntu VERSION_ID=25.04 PRETTY_NAME='Ubuntu 25.04'", "install linux-firmware", " --source DIR"),
        ("ID=fedora VERSION_ID=42 PRETTY_NAME='Fedora Linux 42'", "", ""),
    ],
)
def test_firmware_is_installed_as_the_distribution_has_it(begin: str, command: str, install: str) -> None:
    from xpukit.cli.doctor import examine_host
    from xpukit.cli.evaluate_advice import find_stack_of, name_install_command
    from xpukit.host.answers import FileAnswer
    from xpukit.host.overlay import OverlayHost

    release = begin.replace(" VERSION_ID", "\nVERSION_ID").replace(" PRETTY", "\nPRETTY")
    host = OverlayHost(open_loosely("unbound"), {("read", "/etc/os-release"): FileAnswer(data=release.encode())})
    (found,) = (
        one for one in examine_host(host, registry.list_checks()).findings if one.id == "XPK-FIRMWARE-FILE-MISSING"
    )
    assert (command in found.commands[0]) if command else not found.commands
    said = name_install_command(find_stack_of(host), found.install_step, commands=found.commands)
    assert install in said if install else not said
    assert said.endswith("apply") == (install == "apply")


def test_every_named_step_is_of_a_stack_and_every_finding_of_a_check() -> None:
    from xpukit.facts.doctor_install_steps import load_install_steps
    from xpukit.facts.stacks import load_stacks

    stacks = load_stacks()
    there = {row.name for stack in stacks for row in (*stack.options, *stack.packages)} | {
        "groups",
        "kernel",
        "firmware",
    }
    assert set(load_install_steps().values()) <= there
    ids = {id_ for check in registry.list_checks() for id_ in check.ids}
    assert {id_ for id_ in load_install_steps() if not id_.startswith("XPK-PROBE-LEVEL-ZERO")} <= ids


def test_the_same_commands_are_given_once() -> None:
    import msgspec

    other = msgspec.structs.replace(GOVERNOR, subject="cpu1")
    script = fix(GOVERNOR, other)
    assert script.count("\nsudo cpupower") == 1
    assert "the same commands as for XPK-TEST-GOVERNOR, above" in script


@pytest.mark.parametrize(
    "hostile", ["a\nrm -rf /", "a\r\nrm -rf /", "a\u2028rm -rf /", "a\x0brm -rf /", "a\x85rm -rf /"]
)
def test_what_a_machine_says_never_becomes_a_command(hostile: str) -> None:
    finding = Finding(
        id="XPK-TEST-HOSTILE",
        severity="critical",
        summary=hostile,
        subject=hostile,
        explanation=hostile,
        remedy=(hostile,),
        install_step=hostile,
    )
    report = Report(
        findings=(finding,), unchecked=(Unchecked(check="c", why=hostile, remedy=hostile),), ignored=(finding,)
    )
    for install in ("", hostile):
        script = write_fix_script(report, host=hostile, version="1", name_install=lambda _, said=install: said)  # type: ignore[misc]
        assert commands_in(script) == ["set -eu"]
        assert len(script.splitlines()) == script.count("\n")


def test_a_command_that_hides_something_is_not_printed() -> None:
    import msgspec

    assert commands_in(fix(msgspec.structs.replace(GOVERNOR, commands=("echo a\rrm -rf /",)))) == ["set -eu"]
    heredoc = "cat > f <<'END'\nx\nEND"
    assert heredoc in fix(msgspec.structs.replace(GOVERNOR, commands=(heredoc,)))


@pytest.mark.live
@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say(capsys: CAPTURED) -> None:
    import subprocess

    for machine in sorted(Path(BUNDLE).parent.glob("*.tar.xz")):
        assert run(["doctor", "--from", str(machine), "--fix"]) in (0, 1, 3)
        argv = ["shellcheck", "--shell=sh", "-"]
        ran = subprocess.run(argv, input=capsys.readouterr().out, text=True, capture_output=True, check=False)
        assert ran.stdout == "", machine.name


@pytest.mark.live
def test_a_shell_takes_the_script(tmp_path: Path) -> None:
    import subprocess

    import msgspec

    file = tmp_path / "it's a file"
    made = msgspec.structs.replace(GOVERNOR, commands=(f"touch {shlex.quote(str(file))}", "false", "touch never"))
    ran = subprocess.run(["sh"], input=fix(BROKEN, made), text=True, cwd=tmp_path, check=False)
    assert ran.returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["it's a file"]


def test_terminal_escapes_of_a_machine_do_not_reach_the_terminal(use: object, capsys: CAPTURED) -> None:
    evil = Finding(
        id="XPK-TEST-EVIL",
        severity="warning",
        summary="s \x1b]0;title\x07 \x1b[2J",
        evidence=(Evidence(source="log\x1b[31m", value="v\x1b[2J" + "x" * 1000),),
    )
    use(make_check(evil))  # type: ignore[operator]
    doctor()
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "characters)" in out


def test_flatten() -> None:
    assert flatten(" a\n\tb\x00c\u202ed ") == "a b?c?d"


def test_report_of_a_diagnosis() -> None:
    report = build_report(Diagnosis(findings=(BROKEN, GOVERNOR)), [parse_acceptance("XPK-TEST-BROKEN")])
    assert report.findings == (GOVERNOR,)
    assert judge_report(report) == 0


def test_every_finding_of_a_check_is_written_with_all_that_a_reader_needs(repo: Path) -> None:
    for path in sorted((repo / "xpukit" / "doctor" / "checks").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                given = {word.arg for word in node.keywords}
                assert given >= {"evidence", "explanation", "remedy", "links"}, f"{path.name}:{node.lineno}"


def test_every_finding_of_probe_is_explained(repo: Path) -> None:
    from xpukit.facts.doctor_probe_findings import load_probe_findings

    said = "".join(path.read_text(encoding="utf-8") for path in (repo / "xpukit" / "probe").rglob("*.py"))
    by_check = {id_ for check in registry.list_checks() for id_ in check.ids}
    ids = set(re.findall(r"XPK-PROBE-[A-Z-]+", said))
    assert len(ids) > 25
    assert not [id_ for id_ in ids if id_ not in by_check and not any(row.covers(id_) for row in load_probe_findings())]


def test_no_check_restarts_the_machine_in_the_middle_of_a_script(repo: Path) -> None:
    for path in sorted((repo / "xpukit" / "doctor" / "checks").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "commands":
                assert not re.search(r"\b(?:reboot|poweroff|shutdown)\b", ast.unparse(node.value)), path.name


def test_what_is_of_a_shell_is_no_command_of_a_script() -> None:
    import msgspec

    script = fix(msgspec.structs.replace(GOVERNOR, commands=("export CCL_TOPO_P2P_ACCESS=0", "true")))
    assert commands_in(script) == ["set -eu", "true"]
    assert "#   in the shell that starts the programs: export CCL_TOPO_P2P_ACCESS=0" in script

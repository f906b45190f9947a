"""A fleet's run without machines: what is asked, what is kept, what a driver's words come to."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.core.errors import CouldNotJudgeError, ExternalError, UsageError
from xpukit.host.answers import FileAnswer, FoundAnswer, NamesAnswer, Ran, StatAnswer
from xpukit.host.door import Host
from xpukit.host.fleet import own_cluster
from xpukit.operate.fleet.command import FleetCommand, read_command
from xpukit.operate.fleet.directory import FleetDirectory, FleetOptions
from xpukit.operate.fleet.hosts import FleetHost, read_hosts
from xpukit.operate.fleet.package import write_package
from xpukit.operate.fleet.ray_program import RayProgram, find_ray
from xpukit.operate.fleet.ray_run import Event, run_fleet
from xpukit.operate.fleet.result import HostRecord, count_statuses, decide_exit
from xpukit.operate.fleet.ssh import SshSettings, explain_ssh

RAY = RayProgram(ray="/opt/ray/bin/ray", python="/opt/ray/bin/python3")


class TalkingHost(Host):
    """A machine whose only program is a driver that says these lines; files of /opt are there."""

    def __init__(self, lines: list[str], *, rc: int = 0, files: dict[str, str] | None = None) -> None:
        self.lines, self.rc, self.files = lines, rc, files or {}
        self.asked: list[dict[str, object]] = []

    def run(self, argv, *, timeout_s, input=b"", env=None, cwd=None, limit_bytes=0, log=None, on_line=None):  # type: ignore[no-untyped-def, override]
        self.asked.append(json.loads(input))
        for line in self.lines:
            on_line(line)
        return Ran(argv=tuple(argv), rc=self.rc, out=b"", err=b"last words", seconds=1.0)

    def read(self, path, **limits):  # type: ignore[no-untyped-def, override]
        return FileAnswer(data=self.files[path].encode()) if path in self.files else FileAnswer(error="ENOENT")

    def stat(self, path: str) -> StatAnswer:
        return StatAnswer(error="" if path in self.files else "ENOENT")

    def which(self, name: str) -> FoundAnswer:
        found = next((path for path in self.files if path == f"/usr/bin/{name}"), None)
        return FoundAnswer(value=found)

    def env(self, name: str) -> FoundAnswer:
        return FoundAnswer(value=None)

    def env_names(self, prefix: str) -> NamesAnswer:
        return NamesAnswer()

    def _none(self, *words: object, **named: object) -> object:
        raise AssertionError("not asked for")

    list = link = resolve = udev = level_zero = memory = processes = identity = _none  # type: ignore[assignment]


def make_options(*hosts: str, command: str = "probe", **more: object) -> FleetOptions:
    asked = tuple(FleetHost(name=name, ssh=name) for name in hosts)
    return FleetOptions(
        xpukit_version="1", created="2026-11-21T00:00:00Z", command=read_command(command), hosts=asked, **more
    )


def say(event: str, **content: object) -> str:
    return json.dumps({"event": event, **content})


def arrive(folder: Path, out: str, err: str = "", **files: str) -> str:
    folder.mkdir(parents=True)
    (folder / ".out").write_text(out)
    (folder / ".err").write_text(err)
    for name, text in files.items():
        (folder / name).write_text(text)
    return str(folder)


@pytest.mark.parametrize(("text", "targets"), [("a", ["a"]), ("a,root@b, c.d ", ["a", "root@b", "c.d"])])
def test_hosts_in_words(text: str, targets: list[str]) -> None:
    assert [host.ssh for host in read_hosts(text)] == targets


def test_hosts_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("# rack 1\na   # the first\n\nadmin@b\n")
    assert [(host.name, host.ssh) for host in read_hosts(str(tmp_path / "hosts"))] == [("a", "a"), ("b", "admin@b")]


@pytest.mark.parametrize("bad", ["", "-oProxyCommand=x", "a;b", "a b", "$(x)", "a,a", "u@a,a", "a/b", "/no/such/file"])
def test_hosts_that_are_none(bad: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_hosts(bad)
    assert caught.value.hint


@given(st.text(max_size=30))
def test_no_host_is_an_option_or_a_command(text: str) -> None:
    try:
        hosts = read_hosts(text.replace("/", ""))
    except UsageError:
        return
    for host in hosts:
        assert not host.ssh.startswith("-")
        assert not set(host.ssh) & set(" \t\n;|&$`'\"\\<>()")
        assert "/" not in host.folder
        assert host.folder not in ("", ".", "..")


def test_a_command_and_the_files_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("x = 1")
    command = read_command(f"evaluate --suite {tmp_path}/my.toml --reference={tmp_path}/my2.csv --device cpu")
    assert command.argv[:3] == ("evaluate", "--suite", "my.toml")
    assert list(command.files) == ["my.toml"]
    assert command.argv[-3:] == ("--json", "--out", "run")
    assert read_command("xpukit doctor").room == "doctor"


@pytest.mark.parametrize(
    "bad",
    ["", "serve x", "evaluate --out there", "probe --json", "evaluate --from=x", "sysinfo show x", "doctor --fix", "'"],
)
def test_commands_that_are_none_for_a_fleet(bad: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_command(bad)
    assert caught.value.hint


def document(room: str, **body: object) -> str:
    return json.dumps({"schema": f"xpukit.{room}/1", "host": "x", **body})


def run_lines(
    tmp_path: Path, options: FleetOptions, lines: list[str], rc: int = 0
) -> tuple[FleetDirectory, TalkingHost]:
    directory = FleetDirectory.create(tmp_path / "run", options)
    host = TalkingHost(lines, rc=rc)
    run_fleet(host, RAY, directory, options, options.hosts, lambda record, event: None)
    return directory, host


def test_what_came_is_kept_and_what_was_lost_is_said(tmp_path: Path) -> None:
    options = make_options("a", "b", "c", command="evaluate --suite quick")
    arrived = tmp_path / "arrived"
    lines = [
        "(raylet) chatter of Ray",
        say("cluster", address="10.0.0.9:1", ray="2.60.0", own=True),
        say("running", host="a", address="10.0.0.1", resources={}),
        say("lost", host="b", why="its ssh session ended: closed"),
        say("ended", host="a", rc=1, why="", seconds=3.5, folder=arrive(arrived / "a", document("evaluate", verdict="fail"), "said", **{"report.md": "#"})),
        say("ended", host="c", rc=2, why="", seconds=1, folder=arrive(arrived / "c", "", "Traceback\nNoSuchThing: x\n")),
        say("done"),
    ]  # fmt: skip
    directory, _ = run_lines(tmp_path, options, lines)
    a, b, c = directory.list_records(options.hosts)
    assert (a.status, a.rc, a.verdict, a.address) == ("done", 1, "fail", "10.0.0.1")
    assert set(a.files) == {"log.txt", "report.md", "results.json"}
    assert (directory.path / "hosts" / "a" / "report.md").read_text() == "#"
    assert (b.status, b.why) == ("lost", "its ssh session ended: closed")
    assert (c.status, c.why) == ("failed", "NoSuchThing: x")
    assert decide_exit((a, b, c)) == 1
    assert decide_exit((b, c)) == 3
    assert count_statuses((a, b, c)) == {"done": 1, "lost": 1, "failed": 1}
    assert [host.name for host in directory.list_left(options.hosts)] == ["b", "c"]
    again, same = FleetDirectory.reopen(directory.path)
    assert same == options
    assert again.load_records().keys() == {"a", "b", "c"}


def test_the_last_line_of_a_host_counts_and_half_a_line_does_not(tmp_path: Path) -> None:
    directory = FleetDirectory.create(tmp_path / "run", make_options("a", "b"))
    directory.add(HostRecord(host="a", status="lost"))
    with (directory.path / "index.jsonl").open("a") as index:
        index.write('{"host":"b","sta')
    directory.add(HostRecord(host="a", status="done", rc=0))
    records = directory.load_records()
    assert {name: record.status for name, record in records.items()} == {"a": "done"}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "nothing" ""),
        ("no json", "no document"),
        (json.dumps({"schema": "xpukit.doctor/1"}), "not 'xpukit.probe/1'"),
        (json.dumps({"schema": "xpukit.error/1", "error": {"message": "no such suite"}}), "no such suite"),
    ],
)  # fmt: skip
def test_what_is_no_document_is_a_failure(said: str, why: str, tmp_path: Path) -> None:
    line = say("ended", host="a", rc=0, why="", seconds=1, folder=arrive(tmp_path / "x", said))
    directory, _ = run_lines(tmp_path, make_options("a"), [line, say("done")])
    [record] = directory.load_records().values()
    assert record.status == "failed"
    assert why in record.why or (why == "nothing" and record.why)
    assert not (directory.path / "hosts" / "a" / "probe.json").exists()


def test_what_the_driver_is_told(tmp_path: Path) -> None:
    options = make_options("a", "b", remote_ray="/r/ray", hold={"GPU": "all"}, ssh_config="/k/config", strict_keys=True)
    lines = [say("lost", host=name, why="x") for name in ("a", "b")]
    _, host = run_lines(tmp_path, options, [*lines, say("done")])
    [told] = host.asked
    assert told["argv"] == ["probe", "--json"]
    assert told["remote_ray"] == "/r/ray"
    assert [one["resource"] for one in told["hosts"]] == ["xpukit-host:a", "xpukit-host:b"]  # type: ignore[index, attr-defined]
    ssh = " ".join(told["ssh"])  # type: ignore[arg-type]
    for word in ("-F /k/config", "BatchMode=yes", "StrictHostKeyChecking=yes", "PasswordAuthentication=no"):
        assert word in ssh
    assert not told["package"]


@pytest.mark.parametrize(
    ("lines", "rc", "error"),
    [
        ([say("failed", why="no head")], 3, CouldNotJudgeError),
        ([say("lost", host="a", why="x")], 1, ExternalError),
        ([say("done")], 0, ExternalError),
        ([], -9, ExternalError),
    ],
)
def test_a_driver_that_breaks_is_an_error(lines: list[str], rc: int, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error):
        run_lines(tmp_path, make_options("a"), lines, rc)


def test_an_event_of_a_newer_driver_is_passed_over(tmp_path: Path) -> None:
    lines = [say("unheard-of"), say("lost", host="stranger", why=""), say("lost", host="a", why="x"), say("done")]
    directory, _ = run_lines(tmp_path, make_options("a"), lines)
    assert list(directory.load_records()) == ["a"]


def test_ray_is_found_with_the_python_of_its_first_line() -> None:
    files = {"/usr/bin/ray": "#!/opt/ray/bin/python3\nimport x\n", "/opt/ray/bin/python3": ""}
    assert find_ray(TalkingHost([], files=files)).python == "/opt/ray/bin/python3"
    files = {"/v/bin/ray": "#!/bin/sh\n", "/v/bin/python3": ""}
    assert find_ray(TalkingHost([], files=files), "/v/bin/").python == "/v/bin/python3"
    assert find_ray(TalkingHost([], files=files), "/v/bin/ray").ray == "/v/bin/ray"
    for named in ("", "/elsewhere"):
        with pytest.raises(CouldNotJudgeError) as caught:
            find_ray(TalkingHost([]), named)
        assert caught.value.hint


def test_ssh_never_asks() -> None:
    assert "StrictHostKeyChecking=accept-new" in SshSettings().argv
    assert "-F" not in SshSettings().argv
    assert explain_ssh(
        Ran(argv=("ssh",), rc=255, err=b"Warning: Permanently added\nHost key verification failed.\n")
    ) == ("Host key verification failed.")
    assert "60" in explain_ssh(Ran(argv=("ssh",), rc=-15, failure="timeout", seconds=60.0))


def test_the_package_holds_all_that_runs(tmp_path: Path) -> None:
    size = write_package(tmp_path / "a.zip")
    write_package(tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert 0 < size < 20 << 20
    names = set(zipfile.ZipFile(tmp_path / "a.zip").namelist())
    assert {"xpukit/__main__.py", "xpukit/host/fleet/driver.py", "xpukit/facts/data/suites/quick.toml"} <= names
    assert any(name.startswith("xpukit/_shipped/reference_perf/") for name in names)
    assert not [name for name in names if "__pycache__" in name]


def test_events_decode() -> None:
    assert Event(event="lost", host="a").why == ""
    assert isinstance(read_command("probe"), FleetCommand)


@pytest.mark.parametrize(
    ("version", "known"),
    [("2.52.0", True), ("2.60.0", True), ("3.0.0.dev0", True), ("2.51.1", False), ("2.9.3", False)],
)
def test_a_ray_that_leaves_its_token_unread_is_not_started(
    version: str, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    if known:
        own_cluster.check_token_is_known("2.52.0")
        return
    with pytest.raises(own_cluster.Failed, match=f"Ray {version} knows no token"):
        own_cluster.check_token_is_known("2.52.0")


def test_the_driver_is_told_from_which_ray_on_there_are_tokens(tmp_path: Path) -> None:
    options = make_options("a")
    host = TalkingHost([say("lost", host="a", why="x"), say("done")])
    run_fleet(host, RAY, FleetDirectory.create(tmp_path / "out", options), options, options.hosts, lambda *_: None)
    assert host.asked[0]["token_since"] == "2.52.0"


def test_a_host_that_is_done_is_not_lost_after_that(tmp_path: Path) -> None:
    """The driver says that all are lost when its head is gone: those that gave their result keep it."""
    options = make_options("a", "b")
    folder = arrive(tmp_path / "a", document("probe"))
    lines = [
        say("ended", host="a", rc=0, seconds=1, folder=folder),
        say("lost", host="a", why="no head"),
        say("lost", host="b", why="no head"),
        say("done"),
    ]
    told: list[HostRecord | None] = []
    directory = FleetDirectory.create(tmp_path / "out", options)
    run_fleet(TalkingHost(lines), RAY, directory, options, options.hosts, lambda record, _: told.append(record))
    assert [(one.host, one.status) for one in directory.list_records(options.hosts)] == [("a", "done"), ("b", "lost")]
    assert [record.host for record in told if record] == ["a", "b"]

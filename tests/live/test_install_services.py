"""Services, groups and nodes on a machine whose first process is systemd: stopped and started, not only written down."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.chroot_machine import make_python_base, open_machine, skip_without_root
from tests.live.systemd_machine import SystemdMachine, start_systemd

pytestmark = [pytest.mark.live, pytest.mark.slow]

TIMER = "apt-daily.timer"
STACK = """
include = ["permissions", "settings"]
[[services]]
unit = "xpk-noise.service"
want = "masked"
source = "test"
[[services]]
unit = "xpk-wanted.service"
want = "enabled"
source = "test"
"""
UNIT = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdMachine]:
    skip_without_root()
    with open_machine(tmp_path_factory.mktemp("machine"), make_python_base()) as made:
        for name in ("noise", "wanted"):
            (made.root / f"usr/lib/systemd/system/xpk-{name}.service").write_text(UNIT)
        for file, line in (("passwd", "worker:x:1000:1000::/home/worker:/bin/bash"), ("group", "worker:x:1000:")):
            with (made.root / "etc" / file).open("a") as text:
                text.write(line + "\n")
        shutil.copy(made.write_stack(STACK), made.root / "opt/stack.toml")
        with start_systemd(made) as started:
            yield started


def test_units_are_stopped_and_started_and_put_back(machine: SystemdMachine) -> None:
    machine.run("systemctl", "enable", "--now", "xpk-noise.service")
    units = (TIMER, "xpk-noise.service", "xpk-wanted.service")
    before = {unit: machine.ask_unit(unit) for unit in units}
    assert before[TIMER] == before["xpk-noise.service"] == ("enabled", "active")
    assert before["xpk-wanted.service"] == ("disabled", "inactive")
    # A node as a driver would make it: nobody but its group may open it.
    os_node = "/dev/dri/renderD128"
    machine.run("mkdir", "/dev/dri")
    machine.run("mknod", "-m", "660", os_node, "c", "226", "128")
    machine.run("groupadd", "-r", "render")
    machine.run("chgrp", "render", os_node)
    assert machine.run("runuser", "-u", "worker", "--", "test", "-r", os_node, check=None).returncode == 1
    words = ("--stack", "/opt/stack.toml", "--with", "hold-updates", "--user", "worker")
    applied = machine.install("apply", *words, "--yes")
    assert machine.ask_unit(TIMER) == ("disabled", "inactive")
    assert machine.ask_unit("xpk-noise.service") == ("masked", "inactive")
    assert machine.ask_unit("xpk-wanted.service") == ("enabled", "active")
    assert machine.run("runuser", "-u", "worker", "--", "test", "-w", os_node).returncode == 0
    assert "does not work" not in applied.stderr
    assert "nothing to change" in machine.install("apply", *words, "--yes").stdout
    # A node that the group may not open is said.
    machine.run("chmod", "600", os_node)
    failing = machine.install("apply", *words, "--yes", check=1)
    assert f"worker cannot read {os_node}" in failing.stderr
    # Somebody turned a unit on again: said, and not overwritten.
    machine.run("systemctl", "enable", "--now", TIMER)
    assert "gone" in machine.install("status", check=1).stdout
    machine.install("undo", "--yes")
    assert {unit: machine.ask_unit(unit) for unit in units} == before


def test_a_unit_that_does_not_come_up_is_said(machine: SystemdMachine) -> None:
    broken = machine.root / "usr/lib/systemd/system/xpk-wanted.service"
    whole = broken.read_text(encoding="utf-8")
    broken.write_text(whole.replace("/bin/sleep infinity", "/bin/none") + "Alias=xpk-alias.service\n")
    machine.run("systemctl", "daemon-reload")
    before = machine.ask_unit(TIMER)
    ran = machine.install("apply", "--stack", "/opt/stack.toml", "--yes", check=1)
    assert "does not work: services: xpk-wanted.service has failed" in ran.stderr
    machine.install("undo", "--yes")
    broken.write_text(whole)
    machine.run("systemctl", "daemon-reload")
    assert machine.ask_unit("xpk-wanted.service") == ("disabled", "failed"), "systemd remembers that it failed"
    assert machine.ask_unit("xpk-noise.service")[0] == "enabled"
    assert machine.ask_unit(TIMER) == before
    assert not Path(machine.root, "etc/systemd/system/xpk-alias.service").exists()
    assert os.listdir(machine.root / "etc/udev/rules.d") == [] if (machine.root / "etc/udev/rules.d").exists() else True

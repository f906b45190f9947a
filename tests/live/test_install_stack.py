"""`xpukit install` for real: a Debian tree entered by chroot, without a network, packages from a local repository."""

from __future__ import annotations

import fcntl
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.chroot_machine import (
    REPO,
    Machine,
    TinyPackage,
    make_base,
    open_machine,
    skip_without_root,
    wait_until,
)

pytestmark = pytest.mark.live

SOURCE = ("--source", "/opt/repository", "--trust-source")
STACK = """
    include = ["permissions"]
    [[packages]]
    name = "libze1"
    purpose = "loader"
    source = "test"
    [[packages]]
    name = "clinfo"
    purpose = "shows what OpenCL finds"
    source = "test"
    [[holds]]
    package = "libze1"
    source = "test"
    [[checks]]
    argv = ["clinfo", "--version"]
    package = "clinfo"
    source = "test"
"""


@pytest.fixture(scope="session", autouse=True)
def base() -> Path:
    skip_without_root()
    return make_base()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with open_machine(tmp_path) as made:
        yield made


def stack_of(*names: str, more: str = "") -> str:
    rows = [f'[[packages]]\nname = "{name}"\npurpose = "test"\nsource = "test"\n' for name in names]
    return "\n".join(rows) + more


def test_apply_check_apply_again_undo(machine: Machine) -> None:
    machine.add_packages((), real=True)
    words = ("--stack", str(machine.write_stack(STACK)), *SOURCE, "--user", "worker")
    before, packages = machine.snapshot(), machine.list_packages()
    plan = machine.install_json("plan", *words)
    assert machine.snapshot() == before, "a plan changes nothing"
    steps = {step["name"]: step for step in plan["steps"]}
    coming = {package["name"]: package for package in steps["packages"]["changes"][0]["packages"]}
    assert coming.keys() == {"libze1", "clinfo", "ocl-icd-libopencl1"}
    assert not coming["ocl-icd-libopencl1"]["asked_for"]
    assert coming["libze1"]["after"] == "1.8.12-1"
    assert plan["download_bytes"] > 100_000
    assert plan["reboot"] == plan["blocked"] == []
    done = machine.install_json("apply", *words, "--yes")
    assert len(done["changes"]) == plan["changes"]
    assert done["problems"] == []
    # What was installed runs, and what was set is set.
    assert "clinfo" in machine.chroot("clinfo", "--version")
    assert machine.chroot("apt-mark", "showhold").split() == ["libze1"]
    assert "ocl-icd-libopencl1" in machine.chroot("apt-mark", "showauto").split()
    assert {"render", "video"} <= set(machine.chroot("id", "-nG", "worker").split())
    applied = machine.snapshot()
    again = machine.install_json("apply", *words, "--yes")
    assert again["changes"] == []
    assert machine.snapshot() == applied
    assert machine.install_json("plan", *words)["changes"] == 0
    assert machine.install_json("status")["entries"]
    undone = machine.install_json("undo", "--yes")
    assert len(undone["changes"]) == plan["changes"]
    assert machine.list_packages() == packages
    assert machine.snapshot() == before
    log = Path(done["log"]).read_text(encoding="utf-8")
    assert "$ apt-get -y" in log
    assert "Setting up libze1" in log


def test_a_failing_maintainer_script_stops_and_can_be_left_both_ways(machine: Machine) -> None:
    broken = "test -e /etc/allow || { echo there is no license; exit 3; }"
    machine.add_packages(
        (TinyPackage("xpk-good"), TinyPackage("xpk-broken", depends="xpk-good", postinst=broken))
    )  # fmt: skip
    words = ("--stack", str(machine.write_stack(stack_of("xpk-broken"))), *SOURCE, "--yes")
    before, packages = machine.snapshot(), machine.list_packages()
    ran = machine.install("apply", *words, check=4)
    assert "command: chroot" in ran.stderr
    assert "apt-get -y" in ran.stderr
    assert "xpk-broken" in ran.stderr
    assert "exit status 3" in ran.stderr
    assert machine.list_packages()["xpk-broken"].endswith("iF ")
    assert machine.install("status", check=1)
    machine.install("undo", "--yes")
    assert machine.list_packages() == packages
    assert machine.snapshot() == before
    machine.install("apply", *words, check=4)
    (machine.root / "etc/allow").write_text("")
    machine.install("apply", *words)
    assert machine.list_packages()["xpk-broken"].endswith("ii ")
    assert machine.install_json("status")["interrupted"] is False
    machine.install("undo", "--yes")
    assert machine.list_packages() == packages


def test_an_upgrade_is_taken_back_and_settings_stay(machine: Machine) -> None:
    conf = {"/etc/xpk.conf": "from the package\n"}
    old = TinyPackage("xpk-tool", "1.0", files={**conf, "/usr/bin/xpk-tool": "old\n"}, conffile="/etc/xpk.conf")
    machine.add_packages((old,))
    (machine.root / "var/cache/apt/archives").mkdir(parents=True, exist_ok=True)
    archive = machine.repository / "xpk-tool_1.0_amd64.deb"
    subprocess.run(
        ["chroot", str(machine.root), "dpkg", "-i", f"/opt/repository/{archive.name}"], check=True, capture_output=True
    )
    (machine.root / "etc/xpk.conf").write_text("the user's\n")
    machine.add_packages(
        (TinyPackage("xpk-tool", "2.0", files={**conf, "/usr/bin/xpk-tool": "new\n"}, conffile="/etc/xpk.conf"),)
    )
    before = machine.snapshot()
    stack = stack_of("xpk-tool").replace('purpose = "test"', 'purpose = "test"\nminimum = "2.0"')
    words = ("--stack", str(machine.write_stack(stack)), *SOURCE, "--yes")
    machine.install("apply", *words)
    assert (machine.root / "usr/bin/xpk-tool").read_text(encoding="utf-8") == "new\n"
    assert (machine.root / "etc/xpk.conf").read_text(encoding="utf-8") == "the user's\n"
    # The old archive is gone from the source: the one that was kept is used.
    archive.unlink()
    machine.install("undo", "--yes")
    assert (machine.root / "usr/bin/xpk-tool").read_text(encoding="utf-8") == "old\n"
    assert (machine.root / "etc/xpk.conf").read_text(encoding="utf-8") == "the user's\n"
    assert machine.snapshot() == before


def test_undo_does_not_take_what_others_came_to_need(machine: Machine) -> None:
    good = TinyPackage("xpk-good", postinst="getent group xpk-left || groupadd -r xpk-left")
    machine.add_packages((good, TinyPackage("xpk-user", depends="xpk-good")))
    before, packages = machine.snapshot(), machine.list_packages()
    machine.install("apply", "--stack", str(machine.write_stack(stack_of("xpk-good"))), *SOURCE, "--yes")
    install = ["chroot", str(machine.root), "dpkg", "-i", "/opt/repository/xpk-user_1.0_amd64.deb"]
    subprocess.run(install, check=True, capture_output=True)
    applied = machine.snapshot()
    document = machine.install_json("undo", "--yes", check=1)
    assert "xpk-user depends on xpk-good" in document["refused"][0]["why"]
    assert machine.snapshot() == applied
    # By force neither: dpkg says why, and once that package is gone the undo goes on.
    forced = machine.install("undo", "--yes", "--force", check=4)
    assert "xpk-user depends on xpk-good" in forced.stderr
    assert machine.list_packages()["xpk-good"].endswith("ii ")
    machine.chroot("dpkg", "--purge", "xpk-user")
    undone = machine.install("undo", "--yes")
    assert machine.list_packages() == packages
    # The group that the package's own script made goes with it: nobody is in it, and no file belongs to it.
    assert "xpk-left" not in undone.stderr
    assert machine.snapshot() == before


def test_a_group_to_which_files_belong_stays(machine: Machine) -> None:
    machine.add_packages((TinyPackage("xpk-good", postinst="getent group xpk-left || groupadd -r xpk-left"),))
    machine.install("apply", "--stack", str(machine.write_stack(stack_of("xpk-good"))), *SOURCE, "--yes")
    machine.chroot("chgrp", "xpk-left", "/srv")
    undone = machine.install("undo", "--yes")
    assert "the group xpk-left: it stays, because /srv belongs to it" in undone.stderr
    assert machine.chroot("getent", "group", "xpk-left")


@pytest.mark.parametrize("name", ["my_own repo", "r\u00e9p+o~1"])
def test_a_source_with_an_odd_name(machine: Machine, name: str) -> None:
    """apt spells it otherwise in the names of its lists."""
    machine.add_packages((TinyPackage("xpk-good"),))
    machine.repository.rename(machine.root / "opt" / name)
    before = machine.snapshot()
    words = ("apply", "--stack", str(machine.write_stack(stack_of("xpk-good"))), "--source", f"/opt/{name}")
    assert len(machine.install_json(*words, "--trust-source", "--yes")["changes"]) == 3
    assert machine.install_json(*words, "--trust-source", "--yes")["changes"] == []
    machine.install("undo", "--yes")
    assert machine.snapshot() == before


def test_held_by_another_dpkg_or_another_xpukit(machine: Machine) -> None:
    machine.add_packages((TinyPackage("xpk-good"),))
    words = ("apply", "--stack", str(machine.write_stack(stack_of("xpk-good"))), *SOURCE, "--yes")
    lock = os.open(machine.root / "var/lib/dpkg/lock-frontend", os.O_RDWR | os.O_CREAT)
    fcntl.lockf(lock, fcntl.LOCK_EX)
    ran = machine.install(*words, "--lock-wait", "1", check=4)
    assert f"waiting for /var/lib/dpkg/lock-frontend: held by process {os.getpid()}" in ran.stderr
    assert "for longer than 1 s" in ran.stderr
    # One that waits goes on as soon as it is free, and a second xpukit names the first.
    first = subprocess.Popen(
        [sys.executable, "-m", "xpukit", "install", *words, "--lock-wait", "60", "--root", str(machine.root)],
        cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert first.stderr is not None
    for line in first.stderr:
        if "waiting for /var/lib/dpkg/lock-frontend" in line:
            break
    second = machine.install(*words, "--lock-wait", "0", check=4)
    assert f"another xpukit install is at work: process {first.pid}, install apply of test" in second.stderr
    os.close(lock)
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert machine.list_packages()["xpk-good"].endswith("ii ")


@pytest.mark.parametrize(
    "numbers", [(4, 11), pytest.param(tuple(range(1, 18)), marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_killed_at_every_entry_of_the_journal(machine: Machine, numbers: tuple[int, ...]) -> None:
    """apply and undo, each killed as soon as the journal has one more line; what is left goes either way."""
    slow = "sleep 0.15"
    machine.add_packages(
        (TinyPackage("xpk-a", postinst=slow), TinyPackage("xpk-b", depends="xpk-a", postinst=slow))
    )  # fmt: skip
    more = '[[holds]]\npackage = "xpk-a"\nsource = "test"\n'
    stack = 'include = ["permissions"]\n' + stack_of("xpk-b", "xpk-a", more=more)
    words = ("apply", "--stack", str(machine.write_stack(stack)), *SOURCE, "--user", "worker", "--yes")
    before, packages = drop_litter(machine), machine.list_packages()
    journal = machine.root / "var/lib/xpukit/install/journal.jsonl"
    dice = random.Random(7)
    killed = 0
    for number in numbers:
        killed += machine.kill_at_line(words, journal, number, delay_s=dice.uniform(0, 0.2), children=number % 2 == 1)
        if number % 3 == 0:
            machine.install(*words)
            assert machine.install_json("status")["drift"] == 0
        killed += machine.kill_at_line(("undo", "--yes"), journal, number, delay_s=dice.uniform(0, 0.05), children=True)
        machine.install("undo", "--yes")
        assert machine.list_packages() == packages
        assert drop_litter(machine) == before
    assert killed >= len(numbers)


@pytest.mark.parametrize("lost", ["member", "group"])
def test_what_a_killed_undo_left_in_gshadow_goes_with_the_next(machine: Machine, lost: str) -> None:
    """Shadow's tools write /etc/group first, and may be killed before they write /etc/gshadow."""
    machine.add_packages((TinyPackage("xpk-a"),))
    stack = 'include = ["permissions"]\n' + stack_of("xpk-a")
    before = drop_litter(machine)
    machine.install("apply", "--stack", str(machine.write_stack(stack)), *SOURCE, "--user", "worker", "--yes")
    groups = machine.root / "etc/group"
    lines = groups.read_text().splitlines()
    if lost == "member":
        lines = [line.removesuffix("worker") if line.startswith("video:") else line for line in lines]
    else:
        lines = [line for line in lines if not line.startswith("render:")]
    assert lines != groups.read_text().splitlines()
    groups.write_text("\n".join(lines) + "\n")
    machine.install("undo", "--yes")
    assert drop_litter(machine) == before


def drop_litter(machine: Machine) -> dict[str, object]:
    """Without what shadow's tools and apt leave when they are killed themselves."""
    found = machine.snapshot()
    return {
        path: value
        for path, value in found.items()
        if not re.fullmatch(r"etc/g?s?(group|shadow|gshadow)(\.\d+|\.lock|\+)|var/lib/apt/lists/partial", path)
    }


def test_a_machine_for_which_the_stack_is_not_made(machine: Machine) -> None:
    (machine.root / "etc/os-release").unlink()
    (machine.root / "etc/os-release").write_text('ID=fedora\nVERSION_ID=42\nPRETTY_NAME="Fedora Linux 42"\n')
    machine.add_packages((TinyPackage("xpk-good"),))
    words = ("--stack", str(machine.write_stack(stack_of("xpk-good"))), *SOURCE)
    document = machine.install_json("plan", *words, check=1)
    assert [finding["id"] for finding in document["findings"]] == ["XPK-INSTALL-RELEASE-UNSUPPORTED"]
    before = machine.snapshot()
    machine.install("apply", *words, "--yes", check=1)
    assert machine.snapshot() == before
    assert "no stack is made for Fedora Linux 42" in machine.install("plan", check=3).stderr


def test_an_export_is_applied_elsewhere(machine: Machine, tmp_path: Path) -> None:
    machine.add_packages((TinyPackage("xpk-good", "1.0"), TinyPackage("xpk-good", "1.5")))
    stack = str(machine.write_stack(stack_of("xpk-good")))
    machine.install("apply", "--stack", stack, *SOURCE, "--yes", "--pin", "xpk-good=1.0")
    exported = tmp_path / "set.json"
    machine.install("export", "--stack", stack, "-o", str(exported))
    machine.install("undo", "--yes")
    machine.install("apply", "--stack", stack, "--set", str(exported), *SOURCE, "--only-source", "--yes")
    assert machine.list_packages()["xpk-good"] == "1.0 ii "


def test_held_packages_are_said_and_left(machine: Machine) -> None:
    machine.add_packages((TinyPackage("xpk-good", "1.0"),))
    stack = str(machine.write_stack(stack_of("xpk-good")))
    machine.install("apply", "--stack", stack, *SOURCE, "--yes")
    machine.chroot("apt-mark", "hold", "xpk-good")
    machine.add_packages((TinyPackage("xpk-good", "2.0"),))
    document = machine.install_json("plan", "--stack", stack, *SOURCE, "--pin", "xpk-good=2.0", check=1)
    assert any("held" in reason for reason in document["blocked"])


def test_a_full_disk_is_found_by_the_plan_and_survived_by_apply(machine: Machine, tmp_path: Path) -> None:
    """The tree's /var is a small file system of its own."""
    small = tmp_path / "small"
    subprocess.run(["truncate", "-s", "8M", str(small)], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(small)], check=True, capture_output=True)
    place = machine.root / "usr/share/xpk"
    place.mkdir()
    if subprocess.run(["mount", "-o", "loop", str(small), str(place)], capture_output=True, check=False).returncode:
        pytest.skip("a loop mount cannot be made here")
    try:
        files = {"/usr/share/xpk/big": "0" * (12 << 20)}
        machine.add_packages((TinyPackage("xpk-big", files=files),))
        words = ("--stack", str(machine.write_stack(stack_of("xpk-big"))), *SOURCE, "--yes")
        before, packages = machine.snapshot(), machine.list_packages()
        ran = machine.install("apply", *words, check=4)
        assert "No space left on device" in ran.stderr
        machine.install("undo", "--yes")
        assert machine.list_packages() == packages
        assert machine.snapshot() == before, "not even dpkg's wish for the package"
        assert not (place / "big").exists()
    finally:
        wait_until(lambda: not subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode)

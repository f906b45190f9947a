"""What a plan says about the machine; services and holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.install.step_case import StepCase, TreeHost, answer, make_stack
from xpukit.core.errors import CouldNotJudgeError
from xpukit.core.machine import Device
from xpukit.facts.stacks import HoldFacts, KernelFacts, PackageFacts, ServiceFacts
from xpukit.host.answers import FileAnswer, FoundAnswer, IdentityAnswer, Ran, StatAnswer
from xpukit.install.change import PackageAction, PackagesChange
from xpukit.install.detect import detect_stack, read_release
from xpukit.install.plan import PlannedStep, find_low_disk, plan_stack
from xpukit.install.site import Site
from xpukit.install.step import Options, Scene, Source, StepPlan
from xpukit.install.steps.holds import STEP as HOLDS
from xpukit.install.steps.services import STEP as SERVICES
from xpukit.install.surroundings import look_around

KERNEL = KernelFacts(package="linux-image-amd64", minimum="6.12", why="test", source="test")


class WholeHost(TreeHost):
    """A whole machine ("/") of which a test says every file."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__({})
        self.files = files

    def read(self, path: str, **settings: object) -> FileAnswer:
        return FileAnswer(data=self.files[path]) if path in self.files else FileAnswer(error="ENOENT")

    def stat(self, path: str) -> StatAnswer:
        return StatAnswer(kind="file") if path in self.files else StatAnswer(error="ENOENT")

    def which(self, name: str) -> FoundAnswer:
        return FoundAnswer()


def look(files: dict[str, bytes], *devices: Device) -> dict[str, str]:
    scene = Scene(site=Site(WholeHost(files)), stack=make_stack(kernel=KERNEL), devices=devices)
    return {finding.id: finding.severity for finding in look_around(scene)}


SECURE = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
B60 = Device(index=0, bdf="0000:03:00.0", vendor_id="8086", device_id="e211", name="Arc Pro B60", known=True)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, {}),
        ({SECURE: b"\x06\0\0\0\x01"}, {"XPK-INSTALL-SECURE-BOOT": "warning"}),
        ({SECURE: b"\x06\0\0\0\x00"}, {}),
        ({"/proc/mounts": b"/dev/sda1 / ext4 ro,relatime 0 0\n"}, {"XPK-INSTALL-READ-ONLY": "critical"}),
        ({"/proc/mounts": b"/dev/sda1 / ext4 ro 0 0\n/dev/sda1 / ext4 rw 0 0\n"}, {}),
        ({"/proc/mounts": b"/dev/sda1 / ext4 rw,errors=remount-ro 0 0\n/dev/sr0 /media iso9660 ro 0 0\n"}, {}),
        ({"/sys/module/amdgpu": b""}, {"XPK-INSTALL-OTHER-DRIVER": "info"}),
        ({"/proc/driver/nvidia/version": b"", "/sys/module/nvidia": b""}, {"XPK-INSTALL-OTHER-DRIVER": "info"}),
    ],
)
def test_findings(files: dict[str, bytes], found: dict[str, str]) -> None:
    assert look(files) == found


def test_a_kernel_that_does_not_drive_the_gpu() -> None:
    old = {"/proc/sys/kernel/osrelease": b"6.1.0-30-amd64\n"}
    assert look(old, B60) == {"XPK-INSTALL-KERNEL-OLD": "warning"}
    assert look({"/proc/sys/kernel/osrelease": b"6.17.0-1-generic\n"}, B60) == {}


def test_another_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WholeHost, "identity", lambda self: IdentityAnswer(machine="aarch64"))
    assert look({}) == {"XPK-INSTALL-ARCHITECTURE": "critical"}


@pytest.mark.parametrize("status", ["iF ", "iU ", "iHR", "iW ", "it "])
def test_packages_that_are_not_wholly_installed(tmp_path: Path, status: str) -> None:
    listed = f"tzdata\t1\tall\t{status}\nlibc6\t2\tamd64\tii \nold\t1\tall\trc \n"
    case = StepCase(tmp_path, commands={("dpkg-query",): answer(listed)})
    (finding,) = look_around(case.scene)
    assert (finding.id, finding.severity) == ("XPK-INSTALL-DPKG-HALF", "warning")
    assert "not wholly installed: tzdata:" in finding.summary


def test_pins_and_an_interrupted_dpkg(tmp_path: Path) -> None:
    case = StepCase(
        tmp_path,
        stack=make_stack(packages=(PackageFacts(name="libze1", purpose="p", source="s"),)),
        files={
            "/etc/apt/preferences.d/intel": "Package: libze1 other\nPin: release o=x\nPin-Priority: 900\n",
            "/etc/apt/preferences.d/else": "Package: firefox\nPin: release o=x\nPin-Priority: 900\n",
            "/var/lib/dpkg/updates/0001": "",
        },
    )
    assert [finding.id for finding in look_around(case.scene)] == ["XPK-INSTALL-PIN", "XPK-INSTALL-DPKG-INTERRUPTED"]


@pytest.mark.parametrize(
    ("text", "stack"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "debian-12"),
        ("ID=debian\nVERSION_ID=13\n", "debian-13"),
        ('NAME="Ubuntu"\nID=ubuntu\nVERSION_ID="24.04"\n', "ubuntu-24.04"),
        ('ID=ubuntu\nVERSION_ID="25.04"\n', "ubuntu-25.04"),
    ],
)
def test_the_stack_of_a_release(tmp_path: Path, text: str, stack: str) -> None:
    case = StepCase(tmp_path, files={"/usr/lib/os-release": text})
    (case.root / "etc/os-release").symlink_to("../usr/lib/os-release")
    assert detect_stack(case.site).name == stack


def test_no_stack_for_a_release(tmp_path: Path) -> None:
    case = StepCase(tmp_path, files={"/etc/os-release": 'ID=arch\nPRETTY_NAME="Arch Linux"\nnonsense\n'})
    assert read_release(case.site).version == ""
    with pytest.raises(CouldNotJudgeError, match="Arch Linux"):
        detect_stack(case.site)
    plan = plan_stack(case.scene)
    assert plan.steps[0].name == "repository"


@pytest.mark.parametrize(("free", "severity"), [(10_000_000, "critical"), (300_000_000, "warning"), (10**10, "")])
def test_low_disk(tmp_path: Path, free: int, severity: str) -> None:
    case = StepCase(tmp_path, commands={("df",): answer(f"Avail\n{free}\n")})
    action = PackageAction(name="a", architecture="amd64", before="", after="1", download_bytes=10_000_000)
    change = PackagesChange(request=("a=1",), actions=(action,), disk_bytes=90_000_000)
    steps = [PlannedStep(name="packages", summary="", plan=StepPlan(changes=(change,)))]
    assert [finding.severity for finding in find_low_disk(case.scene, steps)] == ([severity] if severity else [])


@pytest.mark.parametrize(("word", "problems"), [("failed\n", 1), ("active\n", 0)])
def test_a_unit_that_did_not_come_up_is_a_problem(monkeypatch: pytest.MonkeyPatch, word: str, problems: int) -> None:
    host = WholeHost({})
    monkeypatch.setattr(host, "which", lambda name: FoundAnswer(value=f"/usr/bin/{name}"))
    host.commands[("systemctl", "is-failed")] = answer(word)
    rows = (
        ServiceFacts(unit="a.service", want="enabled", source="s"),
        ServiceFacts(unit="b", want="masked", source="s"),
    )
    scene = Scene(site=Site(host), stack=make_stack(services=rows))
    assert SERVICES.verify is not None
    assert len(SERVICES.verify(scene)) == problems


def test_services_there_and_back(tmp_path: Path) -> None:
    stack = make_stack(
        services=(
            ServiceFacts(unit="apt-daily.timer", want="disabled", why="w", source="s"),
            ServiceFacts(unit="gone.timer", want="disabled", why="w", source="s"),
        )
    )
    case = StepCase(tmp_path, stack=stack, files={"/usr/bin/systemctl": ""})
    units = {"apt-daily.timer": "enabled"}

    def systemctl(words: tuple[str, ...]) -> object:
        verb, unit = words[1], words[-1]
        if verb == "is-enabled":
            state = units.get(unit, "not-found")
            return answer(state + "\n", rc=0 if state == "enabled" else 1)
        units[unit] = {"enable": "enabled", "disable": "disabled"}[verb]
        return answer()

    case.host.commands[("systemctl",)] = systemctl  # type: ignore[assignment]
    assert case.apply(SERVICES).changes == ("disable apt-daily.timer",)
    assert units == {"apt-daily.timer": "disabled"}
    assert case.apply(SERVICES).changes == ()
    units["apt-daily.timer"] = "masked"
    assert [refusal.why for refusal in case.undo().refused] == ["apt-daily.timer is masked now (xpukit: disabled)"]
    units["apt-daily.timer"] = "disabled"
    case.undo()
    assert units == {"apt-daily.timer": "enabled"}


def test_links_of_a_unit_are_put_back_as_they_were(tmp_path: Path) -> None:
    """systemctl names /usr/lib where the package's own link names /lib, and knows no link of the user's."""
    stack = make_stack(services=(ServiceFacts(unit="a.timer", want="disabled", source="s"),))
    case = StepCase(tmp_path, stack=stack, files={"/usr/bin/systemctl": ""})
    links = [case.root / f"etc/systemd/system/{target}.wants/a.timer" for target in ("timers.target", "lab.target")]
    for link in links:
        link.parent.mkdir(parents=True)
        link.symlink_to("/lib/systemd/system/a.timer")
    before = case.snapshot()

    def systemctl(words: tuple[str, ...]) -> Ran:
        if words[1] == "disable":
            for link in links:
                link.unlink()
                link.parent.rmdir()
        elif words[1] == "enable":
            links[0].parent.mkdir()
            links[0].symlink_to("/usr/lib/systemd/system/a.timer")
        return answer("enabled\n" if links[0].is_symlink() else "disabled\n")

    case.host.commands[("systemctl",)] = systemctl
    case.apply(SERVICES)
    case.undo()
    assert case.snapshot() == before


def test_services_without_systemd_are_unknown(tmp_path: Path) -> None:
    stack = make_stack(services=(ServiceFacts(unit="a.timer", want="disabled", source="s"),))
    plan = StepCase(tmp_path, stack=stack).plan(SERVICES)
    assert plan.changes == ()
    assert plan.unchecked[0].why.startswith("no systemctl")


def test_holds_of_what_is_installed(tmp_path: Path) -> None:
    stack = make_stack(holds=(HoldFacts(package="a", source="s"), HoldFacts(package="none", source="s")))
    held = {"a": "ii "}
    case = StepCase(tmp_path, stack=stack, options=Options(lock_wait_s=0))

    def mark(words: tuple[str, ...]) -> object:
        held["a"] = "hi " if words[1] == "hold" else "ii "
        return answer()

    case.host.commands[("apt-mark",)] = mark  # type: ignore[assignment]
    case.host.commands[("dpkg-query",)] = lambda words: answer(f"a\t1\tamd64\t{held['a']}\n")
    assert case.apply(HOLDS).changes == ("hold package a",)
    assert case.apply(HOLDS).changes == ()
    case.undo()
    assert held == {"a": "ii "}


def test_holds_of_what_will_not_come_are_not_announced(tmp_path: Path) -> None:
    """A driver that no distribution has is held only where a source may bring it."""
    rows = (PackageFacts(name="driver", purpose="p", needs_source=True, required=False, source="s"),)
    stack = make_stack(packages=rows, holds=(HoldFacts(package="driver", source="s"),))
    case = StepCase(tmp_path, stack=stack, commands={("dpkg-query",): answer("a\t1\tamd64\tii \n")})
    plan = case.plan(HOLDS)
    assert plan.changes == ()
    assert plan.satisfied == ("driver is not there: nothing to hold",)
    given = StepCase(
        tmp_path, stack=stack, commands=case.host.commands, options=Options(source=Source(directory="/opt/r"))
    )
    assert len(given.plan(HOLDS).changes) == 1


def test_another_root_on_a_read_only_file_system(tmp_path: Path) -> None:
    case = StepCase(tmp_path, commands={("test", "-w"): answer(), ("test", "-w", "/var"): answer(rc=1)})
    case.host.commands[("dpkg-query",)] = answer()
    assert [finding.summary for finding in look_around(case.scene)] == [
        "/var is mounted read-only: nothing can be installed there"
    ]

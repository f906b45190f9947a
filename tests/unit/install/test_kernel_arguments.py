"""The kernel argument step and the boot menu, applied and undone on file trees."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.machines.recorded_machines import open_loosely
from tests.unit.install.grub_trees import MAIN, NORMAL, GrubTree, grub_trees
from tests.unit.install.step_case import StepCase, answer, make_stack
from xpukit.core.errors import ExternalError
from xpukit.facts.stacks import KernelArgumentFacts
from xpukit.host.answers import FileAnswer, Ran
from xpukit.install.grub_settings import VARIABLES, read_settings
from xpukit.install.plan import plan_stack
from xpukit.install.site import Site
from xpukit.install.step import Options, Scene
from xpukit.install.steps.kernel_arguments import STEP, _explain_reboot

PASS_THROUGH = KernelArgumentFacts(token="iommu=pt", remove=("iommu=off",), source="test", why="no translation")
STACK = make_stack(kernel_arguments=(PASS_THROUGH,))
MENU = "/boot/grub/grub.cfg"
GRUB = {MAIN: 'GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT="quiet splash"\n'}
ENTRY = "title Debian\nmachine-id abc\noptions root=UUID=1 ro\nlinux /abc/linux\n"


def render_menu(words: tuple[str, ...]) -> str:
    return (
        "### BEGIN /etc/grub.d/10_linux ###\nmenuentry 'Debian' {\n"
        f"\tlinux\t/boot/vmlinuz-6.1 root=/dev/sda1 ro {' '.join(words)}\n}}\n### END /etc/grub.d/10_linux ###\n"
    )


def make_case(folder: Path, files: dict[str, str], *, stack: object = STACK, broken: bool = False) -> StepCase:
    """A machine whose update-grub does what the real one does, or (`broken`) nothing at all."""
    case = StepCase(folder, stack=stack, files=files)  # type: ignore[arg-type]

    def update_grub(words: tuple[str, ...]) -> Ran:
        texts = {path: case.read(path) for path in _list_grub(case)}
        read = read_settings(texts)
        if not broken:
            case.write(MENU, render_menu(tuple(word for name in VARIABLES for word in read.words(name))))
        return answer()

    if MAIN in files:
        case.write("/usr/sbin/update-grub", "#!/bin/sh\n")
        case.write(MENU, "")
        update = update_grub if not broken else (lambda words: answer())
        case.write(MENU, render_menu(_words_of(case)))
        case.host.commands[("update-grub",)] = update
    return case


def _list_grub(case: StepCase) -> list[str]:
    folder = case.root / "etc/default/grub.d"
    return [MAIN, *sorted(f"/etc/default/grub.d/{path.name}" for path in folder.glob("*.cfg"))]


def _words_of(case: StepCase) -> tuple[str, ...]:
    read = read_settings({path: case.read(path) for path in _list_grub(case)})
    return tuple(word for name in VARIABLES for word in read.words(name))


@given(grub_trees())
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_apply_and_undo_give_the_same_tree_back(tree: GrubTree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = {MAIN: "", **tree.files}
        case = make_case(Path(folder), files)
        before = case.snapshot()
        case.apply(STEP)
        once = case.snapshot()
        assert "iommu=pt" in _words_of(case)
        assert "iommu=off" not in _words_of(case)
        assert case.apply(STEP).changes == ()
        assert case.snapshot() == once
        case.undo()
        assert case.snapshot() == before
        assert {path: case.read(path) for path in files} == files


def test_the_menu_is_made_once_and_read(tmp_path: Path) -> None:
    case = make_case(tmp_path, GRUB)
    outcome = case.apply(STEP)
    assert outcome.refreshed == ("bootloader",)
    assert case.host.ran.count(("update-grub",)) == 1
    assert "quiet splash iommu=pt" in case.read(MENU)
    assert outcome.reboot == ("the kernel reads its arguments at boot (iommu=pt)",)
    case.undo()
    assert "iommu=pt" not in case.read(MENU)


def test_a_menu_that_does_not_say_it_fails_the_run(tmp_path: Path) -> None:
    case = make_case(tmp_path, GRUB, broken=True)
    with pytest.raises(ExternalError, match="lacks iommu=pt"):
        case.apply(STEP)
    case.undo()
    assert case.read(MAIN) == GRUB[MAIN]


def test_the_first_backup_stays_when_the_file_changes_later(tmp_path: Path) -> None:
    case = make_case(tmp_path, GRUB)
    case.apply(STEP)
    case.undo()
    case.write(MAIN, GRUB[MAIN].replace("splash", "splash audit=0"))
    case.apply(STEP)
    assert case.read("/var/lib/xpukit/install/backups/first/etc/default/grub") == GRUB[MAIN]
    case.undo()
    assert case.read(MAIN) == GRUB[MAIN].replace("splash", "splash audit=0")


def test_undo_leaves_a_file_that_somebody_changed_since(tmp_path: Path) -> None:
    case = make_case(tmp_path, GRUB)
    case.apply(STEP)
    case.write(MAIN, case.read(MAIN) + "# mine\n")
    assert case.undo().refused
    assert case.read(MAIN).endswith("# mine\n")


@pytest.mark.parametrize("at", range(0, 40, 3))
def test_a_run_killed_anywhere_goes_on(tmp_path: Path, at: int) -> None:
    case = make_case(tmp_path, {**GRUB, "/etc/kernel/cmdline": "ro iommu=off\n"})
    before = case.snapshot()
    case.crash_apply(STEP, at=at)
    case.apply(STEP)
    assert case.read("/etc/kernel/cmdline") == "ro iommu=pt\n"
    assert "iommu=pt" in case.read(MENU)
    case.undo()
    assert case.snapshot() == before


def test_entries_and_cmdline_are_edited_where_they_are_used(tmp_path: Path) -> None:
    other = ENTRY.replace("abc", "xyz")
    files = {
        "/etc/machine-id": "abc\n",
        "/etc/kernel/cmdline": "root=UUID=1 ro\n",
        "/boot/efi/loader/entries/abc-6.1.conf": ENTRY,
        "/boot/efi/loader/entries/xyz-6.1.conf": other,
        "/boot/efi/loader/entries/windows.conf": "title Other\nefi /EFI/other.efi\n",
    }
    case = make_case(tmp_path, files)
    before = case.snapshot()
    case.apply(STEP)
    assert case.read("/etc/kernel/cmdline") == "root=UUID=1 ro iommu=pt\n"
    assert case.read("/boot/efi/loader/entries/abc-6.1.conf") == ENTRY.replace(" ro\n", " ro iommu=pt\n")
    assert case.read("/boot/efi/loader/entries/xyz-6.1.conf") == other
    assert case.apply(STEP).changes == ()
    case.undo()
    assert case.snapshot() == before


def test_a_vendors_cmdline_is_copied_not_changed(tmp_path: Path) -> None:
    files = {"/usr/lib/kernel/cmdline": "ro\n", "/boot/loader/entries/a.conf": ENTRY}
    case = make_case(tmp_path, files)
    case.apply(STEP)
    assert case.read("/usr/lib/kernel/cmdline") == "ro\n"
    assert case.read("/etc/kernel/cmdline") == "ro iommu=pt\n"
    case.undo()
    assert not (case.root / "etc/kernel").exists()


def test_bytes_that_are_no_text_stay(tmp_path: Path) -> None:
    case = make_case(tmp_path, GRUB)
    case.write(MAIN, b'# caf\xe9\r\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n')
    case.host.commands[("update-grub",)] = lambda words: (
        case.write(MENU, render_menu(("quiet", "iommu=pt"))),
        answer(),
    )[1]
    case.apply(STEP)
    assert (case.root / MAIN[1:]).read_bytes() == b'# caf\xe9\r\nGRUB_CMDLINE_LINUX_DEFAULT="quiet iommu=pt"\n'


def test_no_boot_loader_is_said(tmp_path: Path) -> None:
    plan = make_case(tmp_path, {}).plan(STEP)
    assert "Put them in by hand (iommu=pt)" in plan.blocked


def test_a_menu_that_nothing_can_make_anew_stops_the_plan(tmp_path: Path) -> None:
    """The settings would be changed, and the machine would boot as before."""
    case = make_case(tmp_path, GRUB)
    (case.root / "usr/sbin/update-grub").unlink()
    assert "neither update-grub nor grub-mkconfig" in case.plan(STEP).blocked


def test_settings_without_a_menu_may_have_no_effect(tmp_path: Path) -> None:
    case = StepCase(tmp_path, stack=STACK, files=GRUB)
    plan = case.plan(STEP)
    assert [finding.id for finding in plan.findings] == ["XPK-INSTALL-BOOT-MENU-MISSING"]
    assert len(plan.changes) == 1


@pytest.mark.parametrize(
    ("files", "refreshes"), [(GRUB, ("bootloader",)), ({"/boot/loader/entries/a.conf": ENTRY}, ())]
)
def test_only_what_is_there_is_announced_to_be_made_anew(
    tmp_path: Path, files: dict[str, str], refreshes: tuple[str, ...]
) -> None:
    assert plan_stack(make_case(tmp_path, files).scene).refreshes == refreshes


def test_words_for_init_of_the_running_kernel_are_not_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_case(tmp_path, GRUB).scene
    monkeypatch.setattr(Site, "is_whole", True)
    for booted, late in (("quiet iommu=pt", False), ("quiet -- iommu=pt", True)):
        running = Scene(site=RunningSite(scene.site, booted), stack=STACK)
        assert bool(_explain_reboot(running, [PASS_THROUGH], changing=False)) is late


class RunningSite(Site):
    """A site whose kernel was started with these words."""

    def __init__(self, site: Site, booted: str) -> None:
        super().__init__(site.host, site.root)
        self._booted = booted

    def read(self, path: str, **settings: object) -> FileAnswer:
        return FileAnswer(data=self._booted.encode() + b"\n")


def test_a_recording_without_the_files_says_nothing_about_them(tmp_path: Path) -> None:
    plan = STEP.plan(Scene(site=Site(open_loosely("b580")), stack=STACK))
    assert not plan.blocked
    assert not plan.changes
    assert "/etc/default/grub: not in the recording" in [item.why for item in plan.unchecked]


def test_a_place_that_cannot_be_edited_is_said(tmp_path: Path) -> None:
    text = 'GRUB_CMDLINE_LINUX="x"\nif true; then GRUB_CMDLINE_LINUX="iommu=off"; fi\n'
    plan = make_case(tmp_path, {MAIN: text}).plan(STEP)
    assert "take it out by hand" in plan.blocked
    assert not plan.changes


def test_rows_of_options_that_were_not_chosen_do_nothing(tmp_path: Path) -> None:
    row = KernelArgumentFacts(token="iommu=pt", option="iommu-pt", source="test")
    stack = make_stack(kernel_arguments=(row,))
    case = make_case(tmp_path, GRUB, stack=stack)
    assert case.plan(STEP).changes == ()
    chosen = StepCase(tmp_path, stack=stack, options=Options(chosen=frozenset(("iommu-pt",))))
    assert len(chosen.plan(STEP).changes) == 1


def test_several_rows_make_one_change_of_a_file(tmp_path: Path) -> None:
    rows = (
        KernelArgumentFacts(token="intel_iommu=off", remove=("intel_iommu=*",), source="test"),
        KernelArgumentFacts(token="", remove=("splash",), source="test"),
        PASS_THROUGH,
    )
    files = {MAIN: f'{NORMAL}="quiet intel_iommu=on splash"\n'}
    case = make_case(tmp_path, files, stack=make_stack(kernel_arguments=rows))
    assert len(case.plan(STEP).changes) == 1
    case.apply(STEP)
    assert case.read(MAIN) == f'{NORMAL}="quiet intel_iommu=off iommu=pt"\n'


def test_a_menu_older_than_its_settings_is_found(tmp_path: Path) -> None:
    case = make_case(tmp_path, {MAIN: f'{NORMAL}="iommu=pt"\n'})
    assert case.plan(STEP).findings == ()
    case.write(MENU, render_menu(("quiet",)))
    assert [finding.id for finding in case.plan(STEP).findings] == ["XPK-INSTALL-BOOT-MENU-STALE"]


def test_another_value_of_the_same_parameter_is_found(tmp_path: Path) -> None:
    case = make_case(tmp_path, {MAIN: f'{NORMAL}="iommu=soft"\n'})
    plan = case.plan(STEP)
    assert [finding.id for finding in plan.findings] == ["XPK-INSTALL-KERNEL-ARGUMENT-TWICE"]
    assert plan.changes


def test_a_unified_kernel_image_is_found(tmp_path: Path) -> None:
    case = make_case(tmp_path, {**GRUB, "/boot/efi/EFI/Linux/debian.efi": "MZ"})
    assert "XPK-INSTALL-UNIFIED-KERNEL" in [finding.id for finding in case.plan(STEP).findings]


def test_a_kernel_without_an_entry_is_found(tmp_path: Path) -> None:
    case = make_case(tmp_path, {**GRUB, "/boot/vmlinuz-6.1": ""})
    case.host.commands[("update-grub",)] = lambda words: (case.write(MENU, "set timeout=5\n"), answer())[1]
    with pytest.raises(ExternalError, match="no entry for any of the kernels"):
        case.apply(STEP)

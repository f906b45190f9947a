"""Kernel arguments for real: the shell reads the settings as we do, update-grub writes them, the kernel gets them.

Real in all of it: sh, Debian's grub-mkconfig and its scripts, and in the boot QEMU's BIOS, GRUB reading the menu from
the disk, and Debian's kernel. Not real: GRUB itself lies on a small disk of its own, made by grub-mkimage instead of
grub-install, and instead of init a script says what is in /proc/cmdline.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.live.boot_machine import BootMachine, skip_without_parts
from tests.unit.install.grub_trees import MAIN, NORMAL, GrubTree, grub_trees
from tests.unit.install.step_case import make_stack
from xpukit.facts.stacks import KernelArgumentFacts
from xpukit.install.apply import apply_stack
from xpukit.install.grub_settings import VARIABLES, edit_settings, order_texts, read_settings
from xpukit.install.kernel_words import WantedWord, split_words
from xpukit.install.reporter import Reporter
from xpukit.install.step import Options, Scene
from xpukit.install.steps.kernel_arguments import STEP
from xpukit.install.undo import undo_stack

pytestmark = pytest.mark.live
MENU = "/boot/grub/grub.cfg"
CLOUD = "/etc/default/grub.d/50-cloudimg-settings.cfg"
STACK = make_stack(
    kernel_arguments=(
        KernelArgumentFacts(token="iommu=pt", remove=("iommu=off",), source="test"),
        KernelArgumentFacts(token="intel_iommu=off", remove=("intel_iommu=*",), source="test"),
        KernelArgumentFacts(token='dyndbg="file drivers/pci/* +p"', source="test"),
    )
)


def ask_shell(files: dict[str, str], folder: Path) -> dict[str, tuple[str, ...]]:
    """What grub-mkconfig gets: sh reads the files in order."""
    script = []
    for i, text in enumerate(files.values()):
        (folder / str(i)).write_text(text)
        script.append(f". {folder}/{i}")
    script.append('printf \'%s\\001%s\' "$GRUB_CMDLINE_LINUX" "$GRUB_CMDLINE_LINUX_DEFAULT"')
    ran = subprocess.run(
        ["sh", "-c", "\n".join(script)], capture_output=True, text=True, timeout=20, check=True, cwd=folder
    )
    return {name: split_words(value) for name, value in zip(VARIABLES, ran.stdout.split("\x01"), strict=True)}


@given(grub_trees())
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_shell_reads_what_we_read_before_and_after(tmp_path: Path, tree: GrubTree) -> None:
    files = dict(tree.files)
    assert ask_shell(files, tmp_path) == tree.words
    wanted = WantedWord(token="iommu=pt", remove=("iommu=off", "intel_iommu=*"))
    files = order_texts({**files, **edit_settings(read_settings(files), wanted, has_dropins=True).texts})
    said = ask_shell(files, tmp_path)
    assert said == {name: read_settings(files).words(name) for name in VARIABLES}
    assert "iommu=pt" in said[NORMAL] + said[VARIABLES[0]]
    assert "iommu=off" not in said[NORMAL] + said[VARIABLES[0]]


@pytest.mark.parametrize(
    "files",
    [
        {MAIN: f'{NORMAL}="quiet"\nif [ -e / ]; then\n  {NORMAL}="audit=0"\nfi\n'},
        {MAIN: f'{NORMAL}="quiet"\n[ -e / ] && {NORMAL}="${NORMAL} audit=0"\n'},
        {MAIN: f'{NORMAL}="$(echo quiet)"\n', CLOUD: f'{NORMAL}="${{{NORMAL}:+${NORMAL} }}audit=0"\n'},
        {MAIN: f"{NORMAL}=`echo quiet`\n"},
        {MAIN: f'EXTRA="iommu=off audit=0"\n{NORMAL}="quiet $EXTRA"\n'},
        {MAIN: f"f() {{\n  {NORMAL}=other\n}}\n{NORMAL}=quiet; f\n"},
        {MAIN: f"{NORMAL}=quiet\n. /dev/null\neval {NORMAL}=other\n"},
        {MAIN: f"{NORMAL}=quiet\neval '{NORMAL}=other'\n{NORMAL}=\"${NORMAL} audit=0\"\n"},
    ],
)
def test_the_shell_sees_the_word_also_where_we_cannot_know_the_rest(tmp_path: Path, files: dict[str, str]) -> None:
    before = ask_shell(files, tmp_path)[NORMAL]
    done = edit_settings(read_settings(files), WantedWord(token="iommu=pt", remove=("iommu=off",)), has_dropins=True)
    assert not done.problem
    after = ask_shell(order_texts({**files, **done.texts}), tmp_path)[NORMAL]
    assert sorted(after) == sorted([*(word for word in before if word != "iommu=off"), "iommu=pt"])


def prepare(machine: BootMachine) -> None:
    """A machine somebody has lived in: an override in grub.d, a serial console, quotes and a continuation."""
    text = machine.read(MAIN).replace("GRUB_TIMEOUT=5", "GRUB_TIMEOUT=0")
    text = text.replace('GRUB_CMDLINE_LINUX=""', 'GRUB_CMDLINE_LINUX="console=ttyS0 \\\n  init=/usr/sbin/xpukit-show"')
    machine.write(MAIN, text + '\n# the lab\'s own\nGRUB_TERMINAL="serial"\n')
    machine.write(CLOUD, f"{NORMAL}='iommu=off loglevel=4 intel_iommu=on'  # overrides the one above\n")
    machine.chroot("update-grub")


def apply(machine: BootMachine) -> tuple[str, ...]:
    scene = Scene(site=machine.site, stack=STACK, options=Options(lock_wait_s=5))
    return apply_stack(scene, Reporter(), steps=(STEP,)).changes


def find_kernel_lines(machine: BootMachine) -> list[str]:
    return [line.strip() for line in machine.read(MENU).splitlines() if line.lstrip().startswith("linux\t")]


def test_update_grub_writes_the_menu_and_undo_gives_the_same_bytes_back(tmp_path: Path) -> None:
    skip_without_parts()
    with BootMachine(tmp_path) as machine:
        prepare(machine)
        before = {path: machine.read(path) for path in (MAIN, CLOUD, MENU)}
        assert len(apply(machine)) == 1
        assert machine.read(MAIN) == before[MAIN]
        assert machine.read(CLOUD) == (
            f"{NORMAL}='iommu=pt loglevel=4 intel_iommu=off dyndbg=\"file drivers/pci/* +p\"'  # overrides the one above\n"
        )
        lines = find_kernel_lines(machine)
        normal = [line for line in lines if " single " not in line]
        assert normal
        assert all(
            line.endswith(
                'init=/usr/sbin/xpukit-show iommu=pt loglevel=4 intel_iommu=off dyndbg="file drivers/pci/* +p"'
            )
            for line in normal
        )
        assert all("iommu" not in line for line in lines if line not in normal)
        machine.chroot("grub-script-check", MENU)
        assert apply(machine) == ()
        assert not undo_stack(machine.site, Reporter(), lock_wait_s=5).refused
        assert {path: machine.read(path) for path in before} == before


@pytest.mark.slow
def test_the_kernel_is_started_with_the_argument_and_after_undo_without(tmp_path: Path) -> None:
    skip_without_parts("qemu-system-x86_64", "setpriv")
    machine = BootMachine(tmp_path)
    with machine:
        prepare(machine)
        apply(machine)
    there = split_words(machine.boot())
    assert {"iommu=pt", "intel_iommu=off", "loglevel=4"} <= set(there)
    assert '"dyndbg=file drivers/pci/* +p"' in there
    assert "iommu=off" not in there
    with machine:
        assert not undo_stack(machine.site, Reporter(), lock_wait_s=5).refused
    back = split_words(machine.boot())
    assert {"iommu=off", "intel_iommu=on", "loglevel=4"} <= set(back)
    assert "iommu=pt" not in back

"""Records the machines of the catalog: real libudev and sysfs readers before umockdev, the real Level Zero loader
before our fake driver.

python tests/machines/record.py [NAME ...]        writes tests/machines/recorded/NAME.tar.xz
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RECORDED = HERE / "recorded"
_TIMEOUT_S = 120
_CREATED = "2026-11-21T00:00:00Z"
# What doctor asks beside /sys, of a server on which nothing went wrong and there is room.
_DMESG = ("dmesg",)
_QUIET_LOG = b"[    0.000000] Command line: ro quiet\n[    4.120331] [drm] Initialized xe 1.1.0 for minor 0\n"
_LOG_REFUSED = b"dmesg: read kernel buffer failed: Operation not permitted\n"
_DF = ("df", "-lPT")
_DISKS = (
    b"Filesystem     Type  1024-blocks      Used  Available Capacity Mounted on\n"
    b"/dev/nvme0n1p2 ext4   1921802520 312004512 1512101096      18% /\n"
    b"tmpfs          tmpfs   263902336         0  263902336       0% /dev/shm\n"
)
_LIMITS = (
    "Limit                     Soft Limit           Hard Limit           Units     \n"
    "Max open files            1024                 1048576              files     \n"
    "Max locked memory         unlimited            unlimited            bytes     \n"
)
_LOADER = "/usr/lib/x86_64-linux-gnu/libze_loader.so"


def record_machine(name: str, directory: Path) -> None:
    """Record a machine of the catalog into a new directory. Raises CalledProcessError when the recorder fails."""
    run_on_machine(name, [str(Path(__file__).resolve()), "--inside", name, str(directory)], check=True)


def run_on_machine(
    name: str, arguments: Sequence[str], *, ordinary: bool = False, check: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """Run Python with `arguments` where /sys and /dev are the machine's and the loader finds its Level Zero driver.

    As the machine's user, or as an `ordinary` one: device nodes and debugfs are closed to them.
    """
    from tests.machines.catalog import MACHINES, STACKS
    from tests.machines.ordinary_user import find_python

    machine, stack = MACHINES[name](), STACKS[name]
    user = "ordinary" if ordinary or machine.user != "root" else "root"
    with tempfile.TemporaryDirectory() as scratch:
        # An ordinary user reads the driver there.
        Path(scratch).chmod(0o755)
        command, problem = find_python(Path(scratch)) if user == "ordinary" else ([sys.executable], "")
        if problem:
            raise RuntimeError(problem)
        description = Path(scratch, "machine.umockdev")
        description.write_text(machine.write_description(), encoding="utf-8")
        env = {**_drop_steering(os.environ), "PYTHONPATH": str(ROOT)}
        env["XPUKIT_TEST_DRIVER"] = str(place_driver(name, Path(scratch)))
        if stack.level_zero == "no-loader":
            env["XPUKIT_TEST_LOADER"] = f"{scratch}/libze_loader.so.1"
        stage = [sys.executable, str(Path(__file__).resolve()), "--stage", name, user]
        return subprocess.run(
            ["umockdev-run", "-d", str(description), "--", *stage, *command, *arguments],
            check=check,
            timeout=_TIMEOUT_S,
            stdout=None if check else subprocess.PIPE,
            stderr=None if check else subprocess.PIPE,
            cwd=scratch,
            env=env,
        )


def _drop_steering(environ: os._Environ[str]) -> dict[str, str]:
    """Without what steers drivers: it would be part of the recording."""
    return {name: value for name, value in environ.items() if not name.startswith(("ZE_", "ZES_", "ONEAPI_", "SYCL_"))}


def place_driver(name: str, directory: Path) -> Path:
    """The Level Zero driver of a machine, with its configuration beside it; a path without a file where it has none."""
    from tests.machines.catalog import MACHINES, STACKS
    from tests.machines.driver_view import describe_for_driver, order_gpus
    from tests.native.build import build_fake_level_zero, write_config

    stack = STACKS[name]
    library = directory / "libze_intel_gpu.so.1"
    if stack.level_zero not in ("ok", "denied"):
        return library
    shutil.copy(build_fake_level_zero(), library)
    gpus = order_gpus(MACHINES[name](), stack.order)
    whole: dict[str, Any] = {"api_minor": stack.build[0], "driver_version": stack.driver_version}
    if stack.level_zero == "denied":
        # What Intel's driver does when it can open no device.
        whole |= {"init_error": "0x78000001", "sysman_init_error": "0x78000001"}
        gpus = []
    whole["p2p"] = "tiles" if any(gpu.model.tiles for gpu in gpus) else "all"
    write_config(library.with_name("libze_intel_gpu.ini"), [describe_for_driver(gpu) for gpu in gpus], **whole)
    return library


def _stage(name: str, user: str, command: list[str]) -> None:
    """Runs below umockdev-run: completes /sys in the test bed, then becomes `command`."""
    from tests.machines.catalog import MACHINES

    machine = MACHINES[name]()
    test_bed = os.environ["UMOCKDEV_DIR"]
    for path, text in machine.files.items():
        whole = Path(f"{test_bed}/sys/{path}")
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_text(text if text.endswith("\n") else f"{text}\n")
    for path, target in machine.links.items():
        whole = Path(f"{test_bed}/sys/{path}")
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.symlink_to(target)
    # What udevd would have stored for its clients: the links of device nodes.
    for node in machine.nodes:
        if node.node_links:
            entry = Path(f"{test_bed}/run/udev/data/c{node.attributes['dev']}")
            entry.parent.mkdir(parents=True, exist_ok=True)
            entry.write_text("".join(f"S:{link}\n" for link in node.node_links) + "I:1000000\nV:1\n")
            for link in node.node_links:
                whole = Path(f"{test_bed}/dev/{link}")
                if not whole.is_symlink():
                    whole.parent.mkdir(parents=True, exist_ok=True)
                    whole.symlink_to(f"../{node.device_node.rpartition('/')[2]}")
    if user != "root":
        _close_to_others(Path(test_bed))
    os.execvpe(command[0], command, {**os.environ, "ZE_ENABLE_ALT_DRIVERS": os.environ["XPUKIT_TEST_DRIVER"]})


def _close_to_others(test_bed: Path) -> None:
    """Device nodes and debugfs as the kernel and udev make them: root's only."""
    test_bed.chmod(0o755)
    mode = 0 if os.geteuid() else 0o660
    for node in (test_bed / "dev" / "dri").glob("*[0-9]"):
        node.chmod(stat.S_IMODE(node.stat().st_mode) & stat.S_ISVTX | mode)
    debugfs = test_bed / "sys" / "kernel" / "debug"
    if debugfs.exists():
        debugfs.chmod(mode and 0o700)


def _record_inside(name: str, directory: Path) -> None:
    """Runs below _stage: probes and examines the machine."""
    import msgspec

    from tests.machines.catalog import MACHINES, STACKS
    from tests.machines.dict_host import DictHost
    from tests.machines.stacks import list_answers, list_commands, list_files
    from tests.machines.staged_host import StagedHost
    from xpukit.doctor.examine import examine_machine
    from xpukit.host.answers import IdentityAnswer, MemoryAnswer, Ran
    from xpukit.host.level_zero.child import ask_in_child
    from xpukit.host.level_zero.snapshot import LevelZeroAnswer
    from xpukit.host.live import LiveHost
    from xpukit.host.recording import RecordingHost
    from xpukit.host.runner import run_process
    from xpukit.host.scrub import keep_everything
    from xpukit.probe.machine import probe_machine

    machine, stack = MACHINES[name](), STACKS[name]
    answer = ask_in_child(run_process, timeout_s=60, loader=os.environ.get("XPUKIT_TEST_LOADER"))
    assert answer.status == stack.level_zero, answer
    # What is this computer's: where the driver lies, and which release the loader is.
    scratch = os.path.dirname(os.environ["ZE_ENABLE_ALT_DRIVERS"])
    text = msgspec.json.encode(answer).decode().replace(f"{scratch}/", "")
    answer = msgspec.structs.replace(msgspec.json.decode(text, type=LevelZeroAnswer), environment={})
    if answer.loader_path:
        has_version = answer.loader_version is not None
        answer = msgspec.structs.replace(
            answer,
            loader_path=f"{_LOADER}.{stack.loader}",
            loader_version=stack.loader if has_version else None,
        )
    number, pretty = machine.release
    files, links = list_files(stack)
    files |= {
        "/proc/sys/kernel/osrelease": f"{machine.kernel}\n",
        "/proc/version": f"Linux version {machine.kernel} (buildd@host) #1 SMP\n",
        "/proc/cmdline": f"BOOT_IMAGE=/vmlinuz-{machine.kernel} ro quiet\n",
        "/proc/meminfo": f"MemTotal:       {machine.memory_bytes >> 10} kB\n",
        "/etc/os-release": f'PRETTY_NAME="{pretty}"\nNAME="Ubuntu"\nID=ubuntu\nVERSION_ID="{number}"\n',
        "/proc/self/limits": _LIMITS,
        **machine.proc,
    }
    commands = list_commands(machine, stack)
    is_root = machine.user == "root"
    for argv, out in ((_DMESG, _QUIET_LOG), (_DF, _DISKS)):
        said, refused = (out, b"") if is_root or argv != _DMESG else (b"", _LOG_REFUSED)
        commands.setdefault(argv, Ran(argv=argv, rc=1 if refused else 0, out=said, err=refused))
    total = machine.memory_bytes
    own = DictHost(
        files,
        links=links,
        commands=commands,
        answers={
            **list_answers(machine, stack),
            ("level-zero",): answer,
            ("memory",): MemoryAnswer(total_bytes=total, available_bytes=total * 9 // 10),
            ("identity",): IdentityAnswer(
                hostname=machine.hostname,
                username=machine.user,
                uid=0 if machine.user == "root" else 1000,
                groups=() if machine.user == "root" else (machine.user,),
                machine="x86_64",
                python="3.12.3",
            ),
        },
    )
    staged = StagedHost(LiveHost(), own)
    recorder = RecordingHost(
        staged,
        directory,
        command=("xpukit", "probe", "--all"),
        scrub=keep_everything,
        covers=("probe", "doctor"),
    )
    examine_machine(recorder, probe_machine(recorder, include_all=True))
    recorder.close()


def main(names: list[str]) -> None:
    from tests.machines.catalog import MACHINES
    from xpukit.host.recording import pack_recording

    RECORDED.mkdir(exist_ok=True)
    for name in names or list(MACHINES):
        with tempfile.TemporaryDirectory() as scratch:
            Path(scratch).chmod(0o777)
            directory = Path(scratch, name)
            record_machine(name, directory)
            # The same answers give the same archive: no difference in git where nothing changed.
            manifest = directory / "manifest.json"
            text = re.sub(r'"created": "[^"]*"', f'"created": "{_CREATED}"', manifest.read_text(encoding="utf-8"))
            manifest.unlink()
            manifest.write_text(text)
            archive = RECORDED / f"{name}.tar.xz"
            pack_recording(directory, archive)
            archive.chmod(0o644)
            lines = (directory / "answers.jsonl").read_bytes().count(b"\n")
            print(f"{name}: {lines} answers, {archive.stat().st_size} bytes")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:2] == ["--stage"]:
        _stage(sys.argv[2], sys.argv[3], sys.argv[4:])
    elif sys.argv[1:2] == ["--inside"]:
        _record_inside(sys.argv[2], Path(sys.argv[3]))
    else:
        main(sys.argv[1:])

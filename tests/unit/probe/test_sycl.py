from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.dict_host import DictHost
from tests.machines.four_b60 import BDFS, LEVEL_ZERO_ORDER, NAME, make_uuid
from xpukit.host.answers import IdentityAnswer, Ran
from xpukit.probe.parsers.dpctl_list import parse_clinfo, parse_dpctl
from xpukit.probe.parsers.sycl_ls import parse_sycl_ls
from xpukit.probe.sighting import is_same_uuid
from xpukit.probe.sycl import read_machine

VERBOSE = ("/usr/bin/sycl-ls", "--verbose")
FILTER_NOTICE = (
    b"INFO: Output filtered by ONEAPI_DEVICE_SELECTOR environment variable, which is set to level_zero:0.\n"
    b"To see device ids, use the --ignore-device-selectors CLI option.\n\n"
)


def read(samples: Path, name: str) -> bytes:
    return (samples / "sycl-ls" / name).read_bytes()


def test_plain_list(samples: Path) -> None:
    listing = parse_sycl_ls(read(samples, "2026-4xB60.txt"))
    assert listing.found
    assert listing.notes == ()
    assert [(device.backend, device.type, device.index) for device in listing.devices] == [
        *(("level_zero", "gpu", number) for number in range(4)),
        ("opencl", "cpu", 0),
        *(("opencl", "gpu", number) for number in range(1, 5)),
    ]
    assert {device.name for device in listing.devices if device.type == "gpu"} == {NAME}
    assert listing.devices[0].driver == "1.14.38646+7"
    assert listing.devices[0].version == "20.1.0"
    assert listing.devices[5].version == "OpenCL 3.0 NEO"


def test_verbose_adds_uuids_to_the_same_list(samples: Path) -> None:
    listing = parse_sycl_ls(read(samples, "2026-4xB60-verbose.txt"))
    gpus = [device for device in listing.devices if device.backend == "level_zero"]
    assert [device.index for device in gpus] == [0, 1, 2, 3]
    expected = [make_uuid(BDFS[place]) for place in LEVEL_ZERO_ORDER]
    assert all(is_same_uuid(gpu.uuid, uuid) for gpu, uuid in zip(gpus, expected, strict=True))
    assert listing.notes == ()


def test_older_generations(samples: Path) -> None:
    first = parse_sycl_ls(read(samples, "2021-no-names.txt"))
    assert first.filtered_by == "SYCL_DEVICE_FILTER"
    assert [(device.backend, device.type, device.index, device.driver) for device in first.devices] == [
        ("level_zero", "gpu", 0, "1.1.20389"),
        ("host", "host", 0, "1.2"),
    ]
    prefixed = parse_sycl_ls(read(samples, "2023-prefix.txt"))
    assert [device.backend for device in prefixed.devices] == ["level_zero", "opencl"]
    assert {device.name for device in prefixed.devices} == {"Intel(R) Data Center GPU Max 1550"}


def test_blocks_without_device_lines_and_decimal_uuid(samples: Path) -> None:
    (device,) = parse_sycl_ls(read(samples, "2024-Max1550-verbose-tiles.txt")).devices
    assert (device.backend, device.sub_devices, device.index) == ("level_zero", 2, 0)
    assert is_same_uuid(device.uuid, "00000000-0000-003a-0000-002f0bd68086")


def test_a_selector_that_filters_or_breaks_is_named() -> None:
    out = b"[level_zero:gpu] Intel(R) Level-Zero, Some GPU 1.3 [1.3.1]\n"
    filtered = parse_sycl_ls(out, FILTER_NOTICE)
    assert filtered.filtered_by == "ONEAPI_DEVICE_SELECTOR"
    assert filtered.devices[0].index is None
    broken = parse_sycl_ls(b"", FILTER_NOTICE + b'SYCL Exception encountered: parsing error in "bogus"\n')
    assert broken.error == 'parsing error in "bogus"'
    assert not broken.found


def test_no_device_is_an_answer_and_rubbish_is_not() -> None:
    assert parse_sycl_ls(b"").found
    assert parse_sycl_ls(b"\nPlatforms: 0\ndefault_selector()      : No device of requested type\n").found
    usage = parse_sycl_ls(b"Usage: sycl-ls [--verbose]\n")
    assert not usage.found
    assert usage.notes[0].line == 1


def test_dpctl_and_clinfo(samples: Path) -> None:
    listing = parse_dpctl((samples / "dpctl" / "full-2xB60.txt").read_bytes())
    assert [device.selector for device in listing.devices] == [
        "opencl:cpu:0",
        "level_zero:gpu:0",
        "level_zero:gpu:1",
    ]
    assert listing.devices[2].platform.endswith("over Level-Zero")
    assert listing.notes == ()
    trees = [parse_clinfo((samples / "clinfo" / name).read_bytes()) for name in ("l-tree.txt", "l-raw.txt")]
    assert trees[0] == trees[1]
    assert [device.selector for device in trees[0].devices] == ["0.0", "1.0", "1.1"]


def test_variables_that_hide_devices_are_taken_away_and_told(samples: Path) -> None:
    argv = ("env", "-u", "ONEAPI_DEVICE_SELECTOR", "-u", "ZE_AFFINITY_MASK", *VERBOSE)
    host = DictHost(
        commands={
            ("sycl-ls",): Ran(argv=("sycl-ls",), rc=0),  # makes `which` find it
            argv: Ran(argv=argv, rc=0, out=read(samples, "2026-4xB60.txt")),
        },
        environment={"ONEAPI_DEVICE_SELECTOR": "level_zero:0", "ZE_AFFINITY_MASK": "1"},
    )
    answer = read_machine(host, (), {})
    assert len([seen for seen in answer["sightings"] if seen.source == "sycl-ls"]) == 8
    assert answer["extra"]["device_selectors"] == {"ONEAPI_DEVICE_SELECTOR": "level_zero:0", "ZE_AFFINITY_MASK": "1"}


@pytest.mark.parametrize(
    ("ran", "why"),
    [
        (Ran(argv=VERBOSE, rc=-6, failure="signal:6", err=b"terminate called\n"), "killed by signal 6"),
        (Ran(argv=VERBOSE, rc=-15, failure="timeout", seconds=15.0), "stopped after 15 s"),
        (Ran(argv=VERBOSE, rc=127, err=b"error while loading shared libraries: libsycl.so.9: x"), "libsycl.so.9"),
        (Ran(argv=VERBOSE, rc=0, out=b"\x00\xff\xfe rubbish"), "no list of devices"),
    ],
)
def test_failures_of_sycl_ls_cost_its_row_only(ran: Ran, why: str) -> None:
    host = DictHost(commands={VERBOSE: ran, ("sycl-ls",): ran})
    answer = read_machine(host, (), {})
    assert answer["sightings"] == ()
    assert why in answer["unread"][0].why
    assert answer["unread"][0].remedy
    assert {row.name for row in answer["software"]} == {"sycl-ls", "dpctl list", "clinfo"}


def test_sycl_ls_of_an_oneapi_that_was_not_sourced(samples: Path) -> None:
    program = "/opt/intel/oneapi/compiler/latest/bin/sycl-ls"
    libraries = ":".join(f"/opt/intel/oneapi/{part}/latest/lib" for part in ("compiler", "umf", "tcm"))
    ran = Ran(argv=(program,), rc=0, out=read(samples, "2026-4xB60.txt"))
    host = DictHost(
        {program: ""},
        answers={("run", program, "--verbose", "\0", f"LD_LIBRARY_PATH={libraries}"): ran},
    )
    answer = read_machine(host, (), {})
    assert answer["asked"]["sycl-ls"] == "ok"


def test_dpctl_beside_us_is_asked_in_a_child(samples: Path) -> None:
    argv = ("/opt/v/bin/python", "-m", "dpctl", "-f")
    directory = "/opt/v/lib/python3.11/site-packages"
    host = DictHost(
        {f"{directory}/dpctl/__init__.py": ""},
        commands={argv: Ran(argv=argv, rc=0, out=(samples / "dpctl" / "full-2xB60.txt").read_bytes())},
        answers={("identity",): IdentityAnswer(executable="/opt/v/bin/python", site_packages=(directory,))},
    )
    answer = read_machine(host, (), {})
    assert [seen.label for seen in answer["sightings"]] == ["level_zero:0", "level_zero:1"]
    crashed = DictHost(
        {f"{directory}/dpctl/__init__.py": ""},
        commands={argv: Ran(argv=argv, rc=-11, failure="signal:11")},
        answers={("identity",): IdentityAnswer(executable="/opt/v/bin/python", site_packages=(directory,))},
    )
    assert "signal 11" in read_machine(crashed, (), {})["asked"]["dpctl"]


def test_corpus(corpus_dir: Path) -> None:
    counts = {
        "sycl-ls/sycl_ls_2xB70_l0v2_opencl": 5,
        "sycl-ls/sycl_ls_4xB60_partial": 2,
        "sycl-ls/sycl_ls_mixed_A770_UHD_nvidia_amd_verbose_partial": 8,
        "sycl-ls/sycl_ls_verbose_Max1550_2024_subdevices": 1,
        "sycl-ls/sycl_ls_verbose_Max1550_old_ext_oneapi_prefix": 3,
        "sycl-ls/sycl_ls_verbose_tail_cpu": 1,
        "sycl-ls/polaris_cuda_nodes": 6,
        "sycl-ls/sycl_ls_no_level_zero_A770": 2,
        "captured/sycl-ls/intel_cpu_verbose": 1,
        "captured/sycl-ls/intel_plus_pocl": 2,
        "captured/sycl-ls/no_devices_verbose": 0,
        "captured/sycl-ls/filtered_bogus": 0,
        "captured/sycl-ls/badopt": 0,
    }
    for name, count in counts.items():
        err = corpus_dir / f"{name}.err"
        listing = parse_sycl_ls((corpus_dir / f"{name}.txt").read_bytes(), err.read_bytes() if err.exists() else b"")
        assert len(listing.devices) == count, name
        assert all(device.driver and device.name for device in listing.devices), name
    devices = parse_dpctl((corpus_dir / "captured/dpctl/full_list.txt").read_bytes()).devices
    assert [device.selector for device in devices] == ["opencl:cpu:0"]
    tree = parse_clinfo((corpus_dir / "captured/clinfo/both_clinfo_l.txt").read_bytes())
    raw = parse_clinfo((corpus_dir / "captured/clinfo/both_clinfo_lraw.txt").read_bytes())
    assert tree == raw
    assert len(tree.devices) == 2


PIECES = st.sampled_from(
    [
        b"[level_zero:gpu][level_zero:0] Intel, Name 1.2.3 [1.3.4]\n",
        b"[opencl:cpu]",
        b"Platform [#1]:\n",
        b"        Device [#0]:\n",
        b"        Type   : gpu\n",
        b"    Name     : Level-Zero\n",
        b"Platform  0 ::\n",
        b"      # 0\n",
        b"        Filter string       a:b:c\n",
        b"0.0: x\n",
        b"Platform #0: y\n",
        b" `-- Device #0: z\n",
        b"\r",
        b"\x1b[0m",
        b" " * 3000,
        b"[",
        b"]",
    ]
)
SOUP = st.lists(st.one_of(PIECES, st.binary(max_size=40)), max_size=30).map(b"".join)


@given(SOUP, SOUP)
def test_parsers_take_any_bytes(out: bytes, err: bytes) -> None:
    listing = parse_sycl_ls(out, err)
    assert all(device.index is None or device.index >= 0 for device in listing.devices)
    for others in (parse_dpctl(out), parse_clinfo(out)):
        assert len(others.notes) <= 21


@given(st.integers(0, 2500))
def test_a_truncated_list_has_only_devices_of_the_whole(length: int) -> None:
    whole = (Path(__file__).resolve().parents[2] / "data" / "sycl-ls" / "2026-4xB60-verbose.txt").read_bytes()
    full = parse_sycl_ls(whole).devices
    cut = parse_sycl_ls(whole[:length]).devices
    assert len(cut) <= len(full)
    # The line that was cut through may be odd; all before it are the real ones.
    for device, real in list(zip(cut, full, strict=False))[:-1]:
        assert (device.backend, device.index, device.name) == (real.backend, real.index, real.name)

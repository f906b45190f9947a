from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines.dict_host import DictHost
from tests.machines.four_b60 import BDFS, MEMORY_BYTES, NAME
from xpukit.host.answers import Ran
from xpukit.probe.parsers import xpu_smi as parsers
from xpukit.probe.sighting import is_same_uuid
from xpukit.probe.xpu_smi import DETAIL_BUDGET_S, list_devices, read_details, read_machine

LIST = ("xpu-smi", "discovery", "-j")
TABLE = ("xpu-smi", "discovery")
VERSION = ("xpu-smi", "-v")


def read(samples: Path, name: str) -> bytes:
    return (samples / "xpu-smi" / name).read_bytes()


@pytest.mark.parametrize("name", ["1.3.7-4xB60-discovery-j.txt", "2.0-4xB60-discovery-j.txt"])
def test_json_of_both_generations(samples: Path, name: str) -> None:
    listing = parsers.parse_discovery_json(read(samples, name))
    assert listing.found
    assert not listing.error
    assert [device.bdf for device in listing.devices] == list(BDFS)
    assert [device.index for device in listing.devices] == [0, 1, 2, 3]
    assert {(device.name, device.device_id, device.function_type) for device in listing.devices} == {
        (NAME, "e211", "physical")
    }
    assert listing.devices[1].drm_device == "/dev/dri/card2"


@pytest.mark.parametrize("name", ["1.3.7-4xB60-discovery.txt", "2.0-4xB60-discovery.txt"])
def test_tables_of_both_generations_say_the_same_as_json(samples: Path, name: str) -> None:
    table = parsers.parse_discovery_table(read(samples, name))
    listing = parsers.parse_discovery_json(read(samples, name.replace(".txt", "-j.txt")))
    assert table.found
    assert len(table.devices) == 4
    for drawn, listed in zip(table.devices, listing.devices, strict=True):
        assert (drawn.index, drawn.bdf, drawn.uuid, drawn.name) == (listed.index, listed.bdf, listed.uuid, listed.name)
        assert drawn.drm_device == listed.drm_device


def test_state_of_2x_is_kept(samples: Path) -> None:
    listing = parsers.parse_discovery_json(read(samples, "2.0-4xB60-discovery-j.txt"))
    assert [device.state for device in listing.devices] == ["normal", "normal", "survivability mode", "normal"]
    assert [note.line for note in listing.notes] == [1, 2, 3]  # the errors before the document


def test_details(samples: Path) -> None:
    (device,) = parsers.parse_discovery_json(read(samples, "1.3.7-B60-discovery-d1-j.txt")).devices
    assert device.memory_bytes == MEMORY_BYTES
    assert device.tiles == 1
    assert device.firmware == {"GFX": "BMG__21.1156"}
    assert device.driver_version == "17012470"
    (plain,) = parsers.parse_discovery_table(read(samples, "2.0-B60-discovery-d0.txt")).devices
    assert (plain.memory_bytes, plain.firmware, plain.bdf) == (MEMORY_BYTES, {"GFX": "BMG__21.1156"}, BDFS[0])


def test_wrapped_values_and_the_oldest_labels(samples: Path) -> None:
    (wrapped,) = parsers.parse_discovery_table(read(samples, "1.2-Max1550-discovery-d0.txt")).devices
    assert wrapped.tiles == 2
    assert wrapped.memory_bytes == 128 << 30
    assert wrapped.bdf == "0000:3a:00.0"
    (oldest,) = parsers.parse_discovery_table(read(samples, "1.0-discovery-d0.txt")).devices
    assert oldest.firmware == {"GFX": "DG02_1.3170"}
    assert oldest.memory_bytes == 14248 << 20


def test_versions(samples: Path) -> None:
    first = parsers.parse_version(read(samples, "1.3.7-v.txt"))
    assert (first.cli, first.service, first.level_zero) == ("1.3.7.20260301", "1.3.7.20260301", "1.24.0")
    second = parsers.parse_version(read(samples, "2.0-v.txt"))
    assert (second.cli, second.build, second.level_zero) == ("2.0.0.20260601", "4d5e6f70", "")


def test_what_could_not_be_read_is_noted_with_its_line() -> None:
    drawn = b"| Device ID | Device Information |\n| 0 | PCI BDF Address: nonsense |\n| x | y |\n"
    listing = parsers.parse_discovery_table(drawn)
    assert [device.bdf for device in listing.devices] == [""]
    assert [(note.line, "nonsense" in note.text) for note in listing.notes] == [(3, False), (2, True)]


@pytest.mark.parametrize(
    ("printed", "error"),
    [
        (b'{"error": "Level Zero Initialization Error", "errno": 3}', "Level Zero Initialization Error"),
        (b"Error: XPUM Service Status Error\n", "Error: XPUM Service Status Error"),
        (b"[Error] Failed to init xpum core: zeInit error\n", "[Error] Failed to init xpum core: zeInit error"),
    ],
)
def test_an_error_text_with_exit_0_is_an_error(printed: bytes, error: str) -> None:
    assert parsers.parse_discovery_json(printed).error == error
    host = DictHost(
        commands={LIST: Ran(argv=LIST, rc=0, out=printed), TABLE: Ran(argv=TABLE, rc=0, out=printed)},
    )
    listing, unread = list_devices(host)
    assert listing is None
    assert error in unread[0].why
    assert unread[0].remedy


def test_colours_and_carriage_returns_change_nothing(samples: Path) -> None:
    plain = read(samples, "1.3.7-4xB60-discovery.txt")
    coloured = b"\r\n".join(b"\x1b[1;32m" + line + b"\x1b[0m" for line in plain.splitlines())
    assert parsers.parse_discovery_table(coloured).devices == parsers.parse_discovery_table(plain).devices
    progress = b"loading 10%\rloading 90%\r| Device ID | Device Information |\n| 0 | Device Name: x |\n"
    assert [device.name for device in parsers.parse_discovery_table(progress).devices] == ["x"]
    assert parsers.parse_discovery_table(b"loading\rready\n").notes[0].text == "before the table: ready"
    document = read(samples, "1.3.7-4xB60-discovery-j.txt").replace(b"\n", b"\r\n")
    assert len(parsers.parse_discovery_json(document).devices) == 4


@pytest.mark.parametrize(
    ("ran", "why", "remedy"),
    [
        (Ran(argv=LIST, rc=127, failure="not-found"), "not installed", "install xpu-smi"),
        (Ran(argv=LIST, rc=126, failure="denied"), "permission denied", "chmod"),
        (Ran(argv=LIST, rc=-15, failure="timeout", seconds=20.0), "stopped after 20 s", "may hang"),
    ],
)
def test_absent_denied_and_hanging_are_said_and_not_tried_again(ran: Ran, why: str, remedy: str) -> None:
    host = DictHost(commands={LIST: ran})
    answer = read_machine(host, (), {})
    assert [question for question in host.asked if question[0] == "run"] == [("run", *LIST)]
    assert why in answer["unread"][0].why
    assert remedy in answer["unread"][0].remedy
    assert answer["software"][0].version == ""
    assert why in answer["software"][0].note


def test_a_crash_of_json_falls_back_to_the_table(samples: Path) -> None:
    host = DictHost(
        commands={
            LIST: Ran(argv=LIST, rc=-11, failure="signal:11"),
            TABLE: Ran(argv=TABLE, rc=0, out=read(samples, "1.3.7-4xB60-discovery.txt")),
            VERSION: Ran(argv=VERSION, rc=0, out=read(samples, "1.3.7-v.txt")),
        }
    )
    answer = read_machine(host, (), {})
    assert [seen.bdf for seen in answer["sightings"]] == list(BDFS)
    assert answer["asked"] == {"xpu-smi": "ok"}
    assert len([row for row in answer["unread"] if "details of device" in row.what]) == 4


def test_a_list_from_a_run_that_ended_badly_is_used_and_said(samples: Path) -> None:
    ran = Ran(argv=LIST, rc=-11, failure="signal:11", out=read(samples, "1.3.7-4xB60-discovery-j.txt"))
    listing, unread = list_devices(DictHost(commands={LIST: ran}))
    assert listing is not None
    assert len(listing.devices) == 4
    assert "signal 11" in unread[0].why


def test_slow_detail_calls_stop_when_their_time_is_spent(samples: Path) -> None:
    listed = parsers.parse_discovery_json(read(samples, "1.3.7-4xB60-discovery-j.txt")).devices
    slow = DETAIL_BUDGET_S / 2 + 1
    argvs = [("xpu-smi", "discovery", "-d", str(index), "-j") for index in range(4)]
    host = DictHost(commands={argv: Ran(argv=argv, rc=1, seconds=slow) for argv in argvs})
    detailed, unread = read_details(host, listed)
    assert detailed == listed
    assert len([question for question in host.asked if question[0] == "run"]) == 2
    assert [row.why.startswith("left out") for row in unread] == [False, False, True, True]


def test_details_of_another_device_are_not_taken(samples: Path) -> None:
    listed = parsers.parse_discovery_json(read(samples, "1.3.7-4xB60-discovery-j.txt")).devices[:1]
    argv = ("xpu-smi", "discovery", "-d", "0", "-j")
    wrong = Ran(argv=argv, rc=0, out=read(samples, "1.3.7-B60-discovery-d1-j.txt"))
    detailed, unread = read_details(DictHost(commands={argv: wrong}), listed)
    assert detailed == listed
    assert "no such device" in unread[0].why
    moved = Ran(argv=argv, rc=0, out=wrong.out.replace(b'"device_id": 1', b'"device_id": 0'))
    assert read_details(DictHost(commands={argv: moved}), listed)[0] == listed  # the number, but another card's address


def test_uuids_of_different_tools_are_the_same_device() -> None:
    printed = "00000000-0000-000e-0000-0000e2118086"  # xpu-smi
    assert is_same_uuid(printed, "868011e2-0000-0000-0e00-000000000000")  # sycl-ls of 2025
    assert is_same_uuid("134128172260000140000000", printed)  # sycl-ls of 2024: the bytes in decimal
    assert not is_same_uuid("134128172260000150000000", printed)
    assert not is_same_uuid(printed, "00000000-0000-000f-0000-0000e2118086")
    assert not is_same_uuid("", "")
    assert not is_same_uuid("0" * 32, "0" * 32)


def test_corpus(corpus_dir: Path) -> None:
    directory = corpus_dir / "xpu-smi"
    for name in ("v1.0.0_smi_discovery.txt", "v1.3.7_discovery.txt", "v1.3.7_discovery_-d_0000_4d_00.0.txt"):
        (device,) = parsers.parse_discovery_table((directory / name).read_bytes()).devices
        assert (device.index, device.bdf) == (0, "0000:4d:00.0"), name
    (device,) = parsers.parse_discovery_json((directory / "v1.0.0_smi_discovery_-j.txt").read_bytes()).devices
    assert (device.device_id, device.uuid[-12:]) == ("020a", "020a00008086")
    partial = parsers.parse_discovery_table(
        (directory / "v2_discovery_d0_B60_with_amc_errors_partial.txt").read_bytes()
    )
    assert [(found.bdf, found.memory_bytes, found.state) for found in partial.devices] == [
        ("0000:0e:00.0", MEMORY_BYTES, "normal")
    ]
    assert parsers.parse_version((directory / "version_2.0.0_partial.txt").read_bytes()).cli == "2.0.0.20250225"
    for path in directory.glob("*.txt"):
        parsers.parse_discovery_table(path.read_bytes())
        parsers.parse_discovery_json(path.read_bytes())
        parsers.parse_version(path.read_bytes())


PIECES = st.sampled_from(
    [
        b"| Device ID | Device Information |\n",
        b"  Device ID     Device Information\n",
        b"| 0 | Device Name: x |\n",
        b"  12            Device Name: y\n",
        b"                UUID: ",
        b'{"device_list": [',
        b'{"device_id": 99999999999999999999999999, "pci_bdf_address": [], "uuid": {}}',
        b"]}",
        b"\x1b[31m",
        b"\r\n",
        b"|",
        b":",
        b"\n",
        b"[" * 3000,
    ]
)
SOUP = st.lists(st.one_of(PIECES, st.binary(max_size=40)), max_size=30).map(b"".join)


@given(SOUP)
def test_parsers_take_any_bytes(data: bytes) -> None:
    for listing in (parsers.parse_discovery_json(data), parsers.parse_discovery_table(data)):
        assert len(listing.notes) <= 21
        assert all(0 <= note.line <= data.count(b"\n") + data.count(b"\r") + 1 for note in listing.notes)
        assert all(device.bdf == "" or len(device.bdf) >= 12 for device in listing.devices)
    parsers.parse_version(data)


@given(st.data())
def test_truncated_samples_never_invent_a_device(data: st.DataObject) -> None:
    samples = Path(__file__).resolve().parents[2] / "data" / "xpu-smi"
    name = data.draw(st.sampled_from(["1.3.7-4xB60-discovery.txt", "2.0-4xB60-discovery.txt"]))
    whole = (samples / name).read_bytes()
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    names = {device.index: device.bdf for device in parsers.parse_discovery_table(cut).devices}
    assert all(bdf in ("", BDFS[index]) for index, bdf in names.items())
    document = (samples / name.replace(".txt", "-j.txt")).read_bytes()
    listing = parsers.parse_discovery_json(document[: data.draw(st.integers(0, len(document) - 3))])
    assert listing.devices == ()

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.machines.catalog import MACHINES
from tests.machines.recorded_machines import list_machines, open_loosely, open_machine, read_machine
from xpukit.core.json_document import encode_json
from xpukit.core.machine import Device, Machine
from xpukit.host.answers import FileAnswer, LinkAnswer, NamesAnswer, StatAnswer
from xpukit.host.asked_once import AskedOnceHost
from xpukit.host.overlay import OverlayHost
from xpukit.probe import machine as machine_module
from xpukit.probe.machine import probe_machine
from xpukit.probe.question import Question, conform_error
from xpukit.probe.registry import list_questions


def find_defects(machine: Machine) -> list[str]:
    rows = [*machine.unread, *(row for device in machine.devices for row in device.unread)]
    return [f"{row.what}: {row.why}" for row in rows if "defect in xpukit" in row.why]


def test_every_machine_of_the_catalog_is_recorded() -> None:
    assert set(list_machines()) == set(MACHINES)


@pytest.mark.parametrize("name", list_machines())
def test_a_recorded_machine_replays_without_defects_and_the_same_each_time(name: str) -> None:
    first = encode_json(probe_machine(open_machine(name), include_all=True))
    second = encode_json(probe_machine(open_machine(name), include_all=True))
    assert first == second
    assert find_defects(read_machine(name)) == []
    assert msgspec.json.decode(first, type=Machine).devices == read_machine(name).devices


@pytest.mark.parametrize("question", list_questions(), ids=lambda question: question.name)
def test_questions_conform(question: Question) -> None:
    assert conform_error(question) == ""


def test_question_names_are_unique() -> None:
    names = [(question.scope, question.name) for question in list_questions()]
    assert len(names) == len(set(names))


def test_a_question_that_is_not_one_is_named() -> None:
    def read(*_: Any) -> dict[str, Any]:
        return {}

    assert conform_error(Question(name="x", scope="device", order=1, summary="s", read_machine=read))
    assert conform_error(Question(name="x y", scope="device", order=1, summary="s", read_device=read))
    assert not conform_error(Question(name="x", scope="device", order=1, summary="s", read_device=read))


def ask_also(monkeypatch: pytest.MonkeyPatch, *added: Question) -> Machine:
    def list_scope(scope: str) -> tuple[Question, ...]:
        return tuple(question for question in (*list_questions(), *added) if question.scope == scope)

    monkeypatch.setattr(machine_module, "list_scope", list_scope)
    return probe_machine(open_machine("vm"), include_all=True)


def test_a_new_question_goes_to_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = ask_also(
        monkeypatch,
        Question(name="a", scope="device", order=999, summary="s", read_device=lambda *_: {"colour": "blue"}),
        Question(name="b", scope="machine", order=999, summary="s", read_machine=lambda *_: {"rack": 7}),
    )
    assert machine.devices[0].extra["colour"] == "blue"
    assert machine.extra["rack"] == 7


def test_a_defect_costs_its_own_answer_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> dict[str, Any]:
        raise KeyError("oops")

    machine = ask_also(
        monkeypatch,
        Question(name="fails", scope="device", order=999, summary="s", read_device=fail),
        Question(name="odd", scope="machine", order=999, summary="s", read_machine=lambda *_: {"rack": object()}),
    )
    assert [row.what for row in machine.devices[0].unread if "defect" in row.why] == ["fails"]
    assert [row.what for row in machine.unread if "defect" in row.why] == ["odd"]
    assert machine.devices[0].name == read_machine("vm").devices[0].name


def test_a_machine_question_may_not_lose_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*_: Any) -> dict[str, Any]:
        return {"devices": ()}

    machine = ask_also(monkeypatch, Question(name="lose", scope="machine", order=999, summary="s", read_machine=lose))
    assert len(machine.devices) == 1
    assert "lose" in [row.what for row in machine.unread]


def test_few_questions_are_asked_of_each_device() -> None:
    host = AskedOnceHost(open_machine("b60x8_2s"))
    probe_machine(host, include_all=True)
    for device in read_machine("b60x8_2s").devices:
        path = device.sources["bars"].rpartition("/")[0]
        asked = [question for question in host.asked if len(question) > 1 and question[1].startswith(path)]
        assert len(asked) < 150


_FAILURES = st.sampled_from(["EACCES", "ENOENT", "ETIMEDOUT", "EIO", "ENODEV"])


@st.composite
def make_change(draw: st.DrawFn) -> tuple[str, int, msgspec.Struct | bytes | str]:
    content = draw(st.one_of(st.binary(max_size=200), st.text(max_size=80).map(str.encode), _FAILURES))
    return draw(st.sampled_from(["b60x4_bmc", "a770", "max1550", "sriov"])), draw(st.integers(0, 10_000)), content


_READABLE = ("read", "list", "link", "stat")


def change_answer(question: tuple[str, ...], content: bytes | str) -> msgspec.Struct:
    """The same kind of answer, failed (an errno name) or with other content."""
    text = content.decode("utf-8", errors="replace") if isinstance(content, bytes) else ""
    failed = content if isinstance(content, str) else ""
    if question[0] == "read":
        return FileAnswer(data=content if isinstance(content, bytes) else b"", error=failed)
    if question[0] == "list":
        # Emptied only: other names would ask questions that no recording holds.
        return NamesAnswer(error=failed or "EIO")
    if question[0] == "link":
        return LinkAnswer(target=text, error=failed)
    return StatAnswer(error=failed or "EIO")


@settings(max_examples=60, deadline=None)
@given(make_change())
def test_whatever_a_machine_answers_probe_does_not_raise(change: tuple[str, int, Any]) -> None:
    name, number, content = change
    host = AskedOnceHost(open_machine(name))
    probe_machine(host, include_all=True)
    asked = [
        question for question in host.asked if question[0] in _READABLE and question[1].startswith("/sys/devices/pci")
    ]
    question = asked[number % len(asked)]
    changed = OverlayHost(open_loosely(name), {question: change_answer(question, content)})
    machine = probe_machine(changed, include_all=True)
    assert find_defects(machine) == []
    assert [device.bdf for device in machine.devices] == [device.bdf for device in read_machine(name).devices]
    assert all(isinstance(device, Device) for device in machine.devices)
    encode_json(machine)

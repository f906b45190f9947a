"""A look at several machines, judged without any: what the hosts said comes from here."""

from __future__ import annotations

import re

import pytest

from xpukit.facts.fleet import load_preflight_facts
from xpukit.operate.fleet.hosts import FleetHost, make_hosts
from xpukit.operate.fleet.preflight import PreflightWish, judge_answers, judge_meetings, list_ports
from xpukit.operate.fleet.preflight_ask import Answer
from xpukit.operate.fleet.preflight_meet import Meeting, list_pairs
from xpukit.operate.fleet.preflight_result import PreflightRow, decide_preflight_exit, judge_rows
from xpukit.operate.fleet.reach import read_pairs

FACTS = load_preflight_facts()
GOOD = {"mtu": "9000", "image": "sha256:aa", "model": "cc", "swarm": "active", "paths": "ok b;"}


def answer(name: str, **more: object) -> Answer:
    said = {
        **GOOD,
        **{key: str(value) for key, value in more.items() if key in (*GOOD, "docker_problem", "model_problem")},
    }
    return Answer(
        host=FleetHost(name=name, ssh=name),
        problem=str(more.get("problem", "")),
        clock_s=more.get("clock_s", 0.001),  # type: ignore[arg-type]
        methods=more.get("methods", ("publickey",)),  # type: ignore[arg-type]
        said=said,
    )


def judge(
    *answers: Answer, form: str = "swarm", image: str = "i:1", model: str = "/m"
) -> dict[str, list[PreflightRow]]:
    rows: dict[str, list[PreflightRow]] = {}
    for row in judge_answers(answers, PreflightWish(form=form, image=image, model=model), FACTS):
        rows.setdefault(row.name, []).append(row)
    return rows


def test_machines_that_are_alike_pass() -> None:
    rows = judge(answer("a"), answer("b"))
    assert {row.verdict for group in rows.values() for row in group} == {"pass"}
    assert set(rows) == {"ssh", "clock", "path MTU", "MTU", "docker", "image", "model"}


@pytest.mark.parametrize(
    ("more", "name", "verdict", "said"),
    [
        ({"mtu": "1500"}, "MTU", "fail", "not the same"),
        ({"mtu": ""}, "MTU", "unknown", "could not be read"),
        ({"image": "sha256:bb"}, "image", "fail", "not the same"),
        ({"image": ""}, "image", "fail", "not there: i:1"),
        ({"model": "dd"}, "model", "fail", "not the same"),
        ({"model": "", "model_problem": "/m: no such folder here"}, "model", "fail", "no such folder"),
        ({"clock_s": 0.7}, "clock", "warn", "differs"),
        ({"clock_s": -300.0}, "clock", "fail", "differs"),
        ({"clock_s": None}, "clock", "unknown", "%N"),
        ({"methods": ("publickey", "password")}, "ssh", "warn", "passwords"),
        ({"problem": "Permission denied (password)."}, "ssh", "unknown", "denied"),
        ({"paths": "short b;"}, "path MTU", "fail", "smaller MTU"),
        ({"paths": "silent b;"}, "path MTU", "warn", "ping"),
        ({"docker_problem": "docker is not installed"}, "docker", "fail", "not installed"),
    ],
)
def test_one_that_differs_is_named(more: dict[str, object], name: str, verdict: str, said: str) -> None:
    rows = judge(answer("a"), answer("b", **more))
    wrong = [row for row in rows[name] if row.verdict != "pass"]
    assert [row.verdict for row in wrong] == [verdict]
    assert said in wrong[0].why
    assert "b" in wrong[0].where or wrong[0].where == "all"


def test_ports_of_the_forms() -> None:
    assert list_ports(PreflightWish(form="swarm", ports=(8000,)), FACTS) == ((2377, 7946, 8000), (7946, 4789))
    assert list_ports(PreflightWish(form="ray"), FACTS) == ((6379,), ())
    assert list_ports(PreflightWish(), FACTS) == ((), ())


@pytest.mark.parametrize(
    ("busy", "answered", "swarm", "verdict"),
    [
        ((), "ok", False, "pass"),
        ((), "no answer", False, "fail"),
        (("tcp 2377",), "ok", False, "fail"),
        (("tcp 2377",), "ok", True, "pass"),
        (("tcp 2377",), "no answer", True, "fail"),
    ],
)
def test_ports_between_neighbours(busy: tuple[str, ...], answered: str, swarm: bool, verdict: str) -> None:
    meeting = Meeting(source="a", target="b", ports={"tcp 2377": answered}, busy=busy, gbits=90.0)
    rows = list(judge_meetings([meeting], PreflightWish(form="swarm"), FACTS, swarm=swarm))
    assert [row.verdict for row in rows] == [verdict, "pass"]


@pytest.mark.parametrize(
    ("gbits", "least", "verdict"),
    [(90.0, None, "pass"), (1.0, None, "warn"), (1.0, 25.0, "fail"), (1.0, 0.5, "pass"), (None, None, "unknown")],
)
def test_bandwidth(gbits: float | None, least: float | None, verdict: str) -> None:
    meeting = Meeting(source="a", target="b", gbits=gbits, problem="" if gbits else "refused")
    [row] = judge_meetings([meeting], PreflightWish(least_gbits=least), FACTS, swarm=False)
    assert row.verdict == verdict


@pytest.mark.parametrize("count", range(12))
def test_everybody_meets_and_nobody_twice_at_a_time(count: int) -> None:
    rounds = list_pairs(count)
    pairs = [pair for group in rounds for pair in group]
    assert sorted(pairs) == ([(index, (index + 1) % count) for index in range(count)] if count > 1 else [])
    for group in rounds:
        busy = [host for pair in group for host in pair]
        assert len(busy) == len(set(busy))
    assert len(rounds) <= 3


def test_the_verdict_and_the_exit_code() -> None:
    rows = [PreflightRow(name="x", where="y", verdict=verdict) for verdict in ("pass", "warn", "unknown", "fail")]
    assert [judge_rows(rows[:count]) for count in (0, 1, 2, 3, 4)] == ["pass", "pass", "warn", "unknown", "fail"]
    assert [decide_preflight_exit(verdict) for verdict in ("pass", "warn", "unknown", "fail")] == [0, 0, 3, 1]


def test_pairs_are_read_out_of_chatter() -> None:
    assert read_pairs("Welcome!\na=1\nnot a name=2\nb=x=y \n") == {"a": "1", "b": "x=y"}


def test_facts_have_sources() -> None:
    assert all(re.search(r"\w{4}", fact.source) and fact.why for fact in FACTS.port)
    assert make_hosts(["a"])[0].folder == "a"

"""The rotation on a deployment made of values: order, minimum, failures, interruptions, resumption."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.operate.fake_site import FakeSite
from xpukit.core.errors import ExternalError, UsageError
from xpukit.operate.rotate.plan import describe_steps, plan_rotation
from xpukit.operate.rotate.run import run_rotation
from xpukit.operate.rotate.state import Policy, RotationReport

POLICY = Policy(drain_s=600, start_s=3600)


def rotate(site: FakeSite, **asked: object) -> RotationReport:
    policy = Policy(**{"drain_s": 600, "start_s": 3600, **asked})  # type: ignore[arg-type]
    return run_rotation(site, plan_rotation(site.read(), policy), policy, deployment="chat", tell=lambda step: None)


def raise_external(slot: str) -> str:
    raise ExternalError(f"Docker says no to {slot}", hint="")


def test_all_engines_are_replaced_one_after_another_and_no_request_is_lost() -> None:
    site = FakeSite(replicas=3)
    report = rotate(site)
    assert (report.outcome, report.rotated) == ("rotated", ("engine-0", "engine-1", "engine-2"))
    assert [one.engine.number for one in site.slots.values()] == [1, 2, 3]
    assert all(one.previous == "absent" and one.balance == "up" for one in site.slots.values())
    assert (site.lost, site.least) == (0, 2)
    steps = [step.step for step in report.steps if step.slot == "engine-1"]
    assert steps == ["drain", "start", "gate", "enable"]


def test_order_of_one_replacement() -> None:
    site = FakeSite()
    rotate(site, only=("engine-1",))
    changes = [call for call, slot in site.calls if slot == "engine-1" and call != "count"]
    assert changes == ["set drain", "set maint", "park", "recreate", "wait", "gate", "admit", "drop"]


def test_spare_stands_in_first_and_all_replicas_stay_healthy() -> None:
    site = FakeSite(replicas=2, spares=1)
    report = rotate(site)
    assert report.plan.mode == "start-first"
    assert [(step.slot, step.step) for step in report.steps] == [
        ("engine-2", "start"), ("engine-2", "enable"),
        ("engine-0", "drain"), ("engine-0", "start"), ("engine-0", "gate"), ("engine-0", "enable"),
        ("engine-1", "drain"), ("engine-1", "start"), ("engine-1", "gate"), ("engine-1", "enable"),
        ("engine-2", "drain"), ("engine-2", "stop"),
    ]  # fmt: skip
    assert (site.lost, site.least) == (0, 2)
    assert site.slots["engine-2"].container == "stopped"


@pytest.mark.parametrize("bad", ["wrong", "silent"])
def test_new_engine_that_is_not_right_gives_way_to_the_old_one(bad: str) -> None:
    site = FakeSite()
    getattr(site, bad).add(1)
    report = rotate(site)
    assert report.outcome == "failed"
    assert report.why.endswith("the old engine serves again")
    assert report.out_of_service == ()
    first, second = site.slots.values()
    assert (first.balance, first.serving and first.serving.number) == ("up", 0)
    assert second.engine.number == 0  # nothing after the failure
    assert site.lost == 0


def test_rotation_after_a_failure_replaces_the_old_engine_that_came_back() -> None:
    site = FakeSite()
    site.wrong.add(1)
    rotate(site)
    report = rotate(site)
    assert (report.outcome, report.rotated) == ("rotated", ("engine-0", "engine-1"))
    assert all(one.previous == "absent" and one.container == "running" for one in site.slots.values())
    assert (site.lost, site.least) == (0, 1)


def test_engine_that_cannot_be_created_gives_way_to_the_old_one() -> None:
    site = FakeSite()
    site.fail["recreate"] = raise_external
    report = rotate(site)
    assert "Docker says no to engine-0" in report.why
    assert site.slots["engine-0"].serving is not None
    assert site.count_healthy() == 2


def test_requests_that_do_not_end_keep_their_engine() -> None:
    site = FakeSite()
    site.stuck.add("engine-0")
    report = rotate(site, drain_s=20)
    assert report.outcome == "failed"
    assert "requests still run (2 by the balancer, 2 by its metrics)" in report.why
    assert 20 <= report.seconds < 25
    assert site.slots["engine-0"].balance == "up"
    assert "recreate" not in [call for call, _ in site.calls]


def test_cut_ends_them() -> None:
    site = FakeSite()
    site.stuck.add("engine-0")
    assert rotate(site, drain_s=20, cut=True).outcome == "rotated"
    assert site.lost == 2


def test_too_few_healthy_others_and_nothing_is_touched() -> None:
    site = FakeSite(replicas=3)
    site.slots["engine-1"].container = "stopped"
    site.slots["engine-2"].container = "stopped"
    report = rotate(site, only=("engine-0",), min_healthy=1)
    assert report.outcome == "failed"
    assert "only 0 others are healthy, 1 have to be" in report.why
    assert [call for call, _ in site.calls] == []


def test_broken_engine_is_replaced_first_without_taking_another_one_out() -> None:
    site = FakeSite(replicas=3)
    site.slots["engine-2"].container = "stopped"
    report = rotate(site)
    assert report.rotated == ("engine-2", "engine-0", "engine-1")
    assert site.least == 2


@pytest.mark.parametrize(
    ("replicas", "spares", "asked", "hint"),
    [(1, 0, None, "--spare 1"), (2, 0, 2, "--min-healthy 1"), (2, 1, 3, "--min-healthy 2")],
)
def test_minimum_that_cannot_be_kept_is_refused(replicas: int, spares: int, asked: int | None, hint: str) -> None:
    site = FakeSite(replicas=replicas, spares=spares)
    with pytest.raises(UsageError) as refused:
        rotate(site, min_healthy=asked)
    assert hint in refused.value.hint


def test_one_engine_may_pause_when_asked() -> None:
    site = FakeSite(replicas=1)
    assert rotate(site, min_healthy=0).outcome == "rotated"
    assert (site.lost, site.least) == (0, 0)


def test_young_engines_and_others_are_left_out() -> None:
    site = FakeSite(replicas=3)
    site.slots["engine-0"].age_s = 60.0
    report = rotate(site, older_than_s=3600.0, only=("engine-0", "chat-1"))
    assert report.rotated == ("engine-1",)
    assert report.plan.skipped == ("chat-0: only 60 s old", "chat-2: not asked for")
    site.slots["engine-1"].age_s = 1.0
    site.slots["engine-2"].age_s = 1.0
    assert rotate(site, older_than_s=3600.0).outcome == "nothing-to-do"


def test_unknown_engine_is_named() -> None:
    with pytest.raises(UsageError, match="engine-7"):
        rotate(FakeSite(), only=("engine-7",))


@pytest.mark.parametrize("call", ["count", "park", "set maint", "recreate", "wait", "gate", "admit", "drop"])
@pytest.mark.parametrize("spares", [0, 1])
def test_interruption_anywhere_can_be_gone_on_from(call: str, spares: int) -> None:
    site = FakeSite(spares=spares)

    def interrupt(slot: str) -> str:
        if slot == "engine-0":
            raise KeyboardInterrupt
        return ""

    site.fail[call] = interrupt
    report = rotate(site)
    assert report.outcome == "interrupted"
    # While it is drained or not yet stopped, the engine gets its requests back.
    taken = call in ("recreate", "wait", "gate", "admit")
    assert report.out_of_service == (("engine-0",) if taken else ())
    assert site.least >= 1 + spares
    site.fail.clear()
    again = rotate(site)
    assert again.outcome == "rotated"
    assert site.lost == 0
    assert all(one.previous == "absent" for one in site.slots.values())
    assert [one.balance for one in site.slots.values()] == ["up", "up", "maint"][: 2 + spares]


def test_half_done_rotation_goes_on_with_the_engine_that_was_started() -> None:
    site = FakeSite()

    def interrupt(slot: str) -> str:
        raise KeyboardInterrupt

    site.fail["wait"] = interrupt
    rotate(site)
    site.fail.clear()
    started = site.slots["engine-0"].engine.number
    report = rotate(site, only=("engine-0",))
    assert report.steps[0].step == "resume"
    assert site.slots["engine-0"].engine.number == started


def test_spare_that_is_not_right_replaces_nothing() -> None:
    site = FakeSite(spares=1)
    site.wrong.add(1)
    report = rotate(site)
    assert "nothing was replaced" in report.why
    assert site.slots["engine-2"].container == "stopped"
    assert site.count_healthy() == 2


def test_spare_goes_on_where_an_engine_is_lost() -> None:
    site = FakeSite(spares=1)
    site.wrong.add(2)
    site.fail["bring back"] = raise_external
    report = rotate(site)
    assert "could not be brought back" in report.why
    assert report.out_of_service == ("engine-0",)
    assert site.slots["engine-2"].balance == "up"
    assert site.count_healthy() == 2


CALLS = ["set drain", "set maint", "set ready", "count", "park", "recreate", "wait", "gate", "admit", "drop", "stop"]


@settings(max_examples=150, deadline=None)
@given(
    replicas=st.integers(2, 4),
    spares=st.integers(0, 1),
    wrong=st.sets(st.integers(1, 6), max_size=3),
    broken=st.dictionaries(st.sampled_from(CALLS), st.integers(0, 4), max_size=2),
    kind=st.sampled_from([ExternalError("no", hint=""), KeyboardInterrupt()]),
)
def test_whatever_fails_enough_stay_healthy_and_no_request_is_lost(
    replicas: int, spares: int, wrong: set[int], broken: dict[str, int], kind: BaseException
) -> None:
    site = FakeSite(replicas, spares)
    site.wrong = wrong
    seen: dict[str, int] = {}

    def make(call: str, when: int) -> None:
        def fail(slot: str) -> str:
            seen[call] = seen.get(call, 0) + 1
            if seen[call] == when + 1:
                raise kind
            return ""

        site.fail[call] = fail

    for call, when in broken.items():
        make(call, when)
    report = rotate(site)
    assert site.lost == 0
    assert site.least >= replicas - 1 + spares - (1 if spares else 0)
    if report.outcome == "rotated":
        assert set(report.rotated) == {f"engine-{i}" for i in range(replicas)}
    # Another run, with nothing in its way, brings everything to its end.
    site.fail.clear()
    site.wrong = set()
    assert rotate(site, min_healthy=0).outcome == "rotated"
    assert all(one.balance == "up" and one.previous == "absent" for one in site.slots.values() if not one.spare)
    assert site.lost == 0


def test_steps_in_words() -> None:
    plan = plan_rotation(FakeSite(spares=1).read(), POLICY)
    assert describe_steps(plan) == (
        "engine-2: start, gate, enable",
        "engine-0: drain, stop, start, gate, enable",
        "engine-1: drain, stop, start, gate, enable",
        "engine-2: drain, stop",
    )


def test_balancer_that_does_not_take_the_new_engine_gets_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    site = FakeSite()
    admit = site.admit

    def refuse_new(slot: str) -> None:
        admit(slot)
        if site.slots[slot].engine.number and site.slots[slot].container == "running":
            site.slots[slot].balance = "down"

    monkeypatch.setattr(site, "admit", refuse_new)
    report = rotate(site)
    assert "the balancer does not see it as healthy; the old engine serves again" in report.why
    assert site.count_healthy() == 2


def test_spare_is_left_alone_when_asked() -> None:
    site = FakeSite(spares=1)
    report = rotate(site, stop_first=True)
    assert (report.plan.mode, report.plan.min_healthy, report.outcome) == ("stop-first", 1, "rotated")
    assert "engine-2" not in [slot for _, slot in site.calls]


def test_obstacle_that_is_seen_beforehand_touches_nothing() -> None:
    site = FakeSite(spares=1)
    site.obstacle = "the engines want a key"
    report = rotate(site)
    assert (report.outcome, report.why) == ("failed", "nothing was touched: the engines want a key")
    assert site.calls == []

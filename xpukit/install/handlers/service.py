"""systemd units: enabled, disabled or masked, and what they were before."""

from __future__ import annotations

from xpukit.install.change import Change, ServiceChange
from xpukit.install.handler import Entry, Handler, Position, State
from xpukit.install.site import Site
from xpukit.install.work import Work

_VERBS = {"enabled": "enable", "disabled": "disable", "masked": "mask"}


def read_unit(site: Site, unit: str) -> str:
    """How a unit stands (`systemctl is-enabled`); "not-found" for one that is not there."""
    ran = site.ask(("systemctl", "is-enabled", unit))
    # It ends with 1 for a disabled unit: the word counts. Old versions say nothing for one that is not there.
    return ran.text.strip().splitlines()[0] if ran.text.strip() else "not-found"


def observe_service(site: Site, change: Change) -> State:
    assert isinstance(change, ServiceChange)
    active = site.ask(("systemctl", "is-active", change.unit)).text.strip() if site.is_whole else ""
    return {"enabled": read_unit(site, change.unit), "active": active == "active"}


def capture_service(work: Work, change: Change) -> State:
    return observe_service(work.site, change)


def do_service(work: Work, change: Change) -> None:
    assert isinstance(change, ServiceChange)
    work.must(("systemctl", _VERBS[change.want], *_now(work.site), change.unit), timeout_s=120)


def undo_service(work: Work, entry: Entry) -> None:
    change, before = entry.change, entry.before
    assert isinstance(change, ServiceChange)
    if change.want == "masked" and before["enabled"] != "masked":
        work.must(("systemctl", "unmask", change.unit), timeout_s=120)
    verb = {"enabled": "enable", "disabled": "disable", "masked": "mask"}.get(before["enabled"])
    if verb is not None and read_unit(work.site, change.unit) != before["enabled"]:
        work.must(("systemctl", verb, change.unit), timeout_s=120)
    if work.site.is_whole:
        active = observe_service(work.site, change)["active"]
        if active != before["active"]:
            work.must(("systemctl", "start" if before["active"] else "stop", change.unit), timeout_s=120)


def _now(site: Site) -> tuple[str, ...]:
    return ("--now",) if site.is_whole else ()


def locate_service(site: Site, entry: Entry) -> Position:
    change = entry.change
    assert isinstance(change, ServiceChange)
    now = read_unit(site, change.unit)
    if now == entry.before["enabled"]:
        return Position(standing="both" if now == change.want else "before")
    if now == change.want:
        return Position(standing="after")
    return Position(standing="drifted", note=f"{change.unit} is {now} now (xpukit: {change.want})")


def describe_service(change: Change) -> str:
    assert isinstance(change, ServiceChange)
    return f"{_VERBS[change.want]} {change.unit}"


def name_service(change: Change) -> tuple[str, ...]:
    assert isinstance(change, ServiceChange)
    return (f"unit {change.unit}",)


HANDLER = Handler(
    kind="service",
    capture=capture_service,
    observe=observe_service,
    do=do_service,
    undo=undo_service,
    locate=locate_service,
    describe=describe_service,
    subjects=name_service,
)

"""systemd units: enabled, disabled or masked, and what they were before."""

from __future__ import annotations

from xpukit.install.backups import make_directories
from xpukit.install.change import Change, ServiceChange
from xpukit.install.handler import Entry, Handler, Position, State
from xpukit.install.site import Site
from xpukit.install.work import Work, fail_errno

_UNITS = "/etc/systemd/system"
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
    """How it stands, and the links by which it is enabled: systemctl spells new ones in its own way."""
    assert isinstance(change, ServiceChange)
    return {**observe_service(work.site, change), "links": _read_links(work.site, change.unit)}


def _read_links(site: Site, unit: str) -> dict[str, str]:
    """What the unit's links among the machine's own settings lead to, by path."""
    wanting = [name for name in site.list(_UNITS).names if name.endswith((".wants", ".requires"))]
    paths = [f"{_UNITS}/{place}{unit}" for place in ("", *(f"{name}/" for name in wanting))]
    answers = {path: site.link(path) for path in paths}
    return {path: answer.target for path, answer in answers.items() if answer.target and not answer.error}


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
    if read_unit(work.site, change.unit) == before["enabled"]:
        _put_links_back(work, before.get("links", {}), _read_links(work.site, change.unit))
    if work.site.is_whole:
        active = observe_service(work.site, change)["active"]
        if active != before["active"]:
            work.must(("systemctl", "start" if before["active"] else "stop", change.unit), timeout_s=120)


def _put_links_back(work: Work, before: dict[str, str], now: dict[str, str]) -> None:
    for path, target in before.items():
        if now.get(path) != target:
            make_directories(work.site, path.rsplit("/", 1)[0])
            if error := work.site.changer.write_link(work.site.locate(path, follow=False), target):
                raise fail_errno(f"{path}: cannot be written", error)


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

"""Packages: installed by apt at the versions of the plan, taken away again by dpkg, older ones put back."""

from __future__ import annotations

import msgspec

from xpukit.install.apt_locks import wait_for_apt
from xpukit.install.apt_parse import PackageState
from xpukit.install.apt_view import read_packages
from xpukit.install.backups import keep_content, make_directories
from xpukit.install.change import Change, PackagesChange
from xpukit.install.handler import Entry, Handler, Position, State
from xpukit.install.leftovers import observe_leftovers, remove_leftovers
from xpukit.install.site import STATE_DIR, Site
from xpukit.install.work import Work

KEPT_DEBS = f"{STATE_DIR}/backups/packages"
# An existing configuration file is the user's: keep it, and never ask.
_DPKG_OPTIONS = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
_ENV = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l", "UCF_FORCE_CONFFOLD": "1"}
_FETCH_LIMIT_S = 600.0


def _pick(packages: dict[str, PackageState], name: str, architecture: str) -> PackageState | None:
    return packages.get(f"{name}:{architecture}") or packages.get(f"{name}:all")


def observe_packages(site: Site, change: Change) -> State:
    """Version and status of each package of the change, and what their scripts may leave."""
    assert isinstance(change, PackagesChange)
    packages = read_packages(site)
    found = {}
    for action in change.actions:
        state = _pick(packages, action.name, action.architecture)
        found[action.name] = [state.version, state.status] if state is not None and state.status else ["", ""]
    return {"packages": found, **observe_leftovers(site, found)}


def capture_packages(work: Work, change: Change) -> State:
    """The same, with the list of all packages, and the archives of those that will be replaced."""
    assert isinstance(change, PackagesChange)
    state = observe_packages(work.site, change)
    everything = {key: [package.version, package.status] for key, package in read_packages(work.site).items()}
    kept = {}
    for action in change.actions:
        if action.before:
            kept[action.name] = _keep_archive(work, action.name, action.before, action.architecture)
    return {
        **state,
        "all": keep_content(work.site, msgspec.json.encode(everything)),
        "archives": kept,
        "selections": _read_selections(work.site, list(state["packages"])),
    }


def _keep_archive(work: Work, name: str, version: str, architecture: str) -> str:
    """Keep the archive of a version that is about to be replaced; its path, "" where no source has it any more."""
    make_directories(work.site, KEPT_DEBS)
    file_version = version.replace(":", "%3a")
    for ending in dict.fromkeys((architecture, "all")):
        file = f"{name}_{file_version}_{ending}.deb"
        if work.site.exists(f"{KEPT_DEBS}/{file}"):
            return f"{KEPT_DEBS}/{file}"
        cached = f"/var/cache/apt/archives/{file}"
        if work.site.exists(cached) and work.run(("cp", "-p", cached, KEPT_DEBS), timeout_s=60).ok:
            return f"{KEPT_DEBS}/{file}"
    argv = (
        "env",
        f"--chdir={KEPT_DEBS}",
        "apt-get",
        "-q",
        "-o",
        "APT::Sandbox::User=root",
        "download",
        f"{name}={version}",
    )
    if work.run(argv, timeout_s=_FETCH_LIMIT_S, env=_ENV).ok:
        for ending in dict.fromkeys((architecture, "all")):
            file = f"{name}_{file_version}_{ending}.deb"
            if work.site.exists(f"{KEPT_DEBS}/{file}"):
                return f"{KEPT_DEBS}/{file}"
    work.say(f"{name} {version} is in no source any more: going back to it will not be possible")
    return ""


def do_packages(work: Work, change: Change) -> None:
    """Install what was asked for at the planned versions, removing nothing."""
    assert isinstance(change, PackagesChange)
    wait_for_apt(work)
    argv = (
        "apt-get", "-y", "-q", "--no-remove", "--allow-downgrades", "--no-install-recommends",
        *change.apt_options, *_DPKG_OPTIONS,
        "-o", f"DPkg::Lock::Timeout={max(1, int(work.lock_wait_s))}", "install", *change.request,
    )  # fmt: skip
    work.must(argv, env=_ENV)


def undo_packages(work: Work, entry: Entry) -> None:
    """Take away what was not there, put older versions back. Settings that were there before stay."""
    change = entry.change
    assert isinstance(change, PackagesChange)
    wait_for_apt(work)
    before = entry.before["packages"]
    now = read_packages(work.site)
    purge, remove, back = [], [], []
    for action in change.actions:
        name, architecture = action.name, action.architecture
        state = _pick(now, name, architecture)
        old_version, old_status = before[name]
        if old_version and old_status[1:2] not in ("c", "n", ""):
            if state is None or state.version != old_version or not state.installed:
                back.append((name, architecture, old_version))
        elif state is not None and state.status[1:2] not in ("n", ""):
            if old_status[1:2] == "c":
                if state.present:
                    remove.append(f"{name}:{state.architecture}")
            else:
                purge.append(f"{name}:{state.architecture}")
    if back:
        _put_back(work, entry, back)
    if purge:
        # One that dpkg refuses would be marked for removal all the same: it is asked first.
        work.must(("dpkg", "--force-remove-reinstreq", "--no-act", "--purge", *purge), env=_ENV, timeout_s=60)
        work.must(("dpkg", "--force-remove-reinstreq", "--purge", *purge), env=_ENV)
    if remove:
        work.must(("dpkg", "--force-remove-reinstreq", "--remove", *remove), env=_ENV)
    _forget_selections(work, entry)
    remove_leftovers(work, entry)


def _read_selections(site: Site, names: list[str]) -> dict[str, str]:
    """What dpkg was told to do with packages, installed or not."""
    lines = [line.split() for line in site.ask(("dpkg", "--get-selections", *names)).text.splitlines()]
    return {words[0]: words[1] for words in lines if len(words) == 2}


def _forget_selections(work: Work, entry: Entry) -> None:
    """An install that dpkg refused (a full or read-only disk) leaves the wish for it, which others would fulfil."""
    known = entry.before.get("selections")
    there = {state.name for state in read_packages(work.site).values() if state.status[1:2] not in ("n", "")}
    now = _read_selections(work.site, list(entry.before["packages"])) if known is not None else {}
    wished = [name for name, word in now.items() if word == "install" and name.partition(":")[0] not in there]
    if forget := [name for name in wished if name not in (known or {})]:
        work.run(
            ("dpkg", "--set-selections"), input="".join(f"{name} unknown\n" for name in forget).encode(), timeout_s=60
        )


def _put_back(work: Work, entry: Entry, back: list[tuple[str, str, str]]) -> None:
    archives = [entry.before.get("archives", {}).get(name, "") for name, _, _ in back]
    if all(path and work.site.exists(path) for path in archives):
        work.must(("dpkg", "--force-downgrade", "--force-confdef", "--force-confold", "--install", *archives), env=_ENV)
        return
    request = [f"{name}={version}" for name, _, version in back]
    argv = ("apt-get", "-y", "-q", "--no-remove", "--allow-downgrades", *_DPKG_OPTIONS, "install", *request)
    work.must(argv, env=_ENV)


def locate_packages(site: Site, entry: Entry) -> Position:
    """Drifted when a package is neither at its old nor at its new version; one that is gone is only noted."""
    change = entry.change
    assert isinstance(change, PackagesChange)
    now = observe_packages(site, change)["packages"]
    before = entry.before["packages"]
    at_before = at_after = True
    gone, other = [], []
    for action in change.actions:
        version, status = now[action.name]
        # A package of which only settings are left counts as gone.
        shown = version if status[1:2] not in ("c", "n", "") else ""
        old = before[action.name][0] if before[action.name][1][1:2] not in ("c", "n", "") else ""
        at_before &= shown == old
        at_after &= shown == action.after
        if shown not in (old, action.after):
            if shown:
                other.append(f"{action.name} is at {shown} now (xpukit: {action.after})")
            else:
                gone.append(f"{action.name} is gone")
        elif shown and status[1:2] != "i":
            gone.append(f"{action.name} {shown} is not configured")
        elif entry.after is not None and shown != action.after:
            gone.append(f"{action.name} is {'at ' + shown if shown else 'gone'} (xpukit: {action.after})")
    if at_before:
        return Position(standing="both" if at_after else "before")
    if other:
        return Position(standing="drifted", note="; ".join(other))
    return Position(standing="after", note="; ".join(gone))


def find_hindrances(work: Work, entry: Entry) -> tuple[str, ...]:
    """Packages of others that came to depend on ours."""
    change = entry.change
    assert isinstance(change, PackagesChange)
    now = read_packages(work.site)
    going = []
    for action in change.actions:
        state = _pick(now, action.name, action.architecture)
        old_status = entry.before["packages"][action.name][1]
        if state is not None and state.present and old_status[1:2] in ("c", "n", ""):
            going.append(f"{action.name}:{state.architecture}")
    if not going:
        return ()
    ran = work.run(("dpkg", "--force-remove-reinstreq", "--no-act", "--purge", *going), timeout_s=60)
    if ran.ok:
        return ()
    lines = [line.strip() for line in ran.err_text.splitlines() if " depends on " in line]
    return tuple(lines) or (ran.describe_failure(),)


def recover_dpkg(work: Work) -> None:
    """Let dpkg finish what was cut short. A package whose script fails stays as it is: apply or undo deals with it."""
    wait_for_apt(work)
    work.run(("dpkg", "--force-confdef", "--force-confold", "--configure", "-a"), env=_ENV, timeout_s=1800)


def describe_packages(change: Change) -> str:
    assert isinstance(change, PackagesChange)
    replaced = sum(1 for action in change.actions if action.before)
    also = len(change.actions) - len(change.request)
    more = f" and {also} that they need" if also > 0 else ""
    return f"install {', '.join(change.request)}{more}" + (f"; {replaced} are replaced" if replaced else "")


def name_packages(change: Change) -> tuple[str, ...]:
    assert isinstance(change, PackagesChange)
    return tuple(f"package {action.name}" for action in change.actions)


HANDLER = Handler(
    kind="packages",
    capture=capture_packages,
    observe=observe_packages,
    do=do_packages,
    undo=undo_packages,
    locate=locate_packages,
    describe=describe_packages,
    subjects=name_packages,
    hindrances=find_hindrances,
    recover=recover_dpkg,
)

"""What a plan says about single packages: missing, kept away, too old, untested, without a way back."""

from __future__ import annotations

from xpukit.core.finding import Evidence, Finding
from xpukit.facts.stacks import PackageFacts
from xpukit.install.apt_parse import Policy
from xpukit.install.apt_sources import LISTS
from xpukit.install.apt_view import AptView
from xpukit.install.change import PackageAction
from xpukit.install.step import Scene


def find_no_lists() -> Finding:
    """No source lacks anything: apt has not read one."""
    return Finding(
        id="XPK-INSTALL-APT-LISTS",
        severity="critical",
        summary="apt has not read its sources yet: it knows no package",
        evidence=(Evidence(source=LISTS, value="no list of packages"),),
        remedy=("sudo apt-get update",),
        commands=("apt-get update",),
    )


def find_no_way_back(view: AptView, actions: list[PackageAction]) -> list[Finding]:
    """Packages that are replaced and whose old version no source has."""
    replaced = [action for action in actions if action.before]
    if not replaced:
        return []
    policies, _ = view.ask_policy([action.name for action in replaced])
    return [
        Finding(
            id="XPK-INSTALL-NO-WAY-BACK",
            severity="warning",
            summary=f"{action.name} {action.before} is in no source any more: undo could not bring it back",
            evidence=(Evidence(source=f"apt-cache policy {action.name}", value=f"{action.before} is only installed"),),
            remedy=("keep the archive of the old version, or leave the package out",),
            subject=action.name,
        )
        for action in replaced
        if action.before not in policies.get(action.name, Policy(name=action.name)).available
    ]


def find_missing(scene: Scene, row: PackageFacts, version: str) -> Finding:
    """No source of apt's has it, or not in that version."""
    wanted = f"{row.name} {version}".strip()
    own = (row.remedy,) if row.remedy else ()
    remedies = (*own, *(source.remedy for source in scene.stack.sources if source.remedy))
    return Finding(
        id="XPK-INSTALL-PACKAGE-MISSING",
        severity="critical" if row.required else "warning",
        summary=f"no source has {wanted} ({row.purpose})",
        evidence=(
            Evidence(source=f"apt-cache policy {row.name}", value="no candidate" if not version else "not offered"),
        ),
        explanation=row.source,
        remedy=remedies or ("run apt-get update",),
        subject=row.name,
    )


def find_pinned_away(row: PackageFacts, policy: Policy) -> Finding:
    """A source has it, and a pin below zero forbids it."""
    offered = next(iter(policy.available))
    return Finding(
        id="XPK-INSTALL-PACKAGE-PINNED",
        severity="critical" if row.required else "warning",
        summary=f"a source has {row.name} {offered} ({row.purpose}), but a pin keeps apt from taking it",
        evidence=(Evidence(source=f"apt-cache policy {row.name}", value=f"Candidate: (none), offered: {offered}"),),
        remedy=(f"take that one all the same: --pin {row.name}={offered}", "or change the pin: /etc/apt/preferences.d"),
        subject=row.name,
    )


def find_refusal(refused: str) -> Finding:
    """apt's own words; a machine whose packages were broken before refuses everything."""
    damaged = "needs to be reinstalled" in refused
    broken = damaged or "--fix-broken" in refused or "dpkg --configure -a" in refused
    lines = [line.strip(" |") for line in refused.splitlines()[2:]]
    if broken:  # what the package that was asked for lacks says nothing about why
        lines = [line for line in lines if line.startswith("E: ")]
    return Finding(
        id="XPK-INSTALL-APT-REFUSES",
        severity="critical",
        summary="the packages of this machine are broken already: apt installs nothing before they are put right"
        if broken
        else "apt refuses to install the packages together",
        evidence=tuple(Evidence(source="apt-get -s install", value=line) for line in lines),
        remedy=(
            "install the named package again: sudo apt-get install --reinstall NAME",
            "or remove it: sudo dpkg -P NAME",
        )
        if damaged
        else ("see what it would do: apt-get -s --fix-broken install", "then: sudo apt-get --fix-broken install")
        if broken
        else ("hold back nothing that the packages need, or choose other versions with --pin",),
    )


def find_too_old(row: PackageFacts, version: str) -> Finding:
    """It is there, older than wanted, and nothing newer is to be had."""
    return Finding(
        id="XPK-INSTALL-PACKAGE-OLD",
        severity="warning",
        summary=f"{row.name} {version} is older than {row.minimum}, and no source has a newer one",
        evidence=(Evidence(source=f"apt-cache policy {row.name}", value=version),),
        subject=row.name,
    )


def find_untested(row: PackageFacts, version: str) -> Finding:
    """Another version than those that the stack names."""
    return Finding(
        id="XPK-INSTALL-PACKAGE-UNTESTED",
        severity="info",
        summary=f"{row.name} {version} is not a version that this stack names as tested ({', '.join(row.tested)})",
        evidence=(Evidence(source=f"apt-cache policy {row.name}", value=version),),
        subject=row.name,
    )

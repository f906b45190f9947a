"""Users in the groups that own the GPU's nodes; seen by opening a node as that user."""

from __future__ import annotations

import re

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.install.accounts import is_member, read_accounts, read_groups
from xpukit.install.change import Change, GroupChange, MemberChange
from xpukit.install.step import Scene, Step, StepPlan

_NODES = "/dev/dri"
_NODE = re.compile(r"renderD\d+")


def plan_groups(scene: Scene) -> StepPlan:
    """Groups that are missing, users that are not in them."""
    site = scene.site
    if site.read("/etc/group").error == "UNRECORDED":
        return StepPlan(unchecked=(Unchecked(check="groups", why="/etc/group is not in the recording"),))
    groups, accounts = read_groups(site), read_accounts(site)
    changes: list[Change] = []
    satisfied: list[str] = []
    findings: list[Finding] = []
    rows = [row for row in scene.stack.groups if scene.wants(row.option)]
    for row in rows:
        if row.name not in groups:
            changes.append(GroupChange(group=row.name, why=row.why))
        else:
            satisfied.append(f"group {row.name} is there")
    for user in scene.options.users:
        if user not in accounts:
            findings.append(_find_unknown(user))
            continue
        for row in rows:
            if is_member(site, user, row.name):
                satisfied.append(f"{user} is in {row.name}")
            else:
                changes.append(MemberChange(user=user, group=row.name, why=row.why))
    if not scene.options.users:
        satisfied.append("no user was named (--user NAME): nobody is put into groups")
    return StepPlan(changes=tuple(changes), satisfied=tuple(satisfied), findings=tuple(findings))


def _find_unknown(user: str) -> Finding:
    return Finding(
        id="XPK-INSTALL-USER-UNKNOWN",
        severity="warning",
        summary=f"user {user} is not in /etc/passwd: left out",
        evidence=(Evidence(source="/etc/passwd", value=f"no line for {user}"),),
        explanation="accounts of a directory service are put into groups there.",
        remedy=(f"put {user} into the groups render and video where the account is kept",),
        subject=user,
    )


def verify_groups(scene: Scene) -> tuple[str, ...]:
    """Each user opens each render node, with the groups that a new login gets."""
    site = scene.site
    if not site.is_whole or not site.has_program("runuser"):
        return ()
    problems = []
    nodes = [f"{_NODES}/{name}" for name in site.list(_NODES).names if _NODE.fullmatch(name)]
    for user in scene.options.users:
        if user not in read_accounts(site):
            continue
        for node in nodes:
            for flag in ("-r", "-w"):
                if not site.ask(("runuser", "-u", user, "--", "test", flag, node)).ok:
                    problems.append(f"{user} cannot {'read' if flag == '-r' else 'write'} {node}")
    return tuple(problems)


STEP = Step(
    name="groups",
    summary="users in the groups render and video",
    order=600,
    plan=plan_groups,
    scopes=("machine",),
    verify=verify_groups,
)

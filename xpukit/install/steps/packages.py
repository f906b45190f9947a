"""The packages of the stack, at versions that apt's sources have."""

from __future__ import annotations

import msgspec

from xpukit.core.errors import ExternalError
from xpukit.core.finding import Finding, Unchecked
from xpukit.facts.stacks import PackageFacts
from xpukit.install.apt_parse import PackageState, Policy, Simulation
from xpukit.install.apt_sources import is_unread, key_path, only_options, render_source
from xpukit.install.apt_view import AptView, NotRecordedError, open_view, read_packages
from xpukit.install.change import PackageAction, PackagesChange
from xpukit.install.debian_versions import is_at_least
from xpukit.install.package_findings import (
    find_missing,
    find_no_lists,
    find_no_way_back,
    find_pinned_away,
    find_refusal,
    find_too_old,
    find_untested,
)
from xpukit.install.source_index import find_archived, list_directories
from xpukit.install.step import Scene, Step, StepPlan


def plan_packages(scene: Scene) -> StepPlan:
    """What is missing or too old. A package that is there and new enough is left as it is."""
    rows = _list_rows(scene)
    try:
        installed = _read_installed(scene)
    except NotRecordedError as err:
        return StepPlan(unchecked=(Unchecked(check="packages", why=err.message, remedy=err.hint),))
    wanted, satisfied = [], []
    for row in rows:
        state = installed.get(row.name)
        if state is not None and state.installed and _suits(scene, row, state):
            satisfied.append(f"{row.name} {state.version} ({row.purpose})")
        elif state is None and row.brings and scene.site.exists(row.brings):
            satisfied.append(f"{row.name}: {row.brings} is there ({row.purpose})")
        else:
            wanted.append(row)
    if not wanted:
        return StepPlan(satisfied=tuple(satisfied))
    if not scene.site.can_change and scene.site.ask(("apt-cache", "policy", wanted[0].name)).failure == "UNRECORDED":
        return _plan_unasked(scene, wanted, installed, satisfied)
    with open_view(scene.site, scene.options.source) as view:
        return _plan_wanted(scene, view, wanted, installed, satisfied)


def _read_installed(scene: Scene) -> dict[str, PackageState]:
    """By name; of a package that is there for several architectures the stack's."""
    fitting = ("all", *scene.stack.architectures)
    states = [state for state in read_packages(scene.site).values() if state.status]
    return {state.name: state for state in sorted(states, key=lambda state: state.architecture in fitting)}


def _list_rows(scene: Scene) -> list[PackageFacts]:
    rows = [found for row in scene.stack.packages if scene.wants(row.option) for found in _name_row(scene, row)]
    if _needs_kernel(scene):
        kernel = scene.stack.kernel
        assert kernel is not None
        rows.append(PackageFacts(name=kernel.package, purpose="kernel", required=False, source=kernel.source))
    known = {row.name for row in rows}
    # An exported set may name packages beyond the stack's rows.
    pins = [name for name in scene.options.pins if name not in known]
    return rows + [PackageFacts(name=name, purpose="named by --pin", source="the user") for name in pins]


def _name_row(scene: Scene, row: PackageFacts) -> list[PackageFacts]:
    """A row whose package is only known by where its archives lie, by the names that the source has for it."""
    if not row.archives:
        return [row]
    names = find_archived(scene.site, list_directories(scene.options.source), row.archives)
    return [msgspec.structs.replace(row, name=name) for name in names] or [row]


def _needs_kernel(scene: Scene) -> bool:
    """A kernel is installed only where it was asked for by an option of that name."""
    return scene.stack.kernel is not None and "kernel" in scene.options.chosen


def _suits(scene: Scene, row: PackageFacts, state: PackageState) -> bool:
    pin = scene.options.pins.get(row.name)
    if pin:
        return state.version == pin
    return not row.minimum or is_at_least(state.version, row.minimum)


def _plan_unasked(
    scene: Scene, wanted: list[PackageFacts], installed: dict[str, PackageState], satisfied: list[str]
) -> StepPlan:
    """For a recorded machine whose apt was not asked: names without versions."""
    actions = tuple(
        PackageAction(
            name=row.name,
            architecture=scene.stack.architectures[0],
            before=installed[row.name].version if row.name in installed and installed[row.name].present else "",
            after="",
            asked_for=True,
        )
        for row in wanted
    )
    why = Unchecked(
        check="packages",
        why="the recording holds no answers of apt: versions, sizes and dependencies are not known",
        remedy="record on the machine with: xpukit --record DIR install plan",
    )
    change = PackagesChange(request=tuple(row.name for row in wanted), actions=actions)
    return StepPlan(changes=(change,), satisfied=tuple(satisfied), unchecked=(why,))


def _plan_wanted(
    scene: Scene,
    view: AptView,
    wanted: list[PackageFacts],
    installed: dict[str, PackageState],
    satisfied: list[str],
) -> StepPlan:
    policies, error = view.ask_policy([row.name for row in wanted])
    if error:
        raise ExternalError(f"apt cannot be asked: {error}", hint="see: apt-cache policy")
    source = scene.options.source
    asked_elsewhere = bool(source.directory or source.listing)
    if not asked_elsewhere and not any(policy.available for policy in policies.values()) and is_unread(scene.site):
        return StepPlan(satisfied=tuple(satisfied), findings=(find_no_lists(),), blocked="apt has read no source yet")
    findings: list[Finding] = []
    request, lacking, held = [], [], []
    for row in wanted:
        policy = policies.get(row.name, Policy(name=row.name))
        version = scene.options.pins.get(row.name) or policy.candidate
        if not version and policy.available:
            findings.append(find_pinned_away(row, policy))
            if row.required:
                lacking.append(f"{row.name} (kept away by a pin)")
            continue
        if not version or version not in policy.available:
            findings.append(find_missing(scene, row, version))
            if row.required or scene.options.pins.get(row.name):
                lacking.append(f"{row.name} {version}".strip())
            continue
        state = installed.get(row.name)
        if state is not None and state.installed and state.version == version:
            satisfied.append(f"{row.name} {version}: no source has a newer one (wanted: {row.minimum})")
            findings.append(find_too_old(row, version))
            continue
        if row.tested and version not in row.tested:
            findings.append(find_untested(row, version))
        if state is not None and state.held:
            held.append(f"{row.name} is held at {state.version} (apt-mark unhold {row.name} frees it)")
        request.append(f"{row.name}={version}")
    if lacking:
        return StepPlan(
            satisfied=tuple(satisfied),
            findings=tuple(findings),
            blocked=f"no source that apt knows has: {', '.join(lacking)}",
        )
    if held:
        return StepPlan(satisfied=tuple(satisfied), findings=tuple(findings), blocked="; ".join(held))
    if not request:
        return StepPlan(satisfied=tuple(satisfied), findings=tuple(findings))
    simulation, refused = view.simulate(request)
    if refused:
        findings.append(find_refusal(refused))
        return StepPlan(
            satisfied=tuple(satisfied), findings=tuple(findings), blocked=f"apt refuses to install {' '.join(request)}"
        )
    if simulation.removed:
        gone = ", ".join(simulation.removed)
        return StepPlan(
            satisfied=tuple(satisfied), findings=tuple(findings), blocked=f"installing would remove: {gone}"
        )
    return _make_plan(scene, view, request, simulation, installed, satisfied, findings)


def _make_plan(
    scene: Scene,
    view: AptView,
    request: list[str],
    simulation: Simulation,
    installed: dict[str, PackageState],
    satisfied: list[str],
    findings: list[Finding],
) -> StepPlan:
    sizes, disk_bytes = view.ask_sizes(request)
    asked = {word.partition("=")[0] for word in request}
    actions = []
    blocked = ""
    for line in simulation.installed:
        state = installed.get(line.name)
        if state is not None and state.held:
            blocked = f"{line.name} is held at {state.version} (apt-mark unhold {line.name} frees it)"
        actions.append(
            PackageAction(
                name=line.name,
                architecture=line.architecture,
                before=line.before,
                after=line.after,
                origin=line.origin,
                download_bytes=sizes.get(f"{line.name} {line.after}", 0),
                asked_for=line.name in asked,
            )
        )
    options = only_options(render_source(scene.options.source, key=key_path(scene.options.source))[0])
    change = PackagesChange(
        request=tuple(request),
        actions=tuple(actions),
        apt_options=options if scene.options.source.exclusive else (),
        disk_bytes=disk_bytes,
    )
    findings.extend(find_no_way_back(view, actions))
    reboot = next((action.name for action in actions if action.name.startswith("linux-image")), "")
    return StepPlan(
        changes=(change,),
        satisfied=tuple(satisfied),
        findings=tuple(findings),
        blocked=blocked,
        reboot=f"a kernel comes: {reboot}" if reboot else "",
    )


def verify_packages(scene: Scene) -> tuple[str, ...]:
    """The stack's own looks at the result, where their package is there."""
    installed = {state.name for state in read_packages(scene.site).values() if state.installed}
    problems = []
    for check in scene.stack.checks:
        if scene.wants(check.option) and (not check.package or check.package in installed):
            ran = scene.site.ask(check.argv)
            if not ran.ok:
                problems.append(ran.describe_failure())
    return tuple(problems)


def list_versions(scene: Scene) -> dict[str, str]:
    """The versions of the stack's packages that are installed, by name: what an export pins."""
    names = {row.name for row in _list_rows(scene)}
    states = read_packages(scene.site).values()
    return {
        state.name: state.version
        for state in sorted(states, key=msgspec.structs.astuple)
        if state.name in names and state.installed
    }


STEP = Step(
    name="packages",
    summary="driver user space and tools",
    order=200,
    plan=plan_packages,
    verify=verify_packages,
)

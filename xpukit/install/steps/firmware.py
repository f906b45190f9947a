"""Firmware of the GPUs: files newer than those that the kernel would take, and with the right hash.

They go to /lib/firmware/updates, which the kernel looks at first and no package owns: nothing of a package is
overwritten, and taking one back brings the package's own into force again.
"""

from __future__ import annotations

import msgspec

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.facts.devices import lookup_device
from xpukit.facts.stacks import FirmwareFacts
from xpukit.install.change import FileChange, hash_bytes
from xpukit.install.firmware_files import UNRECORDED, UPDATES, FirmwareFile, compare_versions, find_loaded, list_kernels
from xpukit.install.firmware_source import Offer, collect_offers
from xpukit.install.site import Site
from xpukit.install.step import Scene, Step, StepPlan

_OWN_PATH = "/sys/module/firmware_class/parameters/path"


class _Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done about one file: a change, or words saying that and why nothing is. `lacking`: what is wanted
    and what is there, where no source has it."""

    change: FileChange | None = None
    satisfied: str = ""
    lacking: str = ""
    unchecked: str = ""
    remedy: str = ""


def plan_firmware(scene: Scene) -> StepPlan:
    """Compare what is on offer with what each installed kernel would take. Raises ExternalError for a wrong hash."""
    rows = [row for row in scene.stack.firmware if scene.wants(row.option) and _concerns(row, scene)]
    offers = collect_offers(scene.site, scene.options.source.directory, rows)
    if not offers:
        return StepPlan()
    kernels = list_kernels(scene.site) or ("",)
    verdicts = [_judge(scene.site, offer, kernels) for offer in offers]
    changes = tuple(verdict.change for verdict in verdicts if verdict.change is not None)
    lacking = tuple(verdict.lacking for verdict in verdicts if verdict.lacking)
    satisfied = tuple(verdict.satisfied for verdict in verdicts if verdict.satisfied)
    unchecked = [
        Unchecked(check="firmware", why=verdict.unchecked, remedy=verdict.remedy)
        for verdict in verdicts
        if verdict.unchecked
    ]
    if lacking and scene.site.is_whole and not scene.devices:
        satisfied = (*satisfied, "no Intel GPU is here: firmware that no source has is not missed")
    elif lacking:
        remedy = "give a source with firmware/ laid out as /lib/firmware: --source DIR"
        why = f"no source has {'; '.join(lacking)}{_name_packages(scene)}"
        unchecked.append(Unchecked(check="firmware", why=why, remedy=remedy))
    return StepPlan(
        changes=changes,
        satisfied=satisfied,
        unchecked=tuple(unchecked),
        findings=_find_own_path(scene.site),
        reboot="a running driver keeps the firmware that it loaded" if changes else "",
    )


def _name_packages(scene: Scene) -> str:
    """Packages of the stack that may still bring some of it."""
    names = [row.name for row in scene.stack.packages if row.firmware and scene.wants(row.option)]
    return f"; {', '.join(names)} may bring it, and is looked into once it is there" if names else ""


def _concerns(row: FirmwareFacts, scene: Scene) -> bool:
    """A row for devices that are not there is none; where no device is known, all are."""
    if not (row.devices or row.platforms) or not scene.devices:
        return True
    there = {device.device_id.lower().removeprefix("0x") for device in scene.devices}
    known = [lookup_device(device.vendor_id, device.device_id) for device in scene.devices]
    return any(device.lower().removeprefix("0x") in there for device in row.devices) or any(
        facts is not None and facts.platform.startswith(row.platforms) for facts in known if row.platforms
    )


def _judge(site: Site, offer: Offer, kernels: tuple[str, ...]) -> _Verdict:
    found = [find_loaded(site, offer.name, kernel) for kernel in kernels]
    loaded = [file for file in found if file is not None]
    if len(loaded) == len(found) and all(_is_same(file, offer) for file in loaded):
        return _Verdict(satisfied=f"{offer.name} {offer.version} is there".replace("  ", " "))
    if any(file.error == UNRECORDED for file in loaded):
        return _Verdict(unchecked=f"{offer.name}: is not in the recording")
    unknown = next((file for file in loaded if file.error or not file.version), None)
    if unknown is not None or (loaded and not offer.version):
        return _Verdict(
            unchecked=f"{offer.name}: left as it is, because {_explain_unknown(offer, unknown)}",
            remedy="compare the files by hand",
        )
    newer = next((file for file in loaded if compare_versions(file.version, offer.version) > 0), None)
    if len(loaded) == len(found) and all(compare_versions(file.version, offer.version) >= 0 for file in loaded):
        which = newer or loaded[0]
        return _Verdict(satisfied=f"{offer.name}: {which.path} is {which.version}, not older than {offer.version}")
    if newer is not None:
        return _Verdict(
            unchecked=f"{offer.name}: left as it is: {offer.version} would hide {newer.path}, which is {newer.version}",
            remedy=f"remove the kernel that has the older firmware, or {newer.path}",
        )
    target = f"{UPDATES}/{offer.name}"
    # /lib/firmware/updates/KERNEL; a compressed one comes after ours wherever it lies.
    nearer = next((f for f in loaded if f.path.startswith(UPDATES) and f.path.endswith(offer.name)), None)
    if nearer is not None and nearer.path != target:
        return _Verdict(
            unchecked=f"{offer.name}: {nearer.path} ({nearer.version}) comes before {target}",
            remedy=f"remove {nearer.path} when it is not needed",
        )
    there = f"{loaded[0].path} is {loaded[0].version}" if loaded else "there is none"
    if not offer.at_hand:
        return _Verdict(lacking=f"{offer.name}: {offer.version or 'a file'} is wanted, {there}")
    return _Verdict(change=_make_change(offer, target, there))


def _is_same(file: FirmwareFile, offer: Offer) -> bool:
    return not file.error and hash_bytes(file.data) == offer.sha256


def _explain_unknown(offer: Offer, unknown: FirmwareFile | None) -> str:
    if unknown is None:
        return "nothing says which version the new file is"
    return f"the version of {unknown.path} cannot be read" + (f" ({unknown.error})" if unknown.error else "")


def _make_change(offer: Offer, target: str, there: str) -> FileChange:
    why = f"{offer.name} {offer.version}: {there}" if offer.version else f"{offer.name}: {there}"
    if offer.path.endswith(offer.name):
        return FileChange(path=target, why=why, sha256=offer.sha256, copy_from=offer.path, mode=0o644)
    # A compressed file is put there as the GPU gets it: every kernel reads that, and it comes first.
    return FileChange(path=target, why=why, sha256=offer.sha256, content=offer.data, mode=0o644)


def _find_own_path(site: Site) -> tuple[Finding, ...]:
    own = site.read(_OWN_PATH).text if site.is_whole else ""
    if not own:
        return ()
    return (
        Finding(
            id="XPK-INSTALL-FIRMWARE-PATH",
            severity="warning",
            summary=f"the kernel looks for firmware in {own} before all else",
            evidence=(Evidence(source=_OWN_PATH, value=own),),
            remedy=(f"look whether {own} holds firmware of the GPU: it hides what is put into {UPDATES}",),
            install_step="firmware",
        ),
    )


STEP = Step(
    name="firmware",
    summary="firmware of the GPUs",
    order=300,
    plan=plan_firmware,
    scopes=("machine",),
    refreshes=("initramfs",),
)

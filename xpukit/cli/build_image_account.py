"""Around a build: does this host fit the image, and what did the finished image turn out to be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from xpukit.core.errors import ExitCode, ExternalError

if TYPE_CHECKING:
    from xpukit.cli.build_image_order import ResolvedOrder
    from xpukit.cli.session import Session
    from xpukit.core.machine import Machine
    from xpukit.host.docker_daemon import DockerDaemon
    from xpukit.host.door import Host
    from xpukit.images.result import ImageResult


def check_host(session: Session, resolved: ResolvedOrder, machine: Machine) -> None:
    """Compare the recipe's needs with this host. Raises ExternalError where it has GPUs that do not fit, not --force.

    A host without any GPU builds for others: that is only said.
    """
    from xpukit.images.compat import judge_compatibility, require_compatible

    recipe = resolved.recipe
    found = judge_compatibility(recipe.host, machine)
    if found.verdict == "refused" and not machine.devices:
        session.say(f"this host will not run the image ({'; '.join(found.reasons)}); building it all the same")
        return
    require_compatible(f"recipe {recipe.name}", found, force=resolved.order.force)


def account_for_build(
    session: Session,
    host: Host,
    resolved: ResolvedOrder,
    daemon: DockerDaemon,
    machine: Machine,
    result: ImageResult,
) -> ImageResult:
    """Smoke test, flags, inventory and SBOM of a built image, in its build directory; a failure there is a note."""
    from xpukit.container.gpu_nodes import find_gpu_nodes
    from xpukit.images.after_build import account_for_image
    from xpukit.images.inventory import INVENTORY_FILE
    from xpukit.images.smoke_compose import make_runner

    session.say("testing the image ..." if not resolved.order.no_smoke else "looking into the image ...")
    # What the recipe's settings chose counts, not its defaults: flags are asked of the engine that was built.
    gpus = find_gpu_nodes(host, machine) if resolved.recipe.host.vendor == "intel" else ()
    try:
        account = account_for_image(
            daemon,
            result.image_id,
            resolved.recipe,
            Path(result.directory),
            tags=result.tags,
            gpus=gpus,
            smoke=not resolved.order.no_smoke,
            hostname=host.identity().hostname,
            compose=None if resolved.order.no_smoke else make_runner(host, daemon),
        )
    except ExternalError as err:
        notes = (*result.notes, f"the image was built, but not tested or described: {err.message}")
        return msgspec.structs.replace(result, smoke="unknown", notes=notes)
    return msgspec.structs.replace(
        result,
        image_id=account.image_id,
        smoke=account.smoke.verdict if account.smoke else "",
        inventory=INVENTORY_FILE,
        notes=(*result.notes, *account.notes),
        failed_checks=tuple(
            f"{check.name}: {check.said}"
            for check in (account.smoke.checks if account.smoke else ())
            if check.verdict in ("fail", "unknown")
        ),
    )


def exit_code_of(result: ImageResult) -> ExitCode:
    """4 for a build that failed, 1 for an image that failed its test, 3 for one that could not be tested."""
    if not result.ok:
        return ExitCode.EXTERNAL_FAILURE
    return {"fail": ExitCode.JUDGED_FAILING, "unknown": ExitCode.COULD_NOT_JUDGE}.get(result.smoke, ExitCode.OK)

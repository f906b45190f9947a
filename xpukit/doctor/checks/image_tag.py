"""The tags of the images that serve models: `latest`, old ones, and ones with a known problem."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.doctor.container_inspect import Container
from xpukit.doctor.containers import list_serving, may_use_several
from xpukit.facts.doctor_images import find_image, find_newest, find_problems, resolve_tag
from xpukit.facts.doctor_tables import split_version


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Each serving container's image."""
    for tool, container in list_serving(patient):
        evidence = (Evidence(source=f"{tool} inspect {container.name}: Config.Image", value=name_image(container)),)
        yield from judge_latest(container, evidence)
        yield from judge_age(container, evidence)
        for problem in find_problems(container.image):
            if problem.several_gpus and not may_use_several(container, patient):
                continue
            yield Finding(
                id="XPK-IMAGE-KNOWN-PROBLEM",
                severity="warning",
                summary=f"container {container.name}: a known problem of {container.image.tag}: {problem.summary}",
                evidence=evidence,
                explanation=f"Others reported it; status {problem.status} as of {problem.date}.",
                remedy=(problem.remedy,),
                links=(problem.link,),
                subject=container.name,
                concerns=f"{problem.pattern}:{problem.tag}",
            )


def judge_latest(container: Container, evidence: tuple[Evidence, ...]) -> Iterable[Finding]:
    """A tag that names no version. A digest names one exactly."""
    image = container.image
    if image.digest or image.tag not in ("", "latest"):
        return
    row = find_image(image.repository)
    wrong = row is not None and row.latest_is_wrong
    yield Finding(
        id="XPK-IMAGE-LATEST",
        severity="warning" if wrong else "info",
        summary=f"container {container.name} runs {image.repository} by the tag latest, which names no version",
        evidence=evidence,
        explanation="Nobody can tell which version that was, and the next pull brings another one."
        + (" The image's own guide says not to use it." if wrong else ""),
        remedy=("pull and start an exact version; write it into the compose file",),
        links=(row.link,) if row is not None else (),
        subject=container.name,
        concerns=image.repository,
    )


def judge_age(container: Container, evidence: tuple[Evidence, ...]) -> Iterable[Finding]:
    """Older than the newest tag that we know of, by more than a build."""
    newest = find_newest(container.image)
    version = split_version(resolve_tag(container.image))
    # Releases 1.x that we know no other name for cannot be ordered among versions of vLLM.
    if newest is None or not version or version >= (1,) or version[:2] >= split_version(newest.tag)[:2]:
        return
    yield Finding(
        id="XPK-IMAGE-OLD",
        severity="info",
        summary=f"container {container.name} runs {container.image.tag}; {newest.tag} is out since {newest.date}",
        evidence=(*evidence, Evidence(source=f"{newest.source}, {newest.date}", value=newest.tag)),
        explanation="Newer images carry fixes of engine and libraries. Newer is not always better: compare the two "
        "with your own load before changing.",
        remedy=(f"try {newest.pattern}:{newest.tag} beside it and compare",),
        links=(newest.link,),
        subject=container.name,
        concerns=newest.pattern,
    )


def name_image(container: Container) -> str:
    """Repository, tag and digest as they were given."""
    image = container.image
    return (
        image.repository + (f":{image.tag}" if image.tag else "") + (f"@{image.digest[:19]}…" if image.digest else "")
    )


CHECK = Check(
    name="image_tag",
    summary="images of serving containers by exact, current tags",
    ids=("XPK-IMAGE-LATEST", "XPK-IMAGE-OLD", "XPK-IMAGE-KNOWN-PROBLEM"),
    look=look,
    concerns="containers of serving engines",
    order=546,
)

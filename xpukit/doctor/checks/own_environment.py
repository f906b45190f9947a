"""xpukit's own environment: variables that change what its Python loads."""

from __future__ import annotations

from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.facts.doctor_tables import split_version

# The versions that xpukit is tested with.
_PYTHON_FIRST, _PYTHON_LAST = (3, 10), (3, 14)


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """PYTHONPATH and PYTHONHOME reach into every Python, ours and the servers'; and a Python nobody tested."""
    if not patient.machine.devices:
        return
    for name in ("PYTHONPATH", "PYTHONHOME"):
        value = patient.host.env(name).value
        if value:
            yield Finding(
                id="XPK-SELF-PYTHON-PATH",
                severity="info",
                summary=f"{name} is set: every Python here loads packages from there first",
                evidence=(Evidence(source=f"${name}", value=value[:200]),),
                explanation="Packages of another environment then come before an environment's own, for xpukit and "
                "for servers; versions that `pip list` shows may not be the ones that run.",
                remedy=(f"start without it: env -u {name} xpukit doctor",),
                commands=(f"unset {name}",),
                links=("https://docs.python.org/3/using/cmdline.html#environment-variables",),
                subject=name,
            )
    identity = patient.host.identity()
    version = split_version(identity.python)[:2]
    if len(version) == 2 and not _PYTHON_FIRST <= version <= _PYTHON_LAST:
        yield Finding(
            id="XPK-SELF-PYTHON-VERSION",
            severity="info",
            summary=f"xpukit runs on Python {identity.python}, with which it was not tested",
            evidence=(Evidence(source=identity.executable or "python", value=identity.python),),
            explanation="Tested are 3.10 to 3.14.",
            remedy=("install xpukit for a tested Python when something looks wrong",),
            links=("https://devguide.python.org/versions/",),
        )


CHECK = Check(
    name="own_environment",
    summary="xpukit's own environment",
    ids=("XPK-SELF-PYTHON-PATH", "XPK-SELF-PYTHON-VERSION"),
    look=look,
    concerns="machines with an Intel GPU",
    order=590,
)

"""Several Level Zero loaders that programs may find, and a loader that is older than the driver."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xpukit.core.finding import Evidence, Finding, Unchecked
from xpukit.doctor.check import Check, Patient
from xpukit.facts.doctor_tables import split_version
from xpukit.facts.doctor_versions import bound_loader_api

_LIBRARY = "libze_loader.so.1"
_ONEAPI_DIRS = tuple(f"/opt/intel/oneapi/{part}/latest/lib" for part in ("compiler", "ccl", "tcm", "umf"))
_LDCONFIG_LINE = re.compile(r"^\s*(\S+) \(([^)]*)\) => (/\S+)\s*$", re.MULTILINE)
_LINK = "https://github.com/oneapi-src/unified-runtime/issues/2742"


def look(patient: Patient) -> Iterable[Finding | Unchecked]:
    """Loaders of different versions on the ways that programs search; then the loaded one against the driver."""
    if not patient.machine.devices:
        return
    found = find_loaders(patient)
    versions = {version for _, version in found.values() if version}
    if len(versions) > 1:
        places = ", ".join(sorted(f"{version} ({where})" for where, version in found.values() if version))
        yield Finding(
            id="XPK-LIBZE-SEVERAL",
            severity="warning",
            summary=f"programs may find Level Zero loaders of {len(versions)} versions: {places}",
            evidence=tuple(Evidence(source=where, value=real) for real, (where, _) in sorted(found.items())),
            explanation="Which one a program gets depends on its search path. An older one lacks functions of newer "
            "SYCL runtimes (undefined symbol zeDeviceGetRootDevice, no device found), and two in one process do not "
            "see each other's devices.",
            remedy=(
                "keep one loader: the package libze1 (or level-zero) of the driver's repository",
                "take directories with another one out of LD_LIBRARY_PATH; remove copies that no package owns",
            ),
            links=(_LINK,),
        )
    yield from judge_age(patient)


def judge_age(patient: Patient) -> Iterable[Finding]:
    """The loader that Level Zero programs load, against the newest specification of a driver."""
    said = patient.machine.level_zero
    loader = str(said.get("loader_version") or "")
    bound = bound_loader_api(loader)
    drivers = said.get("drivers")
    for driver in drivers if isinstance(drivers, list | tuple) else ():
        api = str(driver.get("api_version") or "") if isinstance(driver, dict) else ""
        if bound and split_version(api)[:2] > bound[:2]:
            yield Finding(
                id="XPK-LIBZE-OLD",
                severity="warning",
                summary=f"the Level Zero loader {loader} is older than its driver, which speaks {api}",
                evidence=(
                    Evidence(source=str(said.get("loader_path") or "libze_loader.so.1"), value=loader),
                    Evidence(source="zeDriverGetApiVersion", value=api),
                ),
                explanation=f"A loader of that release knows at most specification "
                f"{'.'.join(map(str, bound))}; what came later cannot be called through it, and newer SYCL runtimes "
                "fail to load their Level Zero adapter.",
                remedy=("install the loader of the driver's own repository (libze1, or level-zero)",),
                commands=("sudo apt-get install --only-upgrade libze1",) if _has_dpkg(patient) else (),
                links=(_LINK, "https://github.com/oneapi-src/level-zero/blob/master/CHANGELOG.md"),
                subject=str(driver.get("index", "")),
            )


def _has_dpkg(patient: Patient) -> bool:
    return any(item.name == "Level Zero loader" and item.source.startswith("dpkg") for item in patient.machine.software)


def find_loaders(patient: Patient) -> dict[str, tuple[str, str]]:
    """{real path: (where a program finds it, version)} along the cache, LD_LIBRARY_PATH, Python and oneAPI."""
    host = patient.host
    # Ordinary users of Debian do not have /sbin on their PATH.
    ran = host.run(["/sbin/ldconfig", "-p"], timeout_s=10.0)
    places = [
        ("ldconfig", path)
        for name, kind, path in _LDCONFIG_LINE.findall(ran.text)
        if name == _LIBRARY and ("x86-64" in kind or "64" in kind)
    ]
    for directory in filter(None, (host.env("LD_LIBRARY_PATH").value or "").split(":")):
        if directory.startswith("/"):
            places.append(("LD_LIBRARY_PATH", f"{directory.rstrip('/')}/{_LIBRARY}"))
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        prefix = host.env(name).value
        if prefix and prefix.startswith("/"):
            places.append((f"${name}/lib", f"{prefix.rstrip('/')}/lib/{_LIBRARY}"))
    places += [("/opt/venv", f"/opt/venv/lib/{_LIBRARY}"), ("/usr/local/lib", f"/usr/local/lib/{_LIBRARY}")]
    places += [("oneAPI", f"{directory}/{_LIBRARY}") for directory in _ONEAPI_DIRS]
    found: dict[str, tuple[str, str]] = {}
    for where, path in places:
        real = host.resolve(path)
        if not real.error and real.target:
            match = re.search(r"\.so\.(\d+(?:\.\d+)+)$", real.target)
            found.setdefault(real.target, (where, match.group(1) if match else ""))
    return found


CHECK = Check(
    name="loader_conflicts",
    summary="one Level Zero loader, and not older than the driver",
    ids=("XPK-LIBZE-SEVERAL", "XPK-LIBZE-OLD"),
    look=look,
    concerns="machines with an Intel GPU",
    order=520,
)

"""Is PyTorch there, without importing it (which takes seconds)?"""

from __future__ import annotations

import re

import msgspec

from xpukit.host import Host


class TorchFound(msgspec.Struct, frozen=True, kw_only=True):
    """A torch beside us. `backends`: what it was built for besides the CPU ("xpu", "cuda", "hip")."""

    version: str
    directory: str
    backends: tuple[str, ...] = ()


def find_torch(host: Host) -> TorchFound | None:
    """The torch that the Python which runs us would import, by its version.py."""
    for directory in host.identity().site_packages:
        answer = host.read(f"{directory}/torch/version.py")
        if answer.error:
            continue
        # __version__ = '2.13.0+xpu', xpu: Optional[str] = '20250302'; None where it was not built for that.
        named = dict(re.findall(r"^(\w+)(?::[^=\n]+)? *= *['\"]([^'\"]+)['\"]", answer.text, re.MULTILINE))
        backends = tuple(name for name in ("xpu", "cuda", "hip") if named.get(name))
        return TorchFound(version=named.get("__version__", ""), directory=directory, backends=backends)
    return None


def explain_absence(host: Host) -> str:
    """Why the engine `torch` cannot run here, "" when it can."""
    if find_torch(host) is not None:
        return ""
    return f"torch is not installed for {host.identity().executable or 'this Python'}"

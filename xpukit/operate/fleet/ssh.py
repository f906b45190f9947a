"""How ssh is called: keys only, never a question, never for ever."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xpukit.host import Host
from xpukit.host.answers import Ran
from xpukit.operate.fleet.hosts import FleetHost

_OPTIONS = (
    "BatchMode=yes",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ConnectTimeout=10",
    # A machine whose cable was pulled is gone after half a minute.
    "ServerAliveInterval=10",
    "ServerAliveCountMax=3",
)


class SshSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`strict`: only hosts whose keys are known already; else a new host's key is kept and a changed one refused."""

    config: str = ""
    strict: bool = False

    @property
    def argv(self) -> tuple[str, ...]:
        """ssh with its options, before the host."""
        known = "yes" if self.strict else "accept-new"
        words = [word for option in (*_OPTIONS, f"StrictHostKeyChecking={known}") for word in ("-o", option)]
        return ("ssh", *(("-F", self.config) if self.config else ()), *words)


def ask_host(
    host: Host, settings: SshSettings, target: FleetHost, script: str, *, words: Sequence[str] = (), timeout_s: float
) -> Ran:
    """Run a POSIX shell script (given on standard input) on a host with `words` as its arguments."""
    import shlex

    argv = (*settings.argv, "-T", target.ssh, shlex.join(("sh", "-s", "--", *words)))
    return host.run(argv, timeout_s=timeout_s, input=script.encode())


def explain_ssh(ran: Ran) -> str:
    """Why a host could not be asked."""
    if ran.failure == "timeout":
        return f"no answer within {ran.seconds:.0f} s"
    if ran.failure == "not-found":
        return "there is no ssh on this machine (Debian: openssh-client)"
    lines = [line for line in ran.err_text.splitlines() if line.strip() and not line.startswith("Warning: Permanently")]
    return (lines or [f"ssh ended with {ran.rc}"])[-1].strip()[:300]

"""How mpiexec is started over several hosts: Intel MPI's and MPICH's Hydra, over ssh with given options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Literal

Flavour = Literal["intel", "mpich"]


def read_flavour(version: str) -> Flavour | None:
    """Whose mpiexec said this to --version; None for one that is not Hydra (Open MPI)."""
    if "Intel(R) MPI" in version:
        return "intel"
    return "mpich" if re.search(r"HYDRA build details|MPICH", version) else None


def build_hosts_launcher(
    mpiexec: str, flavour: Flavour, hosts: Sequence[str], ranks_per_host: int, *, interface: str
) -> tuple[str, ...]:
    """argv prefix that starts `ranks_per_host` copies of a program on each host.

    `interface`: the network of this machine on which the hosts call back; without it Hydra gives them this machine's
    host name, which they may not be able to resolve, and then they wait. `-s all`: every rank gets the whole input.
    """
    return (
        mpiexec, "-launcher", "ssh", *(("-iface", interface) if interface else ()), "-hosts", ",".join(hosts),
        "-ppn", str(ranks_per_host), *(("-s", "all") if gives_input_to_all(flavour) else ()),
        "-n", str(len(hosts) * ranks_per_host),
    )  # fmt: skip


def gives_input_to_all(flavour: Flavour) -> bool:
    """Whether every rank can be given the input; MPICH's Hydra (4.0 tried) gives it to rank 0, the others wait."""
    return flavour == "intel"


def build_hosts_environment(ssh: Sequence[str]) -> dict[str, str]:
    """The environment of mpiexec: words for ssh, and Intel MPI's ways between hosts (shared memory inside one).

    A fabric that the user chose (I_MPI_FABRICS, I_MPI_OFI_PROVIDER, FI_PROVIDER) stands: it is in the environment.
    """
    words = shlex.join(ssh[1:])
    return {"I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS": words, "HYDRA_LAUNCHER_EXTRA_ARGS": words}

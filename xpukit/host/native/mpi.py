"""Intel MPI of the `impi-rt` wheel: how its mpiexec is started on one host, and what the ranks do with each other."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from xpukit.core.errors import CouldNotJudgeError

_HINT = "pip install 'xpukit[embedded]', or run scripts/xpukit, which does it for you"


def locate_mpiexec(libraries: Path) -> Path:
    """Where the wheel puts hydra's mpiexec, next to its library directory."""
    return libraries.parent / "bin" / "mpiexec"


def build_launcher(libraries: Path, ranks: int) -> tuple[str, ...]:
    """argv prefix that starts `ranks` copies of a program on this host, each with the whole standard input.

    Without `-s all` ranks other than 0 wait for ever for their input; `fork` needs neither ssh nor a host name
    that resolves. Every process stays a descendant of mpiexec, so that ending it ends them all.
    """
    return (str(locate_mpiexec(libraries)), "-launcher", "fork", "-s", "all", "-n", str(ranks))


def build_environment(libraries: Path, *, library_path: str = "") -> dict[str, str]:
    """What mpiexec and the ranks need besides the runner's environment; `library_path` is kept behind the wheels'.

    The wheels have no RPATH, hence LD_LIBRARY_PATH. MPI4PY_* keep mpi4py from taking another MPI of the machine:
    ranks started by this mpiexec would each believe to be alone.
    """
    return {
        "I_MPI_ROOT": str(libraries.parent),
        "LD_LIBRARY_PATH": f"{libraries}:{library_path}" if library_path else str(libraries),
        "FI_PROVIDER_PATH": str(libraries),
        "MPI4PY_MPIABI": "impi",
        "MPI4PY_LIBMPI": str(libraries / "libmpi.so.12"),
        "OPENBLAS_NUM_THREADS": "1",
    }


# One host: shared memory alone (the default, shm:ofi, was 3-10 % slower here and looks for a network).
FABRICS = {"I_MPI_FABRICS": "shm"}


class RankGroup:
    """The ranks of this run and how they wait for each other. Every method is collective: all ranks must call it."""

    def __init__(self) -> None:
        """Joins the ranks that mpiexec started. Raises CouldNotJudgeError when MPI cannot be had."""
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError, OSError) as err:
            raise CouldNotJudgeError(f"mpi4py with Intel MPI cannot be loaded: {err}", hint=_HINT) from err
        self._mpi: Any = MPI
        self.comm: Any = MPI.COMM_WORLD
        self.rank: int = self.comm.Get_rank()
        self.size: int = self.comm.Get_size()

    @functools.cached_property
    def place(self) -> tuple[int, int]:
        """This rank's number among the ranks on its host, and how many these are. Collective."""
        here = self.comm.Split_type(self._mpi.COMM_TYPE_SHARED)
        return int(here.Get_rank()), int(here.Get_size())

    @property
    def library(self) -> str:
        """'Intel(R) MPI Library 2021.18.1'."""
        return str(self._mpi.Get_library_version()).splitlines()[0].split(" for ")[0].strip("\x00 ")

    @property
    def mpi(self) -> Any:
        """The mpi4py module."""
        return self._mpi

    def barrier(self) -> None:
        """Nobody goes on before all are here."""
        self.comm.Barrier()

    def largest(self, value: float) -> float:
        """The largest of all ranks' values, on every rank."""
        return float(self.comm.allreduce(value, op=self._mpi.MAX))

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value, on every rank (pickled)."""
        return self.comm.bcast(value, root=0)

    def gather(self, value: str) -> list[str]:
        """All ranks' texts in rank order, on every rank."""
        return [str(text) for text in self.comm.allgather(value)]

    def abort(self, reason: str) -> NoReturn:
        """End all ranks now, with the reason on standard error: the others may be waiting for us."""
        print(f"{RANK_MESSAGE}{self.rank}: {reason}", file=sys.stderr, flush=True)
        self.comm.Abort(1)
        os._exit(1)

    def leave(self) -> None:
        """The orderly end. Only rank 0 returns: one process is to speak for all."""
        self._mpi.Finalize()
        if self.rank != 0:
            # Vendor libraries' exit handlers may crash or hang after a good run: leave without them.
            sys.stderr.flush()
            os._exit(0)


RANK_MESSAGE = "xpukit rank "

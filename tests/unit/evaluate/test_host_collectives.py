"""Collectives over hosts: the job that is planned, and how mpiexec is told of hosts."""

from __future__ import annotations

import json

import msgspec
import pytest

from xpukit.evaluate.embedded.host_collectives import HostsPlan, plan_hosts_job
from xpukit.evaluate.embedded.protocol import unpack_request
from xpukit.facts.suites import load_suite
from xpukit.host.native.mpi_hosts import (
    build_hosts_environment,
    build_hosts_launcher,
    gives_input_to_all,
    read_flavour,
)


def plan(mode: str = "cpu", per_host: int = 1, kind: str = "collectives") -> HostsPlan:
    return HostsPlan(
        hosts=("a", "b"), ranks_per_host=per_host, mode=mode, kind=kind, python="/v/bin/python", libraries="/v/lib",
        launcher=("mpiexec", "-n", "2"), environment={"X": "1"},
    )  # fmt: skip


@pytest.mark.parametrize(("mode", "per_host"), [("cpu", 1), ("cpu", 2), ("p2p", 1), ("usm", 4)])
def test_every_metric_is_promised_once_for_all_ranks(mode: str, per_host: int) -> None:
    job = plan_hosts_job(plan(mode, per_host), load_suite("quick"), collectives=("allreduce",), sizes=(65536,))
    keys = [promise.key for promise in job.promises]
    assert len(keys) == len(set(keys)) == 3
    request = json.loads(job.input)
    assert request["params"]["ranks"] == 2 * per_host == len(request["targets"]) == len(keys[0].devices)
    assert keys[0].devices[0] == ("a" if per_host == 1 else "a/0")
    assert job.argv[:4] == ("mpiexec", "-n", "2", "/v/bin/python")
    assert job.env["I_MPI_FABRICS"] == "shm:ofi"
    assert job.env["X"] == "1"
    assert job.timeout_s > job.estimate_s > 0
    if mode == "cpu":
        assert "ZE_AFFINITY_MASK" not in job.env
    else:
        assert job.env["ZE_AFFINITY_MASK"].split(",") == [str(index) for index in range(per_host)]
        assert job.env["CCL_TOPO_P2P_ACCESS"] == {"p2p": "1", "usm": "0"}[mode]


def test_mpi_itself_has_no_short_floats() -> None:
    job = plan_hosts_job(plan(kind="mpi_collectives"), load_suite("standard"), collectives=(), sizes=())
    assert {dict(promise.key.params)["dtype"] for promise in job.promises} == {"fp32"}


@pytest.mark.parametrize(
    ("said", "flavour"),
    [
        ("Intel(R) MPI Library for Linux* OS, Version 2021.18 Build x", "intel"),
        ("HYDRA build details:\n    Version: 4.0.2\n", "mpich"),
        ("mpiexec (OpenRTE) 4.1.4\n", None),
    ],
)
def test_whose_mpiexec_it_is(said: str, flavour: str | None) -> None:
    assert read_flavour(said) == flavour


def test_hosts_and_ssh_are_told_to_mpiexec() -> None:
    intel = build_hosts_launcher("m", "intel", ["a", "b"], 4, interface="eth0")
    assert " ".join(intel) == "m -launcher ssh -iface eth0 -hosts a,b -ppn 4 -s all -n 8"
    assert "-s" not in build_hosts_launcher("m", "mpich", ["a", "b"], 1, interface="")
    told = build_hosts_environment(("ssh", "-F", "/a b/config", "-o", "BatchMode=yes"))
    assert set(told.values()) == {"-F '/a b/config' -o BatchMode=yes"}


def test_a_launcher_that_feeds_one_rank_gets_the_request_as_a_word() -> None:
    """MPICH's Hydra: the other ranks would wait for an input that never comes."""
    asked = plan("cpu")
    fed = plan_hosts_job(asked, load_suite("quick"), collectives=["allreduce"], sizes=[1024])
    other = msgspec.structs.replace(asked, input_to_all=gives_input_to_all("mpich"))
    told = plan_hosts_job(other, load_suite("quick"), collectives=["allreduce"], sizes=[1024])
    assert told.input == b""
    assert unpack_request(told.argv[-1]) == fed.input != b""
    assert told.argv[:-1] == fed.argv

"""The plan (`xpukit.plan/1`): every choice of a launch with its reason, and the words to start it with."""

from __future__ import annotations

from typing import Literal

import msgspec

from xpukit.container.gpu_nodes import GpuNodes
from xpukit.serve.memory_types import MemoryPlan
from xpukit.serve.model_types import Guess
from xpukit.serve.parallelism import Parallelism
from xpukit.serve.predict import Prediction
from xpukit.serve.quantization import QuantizationChoice
from xpukit.serve.request import ServeRequest
from xpukit.serve.validate_problem import Problem

SCHEMA = "xpukit.plan/1"
Origin = Literal["asked", "measured", "fact", "rule", "default", "guess"]
Role = Literal["engine", "head", "worker", "proxy"]


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was chosen. `kind`: who decided; a guess is one."""

    name: str
    value: str
    why: str
    kind: Origin = "rule"
    source: str = ""


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """Words of the engine's command line that belong together, what they mean, and why they are there."""

    words: tuple[str, ...]
    why: str
    kind: Origin = "rule"
    source: str = ""
    intent: str = ""


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """A variable of the environment. `passed`: its value is taken over from the caller's environment, not written."""

    name: str
    value: str
    why: str
    source: str = ""
    link: str = ""
    expires: str = ""
    passed: bool = False


class PlannedEngine(msgspec.Struct, frozen=True, kw_only=True):
    """The engine. `exact` False: flags are checked against the nearest version we know (`label` says so).

    `setvars`: what has to be sourced before the engine ("" for nothing); `setvars_why` says what that rests on.
    """

    name: str
    version: str
    image: str = ""
    checked_against: str = ""
    exact: bool = True
    label: str = ""
    setvars: str = ""
    setvars_why: str = ""
    # How the image starts what it is given: "pass" (runs the whole command), "engine" (its entry point is the server:
    # flags only), "shell" (its entry point does not pass arguments on, or loses variables: bash is put in its place).
    start: Literal["pass", "engine", "shell"] = "pass"
    models_dir: str = "/models"


class PlannedModel(msgspec.Struct, frozen=True, kw_only=True):
    """The model as it was found."""

    asked: str
    id: str
    path: str
    found_in: str
    category: str
    task: str
    parameters: int
    stored_as: str = ""
    guesses: tuple[Guess, ...] = ()
    note: str = ""


class PlannedGpu(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU (or tile) that a rank can run on."""

    label: str
    device: int
    bdf: str
    name: str
    device_id: str = ""
    memory_bytes: int | None = None
    free_bytes: int | None = None
    numa_node: int | None = None


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """Processors and memory of a launch, in the form that each starter takes. Empty: not pinned."""

    cpus: str = ""
    mems: str = ""
    numactl: tuple[str, ...] = ()
    docker: tuple[str, ...] = ()
    systemd: tuple[str, ...] = ()
    why: tuple[str, ...] = ()


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """One process to start. `node`: which machine (its address when known); `gpus` are labels, in rank order.

    `container_variables` and `container_flags` take the place of `variables` and of the flag of the address where it
    runs in a container of its own: there it sees its GPUs only, and has to listen on all addresses to be reached.
    """

    name: str
    role: Role
    node: int
    address: str
    program: tuple[str, ...]
    flags: tuple[Flag, ...]
    variables: tuple[Variable, ...]
    port: int
    gpus: tuple[str, ...] = ()
    mask: str = ""
    container_variables: tuple[Variable, ...] = ()
    container_flags: tuple[Flag, ...] = ()
    pin: Pin = Pin()

    @property
    def argv(self) -> tuple[str, ...]:
        """The engine's command, without environment and pinning."""
        return (*self.program, *(word for flag in self.flags for word in flag.words))


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A division that was looked at and not taken, and how fast it should be where it fits.

    `decode_tps`: tokens/s of one request; `decode_bound`: what limits it.
    """

    parallelism: str
    fits: bool | None
    why: str
    decode_tps: float | None = None
    decode_bound: str = ""


class MachineSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Of which machine the plan is. `platform`: its name when it is only named (`--platform`).

    `access`: what a container needs of the host to use each GPU.
    """

    host: str
    nodes: int
    gpus: tuple[PlannedGpu, ...]
    access: tuple[GpuNodes, ...] = ()
    vendor: str = "intel"
    excluded: tuple[str, ...] = ()
    memory_bytes: int | None = None
    numa_nodes: int = 0
    platform: str = ""
    assumptions: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The whole plan. All that the forms print comes from it."""

    request: ServeRequest
    machine: MachineSummary
    model: PlannedModel
    engine: PlannedEngine
    parallelism: Parallelism
    quantization: QuantizationChoice
    memory: MemoryPlan
    launches: tuple[Launch, ...]
    choices: tuple[Choice, ...]
    prediction: Prediction | None = None
    rejected: tuple[Rejected, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def weights(self) -> str:
        """How the weights are held, in words."""
        name = self.quantization.name
        return {"none": "16-bit weights", "stored": "weights as stored"}.get(name, f"{name} weights")

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Problems that the engine would refuse the command for."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

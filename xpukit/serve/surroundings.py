"""What a plan rests on beside the request and the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from xpukit.container.gpu_nodes import GpuNodes
from xpukit.core.machine import Machine
from xpukit.facts.engines import EngineSchema
from xpukit.serve.device_speed import HostMeasurements
from xpukit.serve.platforms import Platform
from xpukit.serve.sizing import FindCorrection


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of the machine beside the probe.

    `evaluation`: the last run's results document; `access`: what containers need for each GPU; `own_engine`: the
    engine and version that the image's labels name (vllm:0.21.0); `own_flags`: what its own parser accepts;
    `config_files`: what the engine's own files of settings hold (`-- --config FILE`), by path.
    """

    machine: Machine
    host: str = ""
    platform: Platform | None = None
    evaluation: Mapping[str, Any] | None = None
    measured: HostMeasurements | None = None
    access: tuple[GpuNodes, ...] = ()
    own_engine: str = ""
    own_flags: EngineSchema | None = None
    find_correction: FindCorrection | None = None
    config_files: Mapping[str, Any] = {}

"""The environment of a launch: variables with reason, source and expiry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from xpukit.core.errors import UsageError
from xpukit.facts.launch import LaunchCase, choose_variables
from xpukit.serve.model_types import Model
from xpukit.serve.plan_types import Variable
from xpukit.serve.quantization import QuantizationChoice
from xpukit.serve.request import ServeRequest

# Needed to fetch a model that is not on disk; their values are the caller's, never written into a plan.
_HUB = (("HF_TOKEN", "for models that need a login"), ("HF_HOME", "where downloaded models are kept"))


def build_variables(
    request: ServeRequest,
    case: LaunchCase,
    model: Model,
    quantization: QuantizationChoice,
    *,
    measured: Mapping[str, str],
    measured_why: str,
    from_hub: bool,
) -> tuple[Variable, ...]:
    """All but those that show a process its GPUs. Of two for one name the later of these stands: guides, model,
    quantization, measured, asked. Raises UsageError for one that is written wrongly."""
    found: dict[str, Variable] = {}
    for one in (
        *_from_guides(case),
        *_from_model(model, case),
        *(Variable(name=name, value=value, why=why) for name, value, why in quantization.environment),
        *(Variable(name=name, value=value, why=measured_why) for name, value in measured.items()),
        *(_from_hub() if from_hub else ()),
        *_from_user(request),
    ):
        found[one.name] = one
    return tuple(found.values())


def _from_guides(case: LaunchCase) -> Iterable[Variable]:
    for row in choose_variables(case):
        yield Variable(
            name=row.name, value=row.value, why=row.why, source=row.source, link=row.link, expires=row.expires
        )


def _from_model(model: Model, case: LaunchCase) -> Iterable[Variable]:
    if case.engine not in ("vllm", "llm-scaler-vllm") or case.vendor != "intel":
        return
    for need in model.list_needs("environment"):
        name, _, value = need.value.partition("=")
        if need.required:
            yield Variable(name=name, value=value, why="the model's guide asks for it", source=need.source)


def _from_hub() -> Iterable[Variable]:
    for name, why in _HUB:
        yield Variable(name=name, value="", why=why, passed=True)


def _from_user(request: ServeRequest) -> Iterable[Variable]:
    for text in request.variables:
        name, equals, value = text.partition("=")
        if not name.isidentifier():
            raise UsageError(f"--env {text!r} is not NAME=VALUE", hint="NAME alone passes your own value on")
        yield Variable(name=name, value=value, why="asked for", passed=not equals)

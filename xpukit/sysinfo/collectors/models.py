"""The models that lie here: their configuration, never their weights."""

from __future__ import annotations

from collections.abc import Iterator

from xpukit.facts.sysinfo import load_inquiry
from xpukit.sysinfo.collector import Asker, Collector

_NAME = "models"
_MOST_MODELS = 24
# An index of a large mixture of experts names every tensor of every expert.
_INDEX_LIMIT_BYTES = 4 << 20


def collect(asker: Asker) -> None:
    files = load_inquiry(_NAME).words("files")
    models = tuple(dict.fromkeys(_list_models(asker)))
    if not models:
        asker.note("no model below the usual folders")
    if len(models) > _MOST_MODELS:
        asker.note(f"{_MOST_MODELS} of {len(models)} models")
    for place in models[:_MOST_MODELS]:
        names = asker.list(place).names
        for file in files:
            if file in names:
                asker.read(f"{place}/{file}", limit_bytes=_INDEX_LIMIT_BYTES)
        for name in names:
            if name.endswith(".safetensors"):
                asker.stat(f"{place}/{name}")


def _list_models(asker: Asker) -> Iterator[str]:
    inquiry = load_inquiry(_NAME)
    for place in inquiry.words("places"):
        for path in asker.glob(f"{place}/*/config.json"):
            yield path.rpartition("/")[0]
    for hub in _list_hubs(asker, inquiry.words("hubs")):
        for path in asker.glob(f"{hub}/models--*/snapshots/*/config.json"):
            yield path.rpartition("/")[0]


def _list_hubs(asker: Asker, variables: tuple[str, ...]) -> Iterator[str]:
    below = {"HF_HOME": "/hub", "HOME": "/.cache/huggingface/hub"}
    for variable in variables:
        value = asker.env(variable).get(variable, "").rstrip("/")
        if value.startswith("/"):
            yield value + below.get(variable, "")


COLLECTOR = Collector(
    name=_NAME,
    summary="models below the usual folders: configuration and sizes of the files, no weights",
    preset="default",
    collect=collect,
    timeout_s=15,
    order=495,
)

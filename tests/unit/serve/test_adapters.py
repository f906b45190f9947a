"""Adapters in folders: room for their rank, and a word where they were made for another model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from xpukit.host.live import LiveHost
from xpukit.serve.adapters import adopt_adapters
from xpukit.serve.request import ServeRequest

MODEL = "Qwen/Qwen3-8B"


def write_adapter(folder: Path, text: str | None = None, **config: Any) -> str:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(config) if text is None else text)
    return f"{folder.name}={folder}"


@pytest.mark.parametrize(
    ("ranks", "taken"), [((8, 16), None), ((8, 24), 32), ((64,), 64), ((300,), 320), ((999,), 999)]
)
def test_there_is_room_for_the_largest_rank(ranks: tuple[int, ...], taken: int | None, tmp_path: Path) -> None:
    loras = tuple(write_adapter(tmp_path / f"a{rank}", r=rank, base_model_name_or_path=MODEL) for rank in ranks)
    request, told = adopt_adapters(ServeRequest(model=MODEL, loras=loras), LiveHost())
    assert request.lora_rank == taken
    assert bool(told) == (taken is not None)


def test_single_layers_may_have_more(tmp_path: Path) -> None:
    lora = write_adapter(tmp_path / "a", r=8, rank_pattern={"q_proj": 64}, base_model_name_or_path=MODEL)
    assert adopt_adapters(ServeRequest(model=MODEL, loras=(lora,)), LiveHost())[0].lora_rank == 64


def test_what_was_asked_for_stays_and_is_doubted(tmp_path: Path) -> None:
    lora = write_adapter(tmp_path / "a", r=64, base_model_name_or_path="other/Model-7B")
    request, told = adopt_adapters(ServeRequest(model=MODEL, loras=(lora,), lora_rank=32), LiveHost())
    assert request.lora_rank == 32
    assert told == (
        "the adapter a was made for other/Model-7B",
        "--lora-rank 32 is less than the largest rank of the adapters, 64",
    )


def test_what_cannot_be_read_is_left_to_the_engine(tmp_path: Path) -> None:
    odd = [write_adapter(tmp_path / f"b{at}", r=value) for at, value in enumerate(("x", True, -1, None))]
    loras = ("hub=org/name", f"gone={tmp_path}/gone", write_adapter(tmp_path / "odd", text="{["), *odd)
    request = ServeRequest(model=MODEL, loras=loras)
    assert adopt_adapters(request, LiveHost()) == (request, ())

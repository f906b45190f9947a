"""The choices: all of a request, spelled as the command line reads them, and what is offered is what the planner takes."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.serve.test_planner import MODELS, find_model, plan_on, plan_platform
from xpukit.cli import app, serve_run
from xpukit.cli.serve_options import ServeOptions
from xpukit.core.errors import UsageError
from xpukit.facts.models import find_model as find_entry
from xpukit.facts.models import list_models
from xpukit.facts.platforms import list_gpus
from xpukit.serve.platforms import parse_platform
from xpukit.serve.questions import (
    Segment,
    describe_fit,
    list_context_options,
    list_engine_options,
    list_form_options,
    list_gpu_options,
    list_parsers,
    list_quantization_options,
    list_sizes,
    list_version_options,
    name_platform,
    search_models,
    share_cells,
    split_size,
)
from xpukit.serve.request import ServeRequest
from xpukit.serve.request_words import FIELDS, GROUPS, Output, list_defaults, spell_line, spell_words

# `model` is the argument; `model_inside` is for the forms, and no option says it.
NO_FIELD = {"model", "model_inside"}


def test_every_choice_of_a_request_has_a_row() -> None:
    names = {one.name for kind in (ServeRequest, Output) for one in msgspec.structs.fields(kind)}
    assert {field.name for field in FIELDS} == names - NO_FIELD
    assert {field.group for field in FIELDS} == set(GROUPS)
    assert set(list_defaults()) == names - {"model"}


def make_values(name: str) -> st.SearchStrategy[Any]:
    """Values of a choice, its default among them."""
    field = next(one for one in FIELDS if one.name == name)
    default = list_defaults()[name]
    words = st.text(alphabet="abcXYZ019_./=:{}\"' ", min_size=1, max_size=12).filter(lambda text: text == text.strip())
    plain = st.from_regex(r"[a-z][a-z0-9_./-]{0,11}", fullmatch=True)
    lists = st.lists(words if name in ("extras", "variables", "loras", "model_dir") else plain, max_size=3).map(tuple)
    by_kind: dict[str, st.SearchStrategy[Any]] = {
        "text": words,
        "count": st.integers(1, 65535),
        "share": st.integers(5, 100).map(lambda percent: percent / 100),
        "yes": st.booleans(),
        "yes-or-no": st.sampled_from([None, True, False]),
        "one-of": st.sampled_from(field.choices or ("",)),
        "words": lists,
    }
    return st.one_of(st.just(default), by_kind[field.kind])


@st.composite
def make_asked(draw: st.DrawFn) -> tuple[ServeRequest, Output]:
    """Any choices."""
    names = draw(st.lists(st.sampled_from([field.name for field in FIELDS]), max_size=8, unique=True))
    of_output = {field.name for field in FIELDS if field.group == "output"}
    values = {name: draw(make_values(name)) for name in names}
    request = ServeRequest(model="some/model", **{k: v for k, v in values.items() if k not in of_output})
    return request, Output(**{k: v for k, v in values.items() if k in of_output})


@settings(max_examples=25, deadline=None)
@given(make_asked())
def test_the_line_asks_for_the_same(asked: tuple[ServeRequest, Output]) -> None:
    seen: list[tuple[ServeRequest, ServeOptions]] = []

    def keep(session: object, request: ServeRequest, options: ServeOptions) -> int:
        seen.append((request, options))
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve_run, "serve_request", keep)
        words = shlex.split(spell_line(*asked))
        assert words[0] == "xpukit"
        assert app.run(words[1:]) == 0
    request, options = seen[0]
    assert request == asked[0]
    got = (options.form, options.name, options.models, options.privileged, options.cdi)
    assert got == (asked[1].form, asked[1].name, asked[1].model_dir, asked[1].privileged, asked[1].cdi)


def test_the_line_is_short_and_names_the_recording() -> None:
    request = ServeRequest(model="Qwen/Qwen3-8B", context=32768, extras=("--seed", "7"))
    words = spell_words(request, Output(form="docker"), source="a.tar.xz")
    assert words == (
        *("xpukit", "serve", "Qwen/Qwen3-8B", "--from", "a.tar.xz", "-c", "32768", "-f", "docker", "--", "--seed", "7"),
    )


@pytest.mark.parametrize(
    ("model", "family", "size"),
    [
        ("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3", "30B-A3B"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mistralai/Mixtral", "8x7B-Instruct-v0.1"),
        ("moonshotai/Kimi-VL-A3B-Thinking-2506", "moonshotai/Kimi-VL", "A3B-Thinking-2506"),
        ("internlm/Intern-S1-mini", "internlm/Intern-S1", "mini"),
        ("internlm/Intern-S1", "internlm/Intern-S1", ""),
        ("BAAI/bge-m3", "BAAI/bge-m3", ""),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "deepseek-ai/DeepSeek-R1-Distill-Qwen", "1.5B"),
        ("7B", "7B", ""),
    ],
)
def test_family_and_size(model: str, family: str, size: str) -> None:
    assert split_size(model) == (family, size)


def test_every_model_is_found_and_one_of_its_sizes() -> None:
    assert {one.id for one in search_models()} == set(MODELS)
    for entry in list_models():
        assert entry in search_models(entry.id)
        sizes = list_sizes(entry.id)
        assert not sizes or entry.id in {one.value for one in sizes}
        assert len({one.label for one in sizes}) == len(sizes)


def test_search_takes_words_in_any_order() -> None:
    assert [one.id for one in search_models("30b coder")] == ["Qwen/Qwen3-Coder-30B-A3B-Instruct"]
    assert {one.id for one in search_models("rerank bge")} >= {"BAAI/bge-reranker-base", "BAAI/bge-reranker-large"}
    assert search_models("no such model") == ()


def test_the_cookbook_sizes() -> None:
    labels = {one.label for one in list_sizes("internlm/Intern-S1-mini")}
    assert labels == {"Intern-S1", "mini", "Pro"}


def test_every_gpu_makes_a_platform() -> None:
    for option in list_gpu_options():
        for count, machines in ((1, 1), (8, 2)):
            named = parse_platform(name_platform(option.value, count, machines))
            assert (named.nodes, named.gpus_per_node) == (machines, count)
    assert len(list_gpu_options()) == len(list_gpus())


@pytest.mark.parametrize("vendor", ["intel", "nvidia"])
def test_engines_with_an_image_come_first(vendor: str) -> None:
    notes = [one.note.startswith("no image") for one in list_engine_options(vendor)]
    assert notes == sorted(notes)
    for option in list_engine_options(vendor):
        assert list_version_options(option.value)[0].value.startswith(f"{option.value}:")


@pytest.mark.parametrize("engine", ["llm-scaler-vllm", "vllm", "sglang"])
@pytest.mark.parametrize("model", ["Qwen/Qwen3-8B", "openai/gpt-oss-20b", "Qwen/Qwen3.6-27B-FP8", "internlm/Intern-S1"])
def test_offered_quantizations_are_those_the_planner_takes(model: str, engine: str) -> None:
    def plan_again(request: ServeRequest) -> Any:
        return plan_platform(**msgspec.structs.asdict(request))

    asked = {"model": model, "engine": engine}
    try:
        plan = plan_platform("8xB60", **asked)
    except UsageError:
        return  # no quantization is possible: nothing is offered
    options = list_quantization_options(find_model(model), plan, plan_again)
    assert any(one.possible for one in options)
    stored = find_model(model).quantization
    for one in options:
        if stored is not None and one.value == stored.method:
            continue  # its own name for "stored", which the planner takes as that
        if not one.possible:
            with pytest.raises(UsageError):
                plan_platform("8xB60", **asked, quantization=one.value)
            continue
        again = plan_platform("8xB60", **asked, quantization=one.value)
        assert again.quantization.name == one.value
        assert one.note == describe_fit(again).headline


def test_lengths_that_are_offered_fit_and_a_longer_one_does_not() -> None:
    plan = plan_platform("1xB60", model="Qwen/Qwen3-8B", quantization="none")
    options = list_context_options(plan)
    assert [int(one.value) for one in options] == sorted({int(one.value) for one in options})
    for one in options:
        assert plan_platform("1xB60", quantization="none", context=int(one.value)).memory.fits
    longest = int(options[-1].value)
    assert longest < 40960, "this case is to be one that the memory bounds"
    assert not plan_platform("1xB60", quantization="none", context=longest + 4096).memory.fits


@pytest.mark.parametrize("kind", ["reasoning", "tools"])
@pytest.mark.parametrize("engine", ["vllm", "sglang", "lmdeploy"])
def test_offered_parsers_are_accepted(engine: str, kind: str) -> None:
    plan = plan_platform("8xH200", model="internlm/Intern-S1", engine=engine)
    parsers = list_parsers(plan, kind)
    assert len({one.value for one in parsers}) == len(parsers) > 1
    field = "reasoning_parser" if kind == "reasoning" else "tool_parser"
    for one in parsers[:3]:
        again = plan_platform("8xH200", model="internlm/Intern-S1", engine=engine, **{field: one.value})
        assert one.value in again.launches[0].argv
        assert not again.errors


def test_the_models_own_parser_comes_first() -> None:
    plan = plan_platform("8xH200", model="internlm/Intern-S1", engine="sglang")
    assert list_parsers(plan, "reasoning")[0].value == "interns1"
    assert list_parsers(plan, "reasoning")[0].note
    assert not list_parsers(plan_platform("8xB60", model="openbmb/MiniCPM-V-4"), "reasoning")[0].note


def test_forms_are_offered() -> None:
    assert {"shell", "docker"} <= {one.value for one in list_form_options()}
    assert all(one.note for one in list_form_options())


@pytest.mark.parametrize("model", ["Qwen/Qwen3-8B", "Qwen/Qwen3-30B-A3B", "BAAI/bge-m3", "Qwen/Qwen3-235B-A22B"])
def test_the_bar_adds_up(model: str) -> None:
    fit = describe_fit(plan_on("b60x8_2s", model=model))
    assert sum(one.bytes for one in fit.segments) == pytest.approx(fit.scale_bytes, rel=0.001)
    assert fit.scale_bytes >= fit.total_bytes
    assert find_entry(model) is not None
    assert fit.fits == fit.headline.startswith("fits")
    assert fit.fits or fit.short_bytes or fit.ways_out


@given(st.lists(st.integers(1, 1 << 40), min_size=1, max_size=9), st.integers(1, 200))
def test_cells_are_shared_out_in_full(sizes: list[int], cells: int) -> None:
    segments = [Segment(name=str(size), bytes=size, kind="fact", why="") for size in sizes]
    shared = share_cells(segments, sum(sizes), cells)
    assert sum(shared) == cells
    assert all(abs(one - cells * size / sum(sizes)) <= 1 for one, size in zip(shared, sizes, strict=True))
    assert share_cells(segments, 0, cells) == (0,) * len(sizes)

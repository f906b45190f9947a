"""The KV cache per architecture, and the numbers of the seed guide's start-up logs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.serve.model_files import GIB, get_model, set_up
from xpukit.serve.kv_cache import (
    KvLayout,
    count_concurrency,
    count_kv_tokens,
    find_max_context,
    lay_out_kv,
    size_state,
)
from xpukit.serve.memory_types import MemorySettings, Parallel

SEED = "/llm/models/DeepSeek-R1-Distill-Qwen-7B"


def lay_out(name: str, settings: MemorySettings | None = None, **parallel: int) -> KvLayout:
    return lay_out_kv(get_model(name).architecture, Parallel(**parallel), settings or set_up())  # type: ignore[arg-type]


def test_the_seed_s_start_up_log() -> None:
    # "GPU KV cache size: 114,432 tokens", "Maximum concurrency for 18,000 tokens per request: 6.36x" of image 1.0
    settings = set_up("1.0")
    layout = lay_out(SEED, settings)
    cache = 114_432 * 28 * 2 * 4 * 128 * 2
    assert layout.bytes_per_token * 114_432 == cache
    assert count_kv_tokens(layout, cache) == 114_432
    times = count_concurrency(layout, cache, 18_000, settings=settings, batched_tokens=8192)
    assert f"{times:.2f}x" == "6.36x"


def test_the_seed_s_refusal() -> None:
    # "max seq len (118000), (6.30 GiB KV cache is needed, … available KV cache memory (6.11 GiB) … is 114432"
    layout = lay_out(SEED, set_up("1.0"))
    needed = layout.count_request_blocks(118_000, 8192) * layout.block_bytes
    assert f"{needed / GIB:.2f}" == "6.30"
    available = 114_432 * layout.bytes_per_token
    assert f"{available / GIB:.2f}" == "6.11"
    assert needed > available
    assert find_max_context(layout, available, 118_000, 8192) == 114_432
    # The same from any number of bytes that the log writes as 6.11 and that holds 1788 blocks.
    assert find_max_context(layout, round(6.1145 * GIB), 118_000, 8192) == 114_432


def test_newer_versions_count_whole_blocks() -> None:
    settings = set_up("0.14.0-b8")
    layout = lay_out(SEED, settings)
    cache = 114_432 * layout.bytes_per_token
    assert layout.block_size == 64
    times = count_concurrency(layout, cache, 18_000, settings=settings, batched_tokens=8192)
    assert times == pytest.approx(1788 / 282)


@pytest.mark.parametrize(
    ("name", "tp", "bytes_a_token"),
    [
        ("meta-llama/Llama-3.1-8B", 1, 32 * 2 * 8 * 128 * 2),
        ("meta-llama/Llama-3.1-8B", 4, 32 * 2 * 2 * 128 * 2),
        ("zai-org/GLM-4-9B-0414", 8, 40 * 2 * 1 * 128 * 2),  # two heads: a rank keeps one
        ("Qwen/Qwen3-30B-A3B", 2, 48 * 2 * 2 * 128 * 2),
        ("deepseek-ai/DeepSeek-R1", 1, 61 * (512 + 64) * 2),
        ("deepseek-ai/DeepSeek-R1", 8, 61 * (512 + 64) * 2),  # the latent is on every rank
        ("Qwen/Qwen3.6-27B", 1, 16 * 2 * 4 * 256 * 2),  # of 64 layers 16 attend
        ("google/gemma-3-27b-it", 1, 10 * 2 * 16 * 128 * 2),  # of 62 layers 10 keep all tokens
        ("BAAI/bge-m3", 1, 0),
    ],
)
def test_bytes_of_one_more_token(name: str, tp: int, bytes_a_token: int) -> None:
    assert lay_out(name, tp=tp).bytes_per_token == bytes_a_token


def test_latent_attention_turned_off_keeps_padded_heads() -> None:
    # VLLM_MLA_DISABLE=1: 16 heads of 128 + 64, the values padded to the keys' width
    layout = lay_out("deepseek-ai/DeepSeek-V2-Lite", set_up(mla=False), tp=2)
    assert layout.bytes_per_token == 27 * 2 * 8 * 192 * 2


def test_an_fp8_cache_is_half() -> None:
    assert lay_out(SEED, set_up(kv_dtype="fp8")).bytes_per_token * 2 == lay_out(SEED).bytes_per_token


def test_pipeline_stages_share_the_layers() -> None:
    assert lay_out("meta-llama/Llama-3.1-70B", pp=4).bytes_per_token * 4 == (
        lay_out("meta-llama/Llama-3.1-70B").bytes_per_token
    )


def test_windowed_layers_stop_growing() -> None:
    # gemma-3-27b: 52 windowed and 10 full layers make tables of 10 layers: one full, six windowed
    layout = lay_out("google/gemma-3-27b-it")
    assert [(group.kind, group.copies) for group in layout.groups] == [("sliding", 6), ("full", 1)]
    short, long, longer = (layout.count_request_blocks(tokens, 2048) for tokens in (1024, 64_000, 64_000 + 6400))
    assert longer - long == 100  # only the full table grows: 6400 / 64 blocks
    assert long < 7 * 1000
    # while the window is not full all tables grow, and a window may begin inside a block
    assert short == 7 * 16 + 6


def test_gpt_oss_alternates() -> None:
    layout = lay_out("openai/gpt-oss-20b")
    assert [(group.kind, group.copies, group.window) for group in layout.groups] == [
        ("sliding", 1, 128),
        ("full", 1, 0),
    ]
    assert layout.layers_per_group == 12


def test_layers_of_different_width_share_a_page() -> None:
    # gemma-4-31b: windowed layers hold 16 x 256, full ones 4 x 512: half the bytes, so twice the tokens in a page
    layout = lay_out("google/gemma-4-31B-it")
    tokens = {group.kind: group.block_tokens for group in layout.groups}
    assert tokens == {"sliding": 64, "full": 128}
    assert layout.page_bytes == 64 * 2 * 16 * 256 * 2


def test_state_layers_keep_one_page_a_sequence_and_make_blocks_larger() -> None:
    model = get_model("Qwen/Qwen3-Next-80B-A3B")
    settings = set_up()
    state = size_state(model.architecture, Parallel(), settings)
    # convolution 3 x (2 x 16 x 128 + 32 x 128) and 32 states of 128 x 128, in 16 bit
    assert state == 2 * (3 * 8192 + 32 * 128 * 128)
    layout = lay_out("Qwen/Qwen3-Next-80B-A3B", settings)
    assert layout.block_size % 64 == 0
    assert layout.page_bytes >= state
    assert layout.page_bytes - state < 64 * 2 * 2 * 256 * 2
    groups = {group.kind: (group.copies, group.block_tokens) for group in layout.groups}
    assert groups == {"state": (3, 0), "full": (1, layout.block_size)}
    assert layout.count_request_blocks(1, 8192) == 4


def test_the_state_s_dtype() -> None:
    shape = get_model("Qwen/Qwen3.6-27B").architecture
    wide = size_state(shape, Parallel(), set_up())  # float32 by the config
    small = size_state(shape, Parallel(), set_up(state_dtype="float16"))
    assert wide > 1.9 * small
    assert size_state(shape, Parallel(tp=2), set_up()) == pytest.approx(wide / 2)


def test_cross_attention_keeps_the_whole_encoder_output() -> None:
    layout = lay_out("openai/whisper-large-v3", set_up(block_size=16))
    assert [(group.kind, group.fixed_tokens) for group in layout.groups] == [("full", 0), ("cross", 1500)]
    assert layout.count_request_blocks(16, 448) == 1 + 94


def test_an_encoder_keeps_no_cache() -> None:
    layout = lay_out("BAAI/bge-m3")
    assert layout.is_empty
    assert count_kv_tokens(layout, GIB) == 0
    assert find_max_context(layout, 0, 8194, 8192) == 8194
    assert count_concurrency(layout, GIB, 100, settings=set_up(max_num_seqs=7), batched_tokens=1) == 7


def test_nothing_fits_in_nothing() -> None:
    layout = lay_out(SEED)
    assert find_max_context(layout, 0, 1000, 8192) == 0
    assert find_max_context(layout, layout.block_bytes, 1000, 8192) == 64
    assert layout.count_blocks(-5) == 0


@given(
    name=st.sampled_from([SEED, "google/gemma-3-27b-it", "Qwen/Qwen3.6-27B", "deepseek-ai/DeepSeek-R1"]),
    gib=st.floats(0.01, 60),
    batched=st.integers(256, 16384),
)
def test_the_longest_context_is_the_longest(name: str, gib: float, batched: int) -> None:
    layout = lay_out(name)
    cache = int(gib * GIB)
    longest = find_max_context(layout, cache, 10_000_000, batched)
    blocks = layout.count_blocks(cache)
    if longest:
        assert layout.count_request_blocks(longest, batched) <= blocks
    if longest < 10_000_000:
        assert layout.count_request_blocks(longest + 1, batched) > blocks

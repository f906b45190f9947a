"""A start is followed by its log; known errors and retries are told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.operate.ready_stub import FakeEngine, make_reply
from xpukit.cli.serve_ready import explain_lines, list_urls, write_retry
from xpukit.host.http_client import HttpReply
from xpukit.operate.ready.start_log import StartLog
from xpukit.operate.ready.wait import Known, LogWatch, is_ready, wait_ready

VLLM = """\
(APIServer pid=1) INFO 11-21 10:00:00 [api_server.py:1896] vLLM API server version 0.14.0
Loading safetensors checkpoint shards:   0% Completed | 0/4 [00:00<?, ?it/s]
Loading safetensors checkpoint shards:  25% Completed | 1/4 [00:01<00:03,  1.00s/it]
Loading safetensors checkpoint shards:  30% Completed | 1/4 [00:01<00:03,  1.00s/it]
Loading safetensors checkpoint shards: 100% Completed | 4/4 [00:04<00:00,  1.00s/it]
(Worker_TP0 pid=9) INFO 11-21 10:00:09 [default_loader.py:308] Loading weights took 4.20 seconds
(Worker_TP0 pid=9) INFO 11-21 10:00:10 [gpu_model_runner.py:3700] Model loading took 7.6 GiB memory and 5.1 seconds
(Worker_TP1 pid=9) INFO 11-21 10:00:10 [gpu_model_runner.py:3700] Model loading took 7.6 GiB memory and 5.1 seconds
(EngineCore_DP0 pid=8) INFO 11-21 10:00:20 [kv_cache_utils.py:1291] GPU KV cache size: 124,160 tokens
(EngineCore_DP0 pid=8) INFO 11-21 10:00:20 [kv_cache_utils.py:1296] Maximum concurrency for 8,192 tokens per request: 15.16x
\x1b[32mCapturing CUDA graphs (decode, FULL): 100%|####| 35/35 [00:01<00:00, 18.11it/s]\x1b[0m
(Worker_TP0 pid=9) INFO 11-21 10:00:30 [gpu_model_runner.py:4600] Graph capturing finished in 3 secs, took 0.42 GiB
INFO:     Application startup complete.
""".splitlines()
SGLANG = """\
[2026-11-21 10:00:00 TP0] Load weight end. elapsed=4.06 s, type=Qwen3ForCausalLM, avail mem=12.10 GB, mem usage=7.51 GB.
[2026-11-21 10:00:01 TP0] KV Cache is allocated. #tokens: 81920, K size: 2.50 GB, V size: 2.50 GB
[2026-11-21 10:00:05 TP0] Capture cuda graph end. Time elapsed: 2.00 s. mem usage=0.10 GB. avail mem=5.00 GB.
[2026-11-21 10:00:05 TP0] max_total_num_tokens=81920, chunked_prefill_size=2048, max_prefill_tokens=16384, \
max_running_requests=2048, context_len=40960, available_gpu_mem=5.00 GB
[2026-11-21 10:00:07] The server is fired up and ready to roll!
""".splitlines()
TOO_SMALL = (
    "(EngineCore_DP0 pid=8) ERROR 11-21 10:00:20 [core.py:846] ValueError: To serve at least one request with the "
    "models's max seq len (40960), (5.62 GiB KV cache is needed, which is larger than the available KV cache memory "
    "(3.10 GiB). Based on the available memory, the estimated maximum model length is {}. Try increasing "
    "`gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine."
)


def test_progress_of_vllm_is_told_once_whatever_the_ranks() -> None:
    log = StartLog()
    assert [step.text for line in VLLM for step in log.take(line)] == [
        "reading weights: 0 %",
        "reading weights: 25 %",
        "reading weights: 100 %",
        "weights read in 4.20 s",
        "weights loaded: 7.6 GiB on a device",
        "KV cache: 124,160 tokens",
        "maximum concurrency: 15.16 requests of 8,192 tokens",
        "capturing graphs: 100 %",
        "graphs captured in 3 s, 0.42 GiB",
        "the server has started",
    ]
    assert log.suggestions == ()


def test_progress_of_sglang() -> None:
    log = StartLog()
    assert [step.name for line in SGLANG for step in log.take(line)] == [
        "weights_loaded", "kv_cache", "graphs_done", "concurrency", "answers",
    ]  # fmt: skip


def test_the_smallest_length_that_the_log_suggests_is_taken() -> None:
    log = StartLog()
    for length in (22528, 22400, 22464, 0):
        log.take(TOO_SMALL.format(length))
    [one] = log.suggestions
    assert (one.flag, one.option, one.value) == ("--max-model-len", "--context", "22400")
    assert "22400" in one.why
    assert "22400" in one.line


def test_the_models_own_limit_is_suggested() -> None:
    log = StartLog()
    log.take(
        "ValueError: User-specified max_model_len (131072) is greater than the derived max_model_len "
        "(max_position_embeddings=8192 or model_max_length=None in model's config.json)."
    )
    assert [one.value for one in log.suggestions] == ["8192"]


@given(st.text(max_size=300))
def test_no_line_is_too_odd(line: str) -> None:
    StartLog().take(line)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_ready_when_it_answers_and_the_log_goes_on_after() -> None:
    count = 0

    def come_up(request: object, good: object) -> object:
        nonlocal count
        count += 1
        return good if count > 3 else HttpReply(trouble="unreachable")

    engine = FakeEngine({"/health": lambda request, good: make_reply({}), "/v1/models": come_up})
    told: list[str] = []
    lines = iter([*VLLM[:3], None, *[None] * 100, "never read"])
    found = wait_ready(engine, lines, LogWatch(tell=lambda step: told.append(step.text)), clock=Clock())
    assert found.state == "ready"
    assert told == ["reading weights: 0 %", "reading weights: 25 %"]
    assert "never read" in list(lines)


def test_a_start_that_fails_ends_with_the_reason_and_the_retry() -> None:
    down = FakeEngine({"/health": lambda request, good: HttpReply(trouble="unreachable")})
    told: list[Known] = []
    watch = LogWatch(explain=explain_lines, tell_known=told.append)
    found = wait_ready(down, iter([*VLLM[:4], TOO_SMALL.format(22528), None, TOO_SMALL.format(22528)]), watch)
    assert found.state == "ended"
    assert [one.value for one in found.suggestions] == ["22528"]
    assert [one.id for one in told] == ["XPK-LOG-KV-CACHE-TOO-SMALL"]
    assert found.known == ("XPK-LOG-KV-CACHE-TOO-SMALL",)
    assert "length that the message suggests" in told[0].text


def test_waiting_has_an_end() -> None:
    def forever() -> Iterator[None]:
        while True:
            yield None

    down = FakeEngine({"/health": lambda request, good: HttpReply(trouble="unreachable")})
    assert wait_ready(down, forever(), LogWatch(), limit_s=50, clock=Clock()).state == "timeout"


def test_errors_are_explained_while_the_log_never_pauses() -> None:
    seen: list[int] = []

    def explain(lines: Sequence[str]) -> tuple[Known, ...]:
        seen.append(len(lines))
        return (Known(id="X", severity="info", text="x"),)

    told: list[Known] = []
    watch = LogWatch(explain=explain, tell_known=told.append)
    for number in range(500):
        watch.take(f"line {number}")
    assert len(seen) == 10
    assert max(seen) == 200
    assert len(told) == 1
    watch.flush()
    assert len(seen) == 10, "nothing new came"


@pytest.mark.parametrize(
    ("health", "models", "ready"),
    [
        (make_reply({}), make_reply({"data": [{"id": "m"}]}), True),
        (make_reply({}, 404), make_reply({"data": [{"id": "m"}]}), True),
        (make_reply({}), make_reply({}, 401), True),
        (make_reply({}, 503), make_reply({"data": [{"id": "m"}]}), False),
        (make_reply({}), make_reply({"data": []}), False),
        (make_reply({}), make_reply({}, 502), False),
        (make_reply({}), HttpReply(trouble="timeout"), False),
        (HttpReply(trouble="unreachable"), make_reply({"data": [{"id": "m"}]}), False),
    ],
)
def test_ready_is_healthy_with_a_model(health: HttpReply, models: HttpReply, ready: bool) -> None:
    engine = FakeEngine({"/health": lambda request, good: health, "/v1/models": lambda request, good: models})
    assert is_ready(engine) is ready


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["serve", "m", "--run"], "xpukit serve m --run --context 2048"),
        (["serve", "m", "--context", "32k", "--run"], "xpukit serve m --run --context 2048"),
        (["serve", "m", "--context=32k", "-c", "1", "-c32k"], "xpukit serve m --context 2048"),
        (["serve", "a b", "--", "-c", "1"], "xpukit serve 'a b' --context 2048 -- -c 1"),
    ],
)
def test_the_retry_is_the_same_command_with_one_value_more(argv: list[str], line: str) -> None:
    assert write_retry(argv, "--context", "2048") == line


def test_urls_are_those_of_the_plan() -> None:
    from tests.unit.serve.form_plans import load_plan

    plan = load_plan("native")
    urls = list_urls(plan)
    assert len(urls) == len({launch.port for launch in plan.launches if launch.role == "engine"})
    assert all(url.startswith("http://127.0.0.1:") for url in urls)

"""Our own client: an open loop in asyncio that measures from the intended start of each request.

With a rate, requests start when the plan says, however slow the server is; latencies count from there, so that a stall
is charged to every request that it delayed (no coordinated omission). Without one, so many requests are kept on their
way at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import msgspec

from xpukit.core.errors import ExternalError
from xpukit.core.json_document import BAD_JSON, now_utc
from xpukit.host.http_stream import Endpoint, HttpFailure, HttpStreamClient, read_url
from xpukit.host.interrupt import stop_on_interrupt
from xpukit.host.loopback_server import serve_chunks
from xpukit.operate.bench.openai_stream import Answer, Api, ask, build_body
from xpukit.operate.bench.result import BenchResult
from xpukit.operate.bench.schedule import LoadPlan, check_plan, make_prompt, plan_arrivals
from xpukit.operate.bench.tally import summarize_overhead, tally

_TICK_S = 0.01
_MODELS_TIMEOUT_S = 20.0
_OWN_COST_EVENTS = 1000
# Words of the prompts that tell how the server counts tokens.
_PROBE_WORDS = (32, 160)
Progress = Callable[[int, int, int], None]


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how. `warmup` requests go before and are not counted; `timeout_s` is for one request.

    `seconds` bounds the whole run: after it no request starts, and those on their way may finish.
    """

    url: str
    model: str
    api: Api = "chat"
    api_key: str = ""
    ignore_eos: bool = True
    warmup: int = 1
    timeout_s: float = 600.0
    seconds: float | None = None


class WordCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many tokens the server counts: `fixed` for its template and `each` for a word. `known`: it told."""

    fixed: float = 0.0
    each: float = 1.0
    known: bool = False

    def find_words(self, tokens: int) -> int:
        """Words of a prompt of so many tokens; at least one."""
        return max(1, round((tokens - self.fixed) / self.each))


def measure(settings: ClientSettings, plan: LoadPlan, *, progress: Progress | None = None) -> BenchResult:
    """Run the load. Raises UsageError for a plan that cannot be, ExternalError where the server answers nothing at all.

    Ctrl-C ends it with what there is (`interrupted`); a second one raises KeyboardInterrupt.
    """
    check_plan(plan)
    return asyncio.run(_measure(settings, plan, progress))


async def _measure(settings: ClientSettings, plan: LoadPlan, progress: Progress | None) -> BenchResult:
    stop = asyncio.Event()
    with stop_on_interrupt(stop):
        event_s = await measure_own_cost()
        headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        client = HttpStreamClient(read_url(settings.url), headers=headers)
        try:
            words = await _warm_up(client, settings, plan, stop)
            return await _Run(client, settings, plan, words, stop, progress).run(event_s)
        finally:
            client.close()


def find_model(url: str, api_key: str = "") -> str:
    """The first model that the server offers. Raises ExternalError where it offers none."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    client = HttpStreamClient(read_url(url), headers=headers)

    async def ask_models() -> bytes:
        try:
            return await asyncio.wait_for(client.fetch("GET", "/v1/models"), _MODELS_TIMEOUT_S)
        finally:
            client.close()

    try:
        listed = msgspec.json.decode(asyncio.run(ask_models()), type=_Models)
    except (HttpFailure, asyncio.TimeoutError, *BAD_JSON) as err:
        raise ExternalError(f"{url}: no list of models: {err or 'timed out'}", hint="name the model") from err
    if not listed.data:
        raise ExternalError(f"{url}: it offers no model", hint="name the model")
    return listed.data[0].id


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: tuple[_Model, ...] = ()


async def measure_own_cost(events: int = _OWN_COST_EVENTS) -> float:
    """Seconds of one event of a stream, here and now, with the writing server in this process: an upper bound."""
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n'
    async with serve_chunks([chunk] * events) as port:
        client = HttpStreamClient(Endpoint(host="127.0.0.1", port=port, tls=False, prefix=""))
        answer = await ask(client, "chat", b"{}", intended=time.perf_counter(), timeout_s=30.0)
        client.close()
    return (answer.ended - answer.pieces[0]) / max(1, len(answer.pieces) - 1) if answer.pieces else 0.0


async def _warm_up(
    client: HttpStreamClient, settings: ClientSettings, plan: LoadPlan, stop: asyncio.Event
) -> WordCount:
    """Learn how the server counts, then let it do real ones. Raises ExternalError where the first request fails."""
    counts: list[int | None] = []
    for length in _PROBE_WORDS:
        prompt = make_prompt(-length, length, 0, plan.seed)
        body = build_body(settings.model, settings.api, prompt, 1, ignore_eos=settings.ignore_eos)
        answer = await ask(client, settings.api, body, intended=time.perf_counter(), timeout_s=settings.timeout_s)
        if answer.error and answer.error != "an empty answer":
            raise ExternalError(
                f"{client.endpoint.url}: {answer.error}",
                hint="is it the right address, model and --api? --no-ignore-eos leaves out what is not OpenAI's",
            )
        counts.append(answer.input_tokens)
    words = read_word_count(counts[0], counts[1])
    for number in range(settings.warmup):
        if stop.is_set():
            break
        prompt = make_prompt(-1000 - number, words.find_words(plan.input_len), 0, plan.seed)
        body = build_body(settings.model, settings.api, prompt, plan.output_len, ignore_eos=settings.ignore_eos)
        await ask(client, settings.api, body, intended=time.perf_counter(), timeout_s=settings.timeout_s)
    return words


def read_word_count(small: int | None, large: int | None) -> WordCount:
    """From the tokens that the server counted for the two probes; one a word where it told none or nonsense."""
    if small is None or large is None or large <= small:
        return WordCount()
    each = (large - small) / (_PROBE_WORDS[1] - _PROBE_WORDS[0])
    return WordCount(fixed=max(0.0, small - each * _PROBE_WORDS[0]), each=each, known=True)


class _Run:
    def __init__(
        self,
        client: HttpStreamClient,
        settings: ClientSettings,
        plan: LoadPlan,
        words: WordCount,
        stop: asyncio.Event,
        progress: Progress | None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._plan = plan
        self._stop = stop
        self._progress = progress
        self._answers: list[Answer] = []
        self._known = words.known
        count = words.find_words(plan.input_len)
        shared = round(count * plan.shared_prefix)
        # Made before the clock starts: a request costs only its sending.
        self._bodies = [
            build_body(
                settings.model,
                settings.api,
                make_prompt(number, count, shared, plan.seed),
                plan.output_len,
                ignore_eos=settings.ignore_eos,
            )
            for number in range(plan.requests)
        ]

    async def run(self, event_s: float) -> BenchResult:
        started = now_utc()
        late: list[float] = []
        ticking = asyncio.create_task(_tick(late))
        cpu, begin = time.process_time(), time.perf_counter()
        self._until = begin + self._settings.seconds if self._settings.seconds is not None else None
        working = asyncio.create_task(self._dispatch(begin))
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        interrupted = not working.done()
        for task in (working, stopping, ticking):
            task.cancel()
        for task in (working, stopping, ticking):
            with contextlib.suppress(asyncio.CancelledError):
                await task
        end, used = time.perf_counter(), time.process_time() - cpu
        notes = [] if self._known else ["the server counts no tokens: one word of a prompt was taken for one (a guess)"]
        return tally(
            self._answers,
            self._plan,
            started_at=begin,
            ended_at=end,
            model=self._settings.model,
            started=started,
            origin=self._client.endpoint.url,
            interrupted=interrupted,
            overhead=summarize_overhead(
                self._answers, cpu_s=used, wall_s=end - begin, ticks_late=late, event_s=event_s
            ),
            notes=notes,
        )

    async def _dispatch(self, begin: float) -> None:
        if self._plan.rate_rps is None:
            places = self._plan.concurrency or self._plan.requests
            numbers = iter(range(self._plan.requests))
            await self._gather([self._work(numbers) for _ in range(min(places, self._plan.requests))])
            return
        free = asyncio.Semaphore(self._plan.concurrency) if self._plan.concurrency else None
        tasks: list[asyncio.Task[None]] = []
        try:
            for number, offset in enumerate(plan_arrivals(self._plan)):
                intended = begin + offset
                if self._is_over(intended):
                    break
                # Sleeping ends a little late; what is late is sent at once and counts from when it was meant.
                delay = intended - time.perf_counter()
                if delay > 0:
                    await asyncio.sleep(delay)
                tasks.append(asyncio.create_task(self._one(number, intended, free)))
            await asyncio.gather(*tasks)
        finally:
            await _end(tasks)

    async def _gather(self, workers: list[Coroutine[Any, Any, None]]) -> None:
        tasks = [asyncio.create_task(worker) for worker in workers]
        try:
            await asyncio.gather(*tasks)
        finally:
            await _end(tasks)

    async def _work(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            now = time.perf_counter()
            if self._is_over(now):
                return
            await self._one(number, now, None)

    def _is_over(self, at: float) -> bool:
        return self._until is not None and at > self._until

    async def _one(self, number: int, intended: float, free: asyncio.Semaphore | None) -> None:
        try:
            async with free or contextlib.nullcontext():
                answer = await ask(
                    self._client,
                    self._settings.api,
                    self._bodies[number],
                    intended=intended,
                    timeout_s=self._settings.timeout_s,
                )
        except asyncio.CancelledError:
            self._answers.append(Answer(intended=intended, cut=True))
            raise
        self._answers.append(answer)
        if self._progress is not None:
            failed = sum(1 for one in self._answers if one.error) if answer.error else 0
            self._progress(len(self._answers), self._plan.requests, failed)


async def _tick(late: list[float]) -> None:
    """How late the loop comes to what is due: what every time stamp may be late by."""
    while True:
        due = time.perf_counter() + _TICK_S
        await asyncio.sleep(_TICK_S)
        late.append(max(0.0, time.perf_counter() - due))


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

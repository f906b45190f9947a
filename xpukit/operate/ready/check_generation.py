"""Chat and completions: sums, prose, log probabilities, streaming, long prompts, many at once."""

from __future__ import annotations

import time
from collections.abc import Iterator

from xpukit.facts.readiness import find_limit, load_prompts
from xpukit.operate.ready.event_stream import judge_stream, read_stream
from xpukit.operate.ready.gate import Exchange, Gate, find_worst
from xpukit.operate.ready.judge_logprobs import judge_logprobs
from xpukit.operate.ready.judge_text import judge_first_number, judge_sum, judge_text
from xpukit.operate.ready.long_prompt import LongPrompt, find_target, measure_line
from xpukit.operate.ready.read_reply import Answer, read_answer
from xpukit.operate.ready.result import PASSED, Api, Judged

_NAN_REMEDY = (
    "likely NaN inside the engine (a guess): another quantization or dtype, --enforce-eager, another image, "
    "and xpukit doctor --log on its log"
)
_WRONG_REMEDY = (
    "the same request with 16-bit weights and --enforce-eager tells whether quantization or a kernel is wrong"
)
_SWALLOWED = "all of it is told as thoughts (reasoning)"
_SWALLOWED_REMEDY = (
    "start it with the reasoning parser of this model, or without one (--reasoning-parser): clients that read the "
    "answer get nothing"
)
_FEW_TOKENS = 16


def check_generation(gate: Gate, api: Api) -> bool:
    """All but the depth; False where the endpoint does not have the API."""
    began = time.monotonic()
    judged: list[tuple[Judged, Exchange]] = []
    for sum_ in list_sums(gate.level.sums):
        exchange = gate.post(api, ask_sum(api, sum_))
        if not judged and (refusal := gate.find_refusal(api, exchange)):
            gate.add_result(api, api, Judged(verdict="not-applicable", why=refusal), exchange, began=began)
            return False
        judged.append((judge_answer(gate, api, exchange, sum_), exchange))
        if exchange.reply.trouble == "timeout" and not gate.gone:
            # An engine that hangs on a sum would cost the limit of every request.
            gate.gone = "a sum got no answer in time"
        if gate.gone:
            break
    verdict, shown = find_worst(judged)
    gate.add_result(f"{api}-arithmetic", api, verdict, shown, began=began, requests=len(judged), remedy=advise(verdict))
    for check in (_check_prose, _check_logprobs, _check_stream):
        if not gate.gone:
            check(gate, api)
    return True


def check_depth(gate: Gate, api: Api) -> None:
    """A prompt near the context limit, and many requests at once."""
    if not gate.gone:
        _check_long(gate, api)
    if not gate.gone:
        _check_concurrent(gate, api)


def list_sums(count: int) -> Iterator[tuple[int, int]]:
    """Pairs of two-digit numbers with different sums: small models get them right, and none is another's."""
    for place in range(count):
        yield 21 + place, 12 + place


def ask_sum(api: Api, sum_: tuple[int, int], *, before: str = "", answer_tokens: int = 0) -> dict[str, object]:
    """The request of one sum, after a text."""
    prompts = load_prompts()
    left, right = sum_
    if api == "chat":
        text = before + prompts.sum.format(a=left, b=right)
        return _build(api, text, tokens=answer_tokens or int(find_limit("answer_tokens")))
    text = before + prompts.sum_shots + prompts.sum_begun.format(a=left, b=right)
    return _build(api, text, tokens=_FEW_TOKENS)


def _build(api: Api, text: str, *, tokens: int, temperature: float = 0.0) -> dict[str, object]:
    words: dict[str, object] = {"messages": [{"role": "user", "content": text}]} if api == "chat" else {"prompt": text}
    return {**words, "max_tokens": tokens, "temperature": temperature}


def judge_answer(gate: Gate, api: Api, exchange: Exchange, sum_: tuple[int, int]) -> Judged:
    """The reply to a sum."""
    wrong = gate.judge_reply(exchange)
    return wrong if wrong is not None else judge_sum_answer(api, read_answer(exchange.parsed), sum(sum_))


def judge_sum_answer(api: Api, answer: Answer, right: int) -> Judged:
    """The answer to a sum. Thoughts that left no room for an answer are judged as far as they can be."""
    if api == "completions":
        return judge_first_number(answer.text, right)
    if answer.swallowed:
        return Judged(verdict="fail", why=f"{_SWALLOWED}: no answer is left")
    if not answer.unfinished:
        return judge_sum(answer.text, right)
    thoughts = judge_text(answer.thinking)
    if thoughts.verdict != "pass":
        return thoughts
    if judge_sum(answer.thinking, right).verdict == "pass":
        return PASSED
    return Judged(verdict="unknown", why="the model thinks so long that its answer did not begin")


def advise(judged: Judged) -> str:
    """What to do about an answer that is none."""
    if judged.verdict != "fail":
        return ""
    if _SWALLOWED in judged.why:
        return _SWALLOWED_REMEDY
    if judged.why.startswith("wrong arithmetic"):
        return _WRONG_REMEDY
    return _NAN_REMEDY if judged.why.startswith(("degenerate", "repeated", "the answer is empty")) else ""


def _check_prose(gate: Gate, api: Api) -> None:
    prompts = load_prompts()
    began = time.monotonic()
    text = prompts.prose if api == "chat" else prompts.prose_begun
    # Not greedy: small models loop there by nature. The seed makes it the same each time where it is taken.
    exchange = gate.post(api, {**_build(api, text, tokens=gate.level.prose_tokens, temperature=0.7), "seed": 1})
    judged = gate.judge_reply(exchange) or judge_text(read_answer(exchange.parsed).shown)
    gate.add_result(f"{api}-prose", api, judged, exchange, began=began, remedy=advise(judged))


def _check_logprobs(gate: Gate, api: Api) -> None:
    began = time.monotonic()
    wanted: dict[str, object] = {"logprobs": True, "top_logprobs": 1} if api == "chat" else {"logprobs": 1}
    [sum_] = list_sums(1)
    exchange = gate.post(api, {**ask_sum(api, sum_, answer_tokens=_FEW_TOKENS), **wanted})
    name = f"{api}-logprobs"
    reply = exchange.reply
    if reply.status in (400, 403, 422, 501) and not reply.trouble:
        why = f"the endpoint gives no log probabilities: HTTP {reply.status}: {exchange.refused[:200]}"
        gate.add_result(name, api, Judged(verdict="not-applicable", why=why), exchange, began=began)
        return
    judged = gate.judge_reply(exchange)
    remedy = ""
    if judged is not None and reply.status == 500:
        # NaN cannot be written as JSON: servers fail on it (vllm-project/vllm#13035).
        judged = Judged(verdict="fail", why=f"{judged.why} (log probabilities that are not finite end so)")
        remedy = _NAN_REMEDY
    elif judged is None:
        judged = judge_logprobs(read_answer(exchange.parsed).logprobs)
        remedy = _NAN_REMEDY if judged.verdict == "fail" else ""
    gate.add_result(name, api, judged, exchange, began=began, remedy=remedy)


def _check_stream(gate: Gate, api: Api) -> None:
    began = time.monotonic()
    *_, sum_ = list_sums(2)
    exchange = gate.post(api, {**ask_sum(api, sum_), "stream": True})
    judged = gate.judge_reply(exchange)
    if judged is None:
        streamed = read_stream(exchange.reply.body)
        judged = judge_stream(streamed, exchange.reply.headers.get("content-type", ""))
        if judged.verdict == "pass":
            judged = judge_sum_answer(api, streamed.answer, sum(sum_))
    gate.add_result(f"{api}-stream", api, judged, exchange, began=began, remedy=advise(judged))


def _check_long(gate: Gate, api: Api) -> None:
    began = time.monotonic()
    name = f"{api}-long"
    room = _FEW_TOKENS if api == "completions" else int(find_limit("answer_tokens"))
    target, room = find_target(gate.endpoint.context_tokens, gate.level.long_tokens, room)
    probe = LongPrompt(lines=40)
    measured = gate.post(api, _build(api, probe.text, tokens=1))
    wrong = gate.judge_reply(measured)
    if wrong is not None:
        gate.add_result(name, api, wrong, measured, began=began)
        return
    per_line = measure_line(probe, read_answer(measured.parsed).prompt_tokens)
    *_, sum_ = list_sums(3)
    sent = 1
    for share in (1.0, 0.9, 0.75):
        sent += 1
        prompt = LongPrompt(lines=max(1, int(target * share / per_line)))
        exchange = gate.post(
            api, ask_sum(api, sum_, before=prompt.text, answer_tokens=room), timeout_s=find_limit("long_request_s")
        )
        # A template adds tokens, and numbers are not all of one length: a little too long is no fault.
        if exchange.reply.status != 400 or exchange.reply.trouble:
            break
    judged = judge_answer(gate, api, exchange, sum_)
    remedy = advise(judged)
    counted = read_answer(exchange.parsed).prompt_tokens
    said = f"{counted if counted is not None else f'about {int(prompt.lines * per_line)}'} tokens"
    if judged.verdict == "pass" and counted is not None and counted < target * share * find_limit("counted_share"):
        judged = Judged(verdict="warn", why=f"the endpoint counted {counted} tokens of about {int(target * share)}")
    elif judged.verdict == "pass":
        limit = gate.endpoint.context_tokens
        judged = Judged(verdict="pass", why=f"{said} of {limit}" if limit else f"{said}; no context limit is stated")
    else:
        judged = Judged(verdict=judged.verdict, why=f"with {said} of prompt: {judged.why}")
    gate.add_result(name, api, judged, exchange, began=began, requests=sent, remedy=remedy)


def _check_concurrent(gate: Gate, api: Api) -> None:
    began = time.monotonic()
    sums = list(list_sums(gate.level.concurrent))
    exchanges = gate.post_many(api, [ask_sum(api, one) for one in sums])
    name = f"{api}-concurrent"
    busy = [one for one in exchanges if one.reply.status in (429, 503) and not one.reply.trouble]
    judged = [
        (judge_answer(gate, api, exchange, one), exchange)
        for one, exchange in zip(sums, exchanges, strict=True)
        if exchange not in busy
    ]
    if not judged:
        why = f"all {len(busy)} requests at once were turned away (HTTP {busy[0].reply.status})"
        gate.add_result(name, api, Judged(verdict="fail", why=why), busy[0], began=began, requests=len(exchanges))
        return
    verdict, shown = find_worst(judged)
    remedy = advise(verdict)
    bad = sum(one.verdict == "fail" for one, _ in judged)
    if bad:
        verdict = Judged(verdict="fail", why=f"{bad} of {len(exchanges)} at once: {verdict.why}")
    elif busy and verdict.verdict == "pass":
        why = f"{len(busy)} of {len(exchanges)} at once were turned away (HTTP {busy[0].reply.status})"
        verdict, shown = Judged(verdict="warn", why=why), busy[0]
    gate.add_result(name, api, verdict, shown, began=began, requests=len(exchanges), remedy=remedy)

"""Embeddings, rerank and score."""

from __future__ import annotations

import time

from xpukit.facts.readiness import find_limit, load_prompts
from xpukit.operate.ready.gate import Exchange, Gate, find_worst
from xpukit.operate.ready.judge_ranking import judge_ranking
from xpukit.operate.ready.judge_vectors import compute_cosine, judge_embeddings, list_vectors
from xpukit.operate.ready.long_prompt import LongPrompt, find_target, measure_line
from xpukit.operate.ready.read_reply import get
from xpukit.operate.ready.result import PASSED, Api, Judged


def check_embeddings(gate: Gate) -> None:
    """Several texts in one request, a long one, and single ones at once, which must give the same vectors."""
    began = time.monotonic()
    texts = load_prompts().embedding_texts
    exchange = gate.post("embeddings", {"input": list(texts)})
    if refusal := gate.find_refusal("embeddings", exchange):
        judged = Judged(verdict="not-applicable", why=refusal)
        gate.add_result("embeddings", "embeddings", judged, exchange, began=began)
        return
    wrong = gate.judge_reply(exchange)
    judged = wrong or judge_embeddings(exchange.parsed, texts, size=gate.size)
    vectors = list_vectors(exchange.parsed)
    if judged.verdict == "pass" and isinstance(vectors[0], list):
        judged = Judged(verdict="pass", why=f"dimension {len(vectors[0])}")
    gate.add_result("embeddings", "embeddings", judged, exchange, began=began)
    if judged.verdict != "pass":
        return
    _check_long(gate, len(vectors[0]) if isinstance(vectors[0], list) else None)
    if not gate.gone:
        _check_concurrent(gate, texts, vectors)


def _check_long(gate: Gate, size: int | None) -> None:
    began = time.monotonic()
    probe = LongPrompt(lines=10)
    measured = gate.post("embeddings", {"input": [probe.text]})
    counted = get(get(measured.parsed, "usage"), "prompt_tokens")
    per_line = measure_line(probe, counted if type(counted) is int else None)
    target, _ = find_target(gate.endpoint.context_tokens, gate.level.long_tokens, 1)
    exchange = measured
    for share in (1.0, 0.9, 0.75):
        text = LongPrompt(lines=max(1, int(target * share / per_line))).text
        exchange = gate.post("embeddings", {"input": [text]}, timeout_s=find_limit("long_request_s"))
        if exchange.reply.status != 400 or exchange.reply.trouble:
            break
    judged = gate.judge_reply(exchange) or judge_embeddings(exchange.parsed, [""], size=size)
    gate.add_result("embeddings-long", "embeddings", judged, exchange, began=began, requests=2)


def _check_concurrent(gate: Gate, texts: tuple[str, ...], vectors: list[object]) -> None:
    began = time.monotonic()
    places = [place % len(texts) for place in range(gate.level.concurrent)]
    exchanges = gate.post_many("embeddings", [{"input": [texts[place]]} for place in places])
    judged = [
        (_judge_same(gate, exchange, vectors[place]), exchange)
        for place, exchange in zip(places, exchanges, strict=True)
    ]
    verdict, shown = find_worst(judged)
    gate.add_result("embeddings-concurrent", "embeddings", verdict, shown, began=began, requests=len(exchanges))


def _judge_same(gate: Gate, exchange: Exchange, before: object) -> Judged:
    """The vector of a text alone against that of the batch."""
    wrong = gate.judge_reply(exchange)
    if wrong is not None:
        return wrong
    size = len(before) if isinstance(before, list) else None
    judged = judge_embeddings(exchange.parsed, [""], size=size)
    if judged.verdict != "pass":
        return judged
    [vector] = list_vectors(exchange.parsed)
    if isinstance(vector, list) and isinstance(before, list):
        near = compute_cosine(vector, before)
        if near < find_limit("same_text_cosine"):
            return Judged(verdict="fail", why=f"a text alone and in a batch: cosine {near:.3f}")
    return PASSED


def check_ranking(gate: Gate, api: Api) -> None:
    """One query, several documents, one of which answers."""
    began = time.monotonic()
    prompt = load_prompts().rerank
    documents = list(prompt.documents)
    if api == "rerank":
        body: dict[str, object] = {"query": prompt.query, "documents": documents}
    else:
        body = {"text_1": prompt.query, "text_2": documents}
    exchange = gate.post(api, body)
    if refusal := gate.find_refusal(api, exchange):
        judged = Judged(verdict="not-applicable", why=refusal)
    else:
        judged = gate.judge_reply(exchange) or judge_ranking(
            exchange.parsed, documents=len(documents), best=prompt.best, in_order=api == "rerank"
        )
    gate.add_result(api, api, judged, exchange, began=began)

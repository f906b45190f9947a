"""The readiness gate: asks an endpoint and judges what comes back, row by row."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from xpukit.facts.readiness import Level, find_limit, load_start
from xpukit.host.http_client import HttpReply
from xpukit.operate.ready.endpoint import JSON_TYPE, PATHS, Ask, Endpoint, is_alive
from xpukit.operate.ready.read_reply import read_calls, read_error, read_json
from xpukit.operate.ready.result import APIS, Api, CheckReport, Judged, Row

_NOT_THERE = (404, 405, 501)


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A request and what came back."""

    request: str
    reply: HttpReply
    parsed: Any = None

    @property
    def refused(self) -> str:
        """The message of a refusal."""
        return read_error(self.reply.body)


class Gate:
    """One check of one endpoint. `report` gets each row as it comes; `timeout_s` takes the place of all time limits."""

    def __init__(
        self,
        ask: Ask,
        endpoint: Endpoint,
        level: Level,
        *,
        apis: Sequence[Api] = (),
        size: int | None = None,
        timeout_s: float | None = None,
        report: Callable[[Row], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.ask = ask
        self.endpoint = endpoint
        self.level = level
        self.asked = tuple(apis)
        self.size = size
        self._timeout_s = timeout_s
        self._report = report
        self._sleep = sleep
        self.rows: list[Row] = []
        # Why nothing more is asked, "" while it is.
        self.gone = ""

    def run(self) -> CheckReport:
        """Check all APIs that are there (or were named)."""
        from xpukit.operate.ready.check_audio import check_transcription
        from xpukit.operate.ready.check_generation import check_depth, check_generation
        from xpukit.operate.ready.check_pooling import check_embeddings, check_ranking

        began = time.monotonic()
        speaks: list[Api] = []
        for api in self.asked or APIS:
            if not self._is_named(api):
                continue
            if self.gone:
                self.add(Row(name=api, api=api, verdict="unknown", why=f"not asked: {self.gone}"))
            elif api in ("chat", "completions"):
                if check_generation(self, api):
                    speaks.append(api)
            elif api == "embeddings":
                check_embeddings(self)
            elif api == "transcription":
                check_transcription(self)
            else:
                check_ranking(self, api)
            # Depth right after the first API that speaks: it is what readiness hangs on.
            if speaks == [api]:
                check_depth(self, api)
        self._check_alive()
        return CheckReport(
            url=self.endpoint.url, model=self.endpoint.model, models=self.endpoint.models, level=self.level.name,
            context_tokens=self.endpoint.context_tokens, rows=tuple(self.rows), notes=self._list_notes(),
            seconds=round(time.monotonic() - began, 3),
        )  # fmt: skip

    def _list_notes(self) -> tuple[str, ...]:
        others = [name for name in self.endpoint.models if name != self.endpoint.model]
        return (f"not checked: {', '.join(others[:10])} (--model NAME)",) if others else ()

    def _is_named(self, api: Api) -> bool:
        """Whether to try an API at all; a row says why not."""
        if api in self.asked:
            return True
        paths = self.endpoint.paths
        if paths is not None and PATHS[api] not in paths:
            self.add(Row(name=api, api=api, verdict="not-applicable", why="the endpoint does not list it"))
            return False
        if api == "transcription" and paths is None:
            why = "not tried: the endpoint does not say which APIs it has (--api transcription tries)"
            self.add(Row(name=api, api=api, verdict="not-applicable", why=why))
            return False
        return True

    def post(
        self, api: Api, body: Mapping[str, object], *, timeout_s: float | None = None, patient: bool = True
    ) -> Exchange:
        """Send JSON to an API. `patient`: again after the time that a busy endpoint asks for, if that is short."""
        data = msgspec.json.encode({"model": self.endpoint.model, **body})
        exchange = self.post_bytes(api, data, shown=data.decode(), timeout_s=timeout_s)
        tries = int(find_limit("busy_tries")) if patient else 0
        while tries and (wait_s := read_retry_after(exchange.reply)) is not None:
            tries -= 1
            self._sleep(wait_s)
            exchange = self.post_bytes(api, data, shown=data.decode(), timeout_s=timeout_s)
        return exchange

    def post_bytes(
        self, api: Api, data: bytes, *, shown: str, content_type: str = JSON_TYPE, timeout_s: float | None = None
    ) -> Exchange:
        """Send any body; `shown` stands for it in the row."""
        limit = self._timeout_s or timeout_s or find_limit("request_s")
        reply = self.ask("POST", PATHS[api], data, content_type=content_type, timeout_s=limit)
        if reply.trouble == "unreachable":
            self.gone = "the endpoint no longer answers"
        return Exchange(request=shown, reply=reply, parsed=read_json(reply.body))

    def post_many(self, api: Api, bodies: Sequence[Mapping[str, object]]) -> list[Exchange]:
        """Send all at once; the exchanges in order."""
        found: list[Exchange | None] = [None] * len(bodies)

        def send(place: int) -> None:
            found[place] = self.post(api, bodies[place], patient=False)

        # Daemons: Ctrl-C must not wait for what the endpoint still owes.
        threads = [threading.Thread(target=send, args=(place,), daemon=True) for place in range(len(bodies))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [one for one in found if one is not None]

    def judge_reply(self, exchange: Exchange) -> Judged | None:
        """What is wrong with a reply before its content is looked at; None where nothing is."""
        reply = exchange.reply
        if reply.trouble == "timeout":
            return Judged(verdict="fail", why=f"no answer in time: {reply.detail}")
        if reply.trouble:
            return Judged(verdict="fail", why=f"{reply.trouble}: {reply.detail}")
        if reply.status == 429:
            why = f"HTTP 429: {exchange.refused[:200]} (it limits requests: ask again when it has time)"
            return Judged(verdict="unknown", why=why)
        if reply.status != 200:
            return Judged(verdict="fail", why=f"HTTP {reply.status}: {exchange.refused[:200]}")
        if exchange.parsed is None and "event-stream" not in reply.headers.get("content-type", "").lower():
            return Judged(verdict="fail", why="the reply is no JSON")
        if calls := read_calls(exchange.parsed):
            return Judged(verdict="fail", why=f"it calls a tool ({', '.join(calls):.60}); none was offered")
        return None

    def find_refusal(self, api: Api, exchange: Exchange) -> str:
        """Why this model does not have the API; "" where it should have it, or was asked to."""
        reply = exchange.reply
        if reply.trouble or api in self.asked or not 400 <= reply.status < 600:
            return ""
        said = exchange.refused
        known = any(row.text in said.lower() for row in load_start().refusal)
        # What a model that speaks says to pooling requests is worded in many ways.
        other = api not in ("chat", "completions") and reply.status in (400, 422)
        if reply.status in _NOT_THERE or (known and reply.status < 500) or other:
            return f"HTTP {reply.status}: {said[:200]}" if said else f"HTTP {reply.status}"
        return ""

    def add_result(
        self, name: str, api: Api, judged: Judged, exchange: Exchange | None, *, began: float, requests: int = 1,
        remedy: str = "",
    ) -> None:  # fmt: skip
        """A row of this exchange; `began`: by time.monotonic."""
        reply = exchange.reply if exchange is not None else HttpReply()
        self.add(
            Row(
                name=name,
                api=api,
                verdict=judged.verdict,
                why=judged.why,
                request=self._cut(exchange.request if exchange is not None else ""),
                response=self._cut(reply.body.decode("utf-8", errors="replace")),
                status=reply.status,
                requests=requests,
                seconds=round(time.monotonic() - began, 3),
                remedy=remedy,
            )
        )

    def add(self, row: Row) -> None:
        """Keep a row and tell of it."""
        self.rows.append(row)
        if self._report is not None:
            self._report(row)

    def _cut(self, text: str) -> str:
        limit = int(find_limit("evidence_chars"))
        if len(text) <= limit:
            return text
        head = limit * 2 // 3
        return f"{text[:head]} … {len(text) - limit} more … {text[head - limit :]}"

    def _check_alive(self) -> None:
        began = time.monotonic()
        if not is_alive(self.ask, self._timeout_s):
            judged = Judged(verdict="fail", why="the endpoint no longer answers after the check")
            self.add_result("alive", "endpoint", judged, None, began=began, remedy="look at the engine's log")


def read_retry_after(reply: HttpReply) -> float | None:
    """Seconds after which a busy endpoint (429, 503) wants to be asked again (None: it does not say, or too many)."""
    said = reply.headers.get("retry-after", "").strip()
    if reply.trouble or reply.status not in (429, 503) or not said.isascii() or not said.isdigit():
        return None
    return float(said) if len(said) < 6 and float(said) <= find_limit("busy_wait_s") else None


def find_worst(judged: Sequence[tuple[Judged, Exchange]]) -> tuple[Judged, Exchange]:
    """The one that decides a row of several exchanges: the first of the worst."""
    order = ("fail", "unknown", "warn", "pass")
    return min(judged, key=lambda pair: order.index(pair[0].verdict) if pair[0].verdict in order else len(order))

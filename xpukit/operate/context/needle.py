"""Long prompts with a number hidden in them: an answer that has it read the whole prompt."""

from __future__ import annotations

import msgspec

from xpukit.facts.readiness import find_limit, load_prompts
from xpukit.operate.ready.check_generation import judge_sum_answer
from xpukit.operate.ready.gate import Exchange, Gate
from xpukit.operate.ready.long_prompt import LongPrompt, measure_line
from xpukit.operate.ready.read_reply import read_answer
from xpukit.operate.ready.result import Api, Judged

# Five digits, none of them a year or the number of a line of the filler.
_FIRST_NUMBER, _STEP = 84_173, 1_307


class NeedleAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back for one place of the number. `refused`: the endpoint's words on a prompt that is too long."""

    judged: Judged
    depth: float
    prompt_tokens: int | None
    refused: str = ""
    seconds: float = 0.0
    request: str = ""
    response: str = ""


def hide_needle(lines: int, depth: float, number: int) -> str:
    """The filler's lines with the sentence of the number among them: `depth` 0 is the beginning, 1 the end."""
    rows = LongPrompt(lines=lines).text.rstrip("\n").split("\n")
    place = min(len(rows), max(0, round(depth * len(rows))))
    return "\n".join([*rows[:place], load_prompts().needle.format(number=number), *rows[place:]]) + "\n\n"


class NeedleAsker:
    """Asks one endpoint with prompts of wanted lengths."""

    def __init__(self, gate: Gate, api: Api) -> None:
        self._gate = gate
        self._api = api
        self._line: tuple[float, float] | None = None
        self._count = 0

    def ask(self, tokens: int, depth: float) -> NeedleAnswer:
        """A prompt of about so many tokens, the number at that depth. Raises nothing for what the endpoint does."""
        fixed, each = self._line = self._line or self._measure()
        number = _FIRST_NUMBER + self._count % 9 * _STEP
        self._count += 1
        prompts = load_prompts()
        question = prompts.needle_question if self._api == "chat" else prompts.needle_begun
        lines = max(1, int((tokens - fixed - find_limit("needle_tokens")) / each))
        text = hide_needle(lines, depth, number) + question
        exchange = self._gate.post(
            self._api,
            self._build(text, answer_tokens=self.answer_tokens(tokens)),
            timeout_s=find_limit("long_request_s"),
        )
        return self._judge(exchange, number, depth, text)

    def _measure(self) -> tuple[float, float]:
        """Tokens of the chat template and of a line, as the endpoint counts two prompts."""
        probes = (LongPrompt(lines=10), LongPrompt(lines=50))
        counts = [
            read_answer(self._gate.post(self._api, self._build(probe.text, answer_tokens=1)).parsed).prompt_tokens
            for probe in probes
        ]
        small, large = counts
        if small is None or large is None or large <= small:
            return 0.0, measure_line(probes[1], large)
        each = (large - small) / (probes[1].lines - probes[0].lines)
        return max(0.0, small - each * probes[0].lines), each

    def answer_tokens(self, tokens: int) -> int:
        """Room for the answer: thoughts before it too, but never much of a short context."""
        if self._api == "completions":
            return int(find_limit("needle_tokens"))
        return int(min(find_limit("answer_tokens"), max(find_limit("needle_tokens"), tokens // 8)))

    def _build(self, text: str, *, answer_tokens: int) -> dict[str, object]:
        words: dict[str, object] = (
            {"messages": [{"role": "user", "content": text}]} if self._api == "chat" else {"prompt": text}
        )
        return {**words, "max_tokens": answer_tokens, "temperature": 0.0}

    def _judge(self, exchange: Exchange, number: int, depth: float, text: str) -> NeedleAnswer:
        reply = exchange.reply
        answer = read_answer(exchange.parsed)
        refused = exchange.refused[:300] if reply.status in (400, 413, 422) and not reply.trouble else ""
        judged = self._gate.judge_reply(exchange)
        if judged is None:
            judged = judge_sum_answer(self._api, answer, number)
            if judged.verdict == "fail" and judged.why.startswith("wrong arithmetic"):
                said = judged.why.partition(": ")[2]
                judged = Judged(verdict="fail", why=f"the hidden number was not found: {said}")
        return NeedleAnswer(
            judged=judged,
            depth=depth,
            prompt_tokens=answer.prompt_tokens,
            refused=refused,
            seconds=reply.seconds,
            request=f"… {text[-200:]}",
            response=reply.body[:300].decode("utf-8", errors="replace"),
        )

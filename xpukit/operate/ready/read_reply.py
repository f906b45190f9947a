"""What stands in the replies of OpenAI-compatible servers: pure readers of parsed JSON that never raise."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from xpukit.core.json_document import BAD_JSON

# Thinking in the text itself, where no reasoning parser takes it out; the opening tag may be part of the prompt.
_THOUGHT = re.compile(r"^.*?</think>", re.DOTALL)
_OPEN_THOUGHT = re.compile(r"^\s*<think>", re.DOTALL)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A generated answer. `text` is None where the reply has none; `thinking` is apart from it."""

    text: str | None
    thinking: str = ""
    finish: str = ""
    logprobs: Any = None
    prompt_tokens: int | None = None

    @property
    def swallowed(self) -> bool:
        """Whether it ended by itself, and all of it is told as thoughts."""
        return self.finish != "length" and not (self.text or "").strip() and bool(self.thinking.strip())

    @property
    def shown(self) -> str | None:
        """What there is to judge: the answer, or where a model used up its tokens by thinking, its thoughts."""
        return self.thinking if not (self.text or "").strip() and self.thinking.strip() else self.text

    @property
    def unfinished(self) -> bool:
        """Whether the tokens ended before the answer began."""
        return self.finish == "length" and not (self.text or "").strip() and bool(self.thinking.strip())


def read_json(body: bytes) -> Any:
    """The parsed body; None where it is no JSON. NaN and Infinity, which servers write too, are floats."""
    try:
        return json.loads(body)
    except BAD_JSON:
        return None


def read_answer(reply: object) -> Answer:
    """A whole reply of chat or completions."""
    choice = first_of(get(reply, "choices"))
    message = get(choice, "message")
    text = get(message, "content") if isinstance(message, dict) else get(choice, "text")
    return make_answer(
        text,
        get(message, "reasoning_content") or get(message, "reasoning"),
        finish=get(choice, "finish_reason"),
        logprobs=get(choice, "logprobs"),
        prompt_tokens=get(get(reply, "usage"), "prompt_tokens"),
    )


def make_answer(
    text: object, thinking: object, *, finish: object = "", logprobs: object = None, prompt_tokens: object = None
) -> Answer:
    """An answer with its thoughts apart."""
    said = text if isinstance(text, str) else None
    thought = thinking if isinstance(thinking, str) else ""
    if said is not None and "</think>" in said:
        ended = _THOUGHT.match(said)
        cut = ended.end() if ended else 0
        thought, said = thought + said[:cut], said[cut:]
    elif said is not None and _OPEN_THOUGHT.match(said):
        thought, said = thought + said, ""
    if said is None and thought:
        said = ""
    return Answer(
        text=said,
        thinking=thought,
        finish=finish if isinstance(finish, str) else "",
        logprobs=logprobs,
        prompt_tokens=prompt_tokens if type(prompt_tokens) is int else None,
    )


def read_calls(reply: object) -> tuple[str, ...]:
    """Names of the tools that an answer without text calls."""
    message = get(first_of(get(reply, "choices")), "message")
    calls = get(message, "tool_calls")
    if get(message, "content") or not isinstance(calls, list):
        return ()
    return tuple(str(get(get(call, "function"), "name") or "?") for call in calls)


def read_error(body: bytes) -> str:
    """The message of an error reply, in one line; "" where there is none."""
    parsed = read_json(body)
    found = get(parsed, "error")
    for one in (get(found, "message"), found, get(parsed, "message"), get(parsed, "detail")):
        if isinstance(one, str) and one.strip():
            return " ".join(one.split())
    return " ".join(body.decode("utf-8", errors="replace").split())


def get(value: object, name: str) -> Any:
    """A field of a mapping, None of anything else."""
    return value.get(name) if isinstance(value, dict) else None


def first_of(value: object) -> Any:
    """The first of a list, None of anything else."""
    return value[0] if isinstance(value, list) and value else None

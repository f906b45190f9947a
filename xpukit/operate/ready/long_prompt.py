"""Prompts of a wanted number of tokens, without the model's tokenizer."""

from __future__ import annotations

import msgspec

from xpukit.facts.readiness import find_limit, load_prompts

# Where an endpoint counts no tokens: English text has about four characters a token, numbers fewer.
_CHARS_PER_TOKEN = 3.0


class LongPrompt(msgspec.Struct, frozen=True, kw_only=True):
    """Numbered lines of words, no two alike and no sum among them."""

    lines: int

    @property
    def text(self) -> str:
        """The lines, and an empty one."""
        words = load_prompts().filler
        count = len(words)
        rows = (
            f"{number:05d} {words[number % count]}, {words[number * 7 // count % count]}"
            for number in range(self.lines)
        )
        return "\n".join(rows) + "\n\n"


def measure_line(prompt: LongPrompt, counted: int | None) -> float:
    """Tokens of a line, from what the endpoint counted (the chat template's too: a little more than it is)."""
    if counted is not None and counted >= prompt.lines:
        return counted / prompt.lines
    return len(prompt.text) / prompt.lines / _CHARS_PER_TOKEN


def find_target(limit: int | None, level_tokens: int, room: int) -> tuple[int, int]:
    """Tokens of the prompt, and of the answer: near the endpoint's limit, but not beyond the level's (0: no such)."""
    if limit is None:
        tokens = int(find_limit("unknown_context_tokens"))
        return (min(tokens, level_tokens) if level_tokens else tokens), room
    room = max(1, min(room, limit // 8))
    near = max(1, int(limit * find_limit("share_of_context")) - room)
    return (min(near, level_tokens) if level_tokens else near), room

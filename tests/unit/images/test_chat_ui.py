"""The chat page's values: what is sent of a conversation, and how thoughts are told from answers."""

from __future__ import annotations

import base64
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpukit.facts.recipes import load_recipe


def load_messages() -> ModuleType:
    path = Path(load_recipe("chat-ui").folder) / "chat_messages.py"
    spec = importlib.util.spec_from_file_location("chat_messages", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


CHAT = load_messages()
TAGS = [tag for pair in CHAT.THOUGHT_TAGS for tag in pair]


@pytest.mark.parametrize(
    ("text", "thought", "answer", "still"),
    [
        ("42", "", "42", False),
        ("<think>six times seven</think>\n\n42", "six times seven", "42", False),
        ("<think>six times", "six times", "", True),
        ("six times seven</think>42", "six times seven", "42", False),
        ("[THINK]hm[/THINK]42", "hm", "42", False),
        ("<thi", "", "", True),
        ("\n<think>\n", "", "", True),
        ("a < b", "", "a < b", False),
        ("<b>bold</b>", "", "<b>bold</b>", False),
        ("", "", "", False),
        ("<think></think>42", "", "42", False),
    ],
)
def test_thoughts_are_told_from_the_answer(text: str, thought: str, answer: str, still: bool) -> None:
    assert CHAT.split_thought(text) == (thought, answer, still)


@given(st.text(max_size=30), st.text(min_size=1, max_size=30), st.sampled_from(CHAT.THOUGHT_TAGS))
def test_no_tag_is_shown_while_it_comes_in(thought: str, answer: str, tags: tuple[str, str]) -> None:
    if any(letter in thought + answer for letter in "<[") or not answer.strip():
        return
    whole = f"{tags[0]}{thought}{tags[1]}{answer}"
    for end in range(1, len(whole) + 1):
        said, shown, _ = CHAT.split_thought(whole[:end])
        assert not any(tag in said or tag in shown for tag in TAGS)
        # Until the closing tag is whole, nothing may be taken for the answer.
        assert end >= len(whole) - len(answer) or shown == ""
    assert CHAT.split_thought(whole) == (thought.strip(), answer.lstrip(), False)


def test_a_conversation_goes_back_without_its_thoughts(tmp_path: Path) -> None:
    picture = tmp_path / "a b.png"
    picture.write_bytes(b"\x89PNG")
    gone = str(tmp_path / "gone.png")
    history: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "file", "file": {"path": str(picture)}}]},
        {"role": "user", "content": [{"type": "text", "text": "what is it?"}]},
        {"role": "assistant", "content": "hm", "metadata": {"title": "Thinking"}},
        {"role": "assistant", "content": [{"type": "text", "text": "a cat"}], "metadata": None},
        {"role": "user", "content": {"path": gone}},
        {"role": "user", "content": "   "},
    ]
    messages = CHAT.build_messages(history, {"text": "and now?", "files": []}, "be short")
    url = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
    assert messages == [
        {"role": "system", "content": "be short"},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "what is it?"}],
        },
        {"role": "assistant", "content": "a cat"},
        {"role": "user", "content": "and now?"},
    ]


@pytest.mark.parametrize(
    ("name", "part"), [("x.png", "image_url"), ("x.WAV", "audio_url"), ("x.mp4", "video_url"), ("x.jpeg", "image_url")]
)
def test_media_are_parts_of_their_kind(tmp_path: Path, name: str, part: str) -> None:
    (tmp_path / name).write_bytes(b"123")
    found = CHAT.read_file(tmp_path / name)
    assert found["type"] == part
    assert found[part]["url"].startswith(f"data:{part.split('_', maxsplit=1)[0]}/")


@pytest.mark.parametrize("name", ["notes.txt", "model.safetensors", "archive.zip", "none"])
def test_other_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"123")
    with pytest.raises(CHAT.MediaError, match=name):
        CHAT.build_messages([], {"text": "", "files": [str(tmp_path / name)]})


def test_only_what_was_set_is_asked_for() -> None:
    assert CHAT.build_request("m", []) == {"model": "m", "messages": [], "stream": True}
    body = CHAT.build_request("m", [], temperature=0.0, max_tokens=0, thinking=False)
    assert body["temperature"] == 0.0
    assert "max_tokens" not in body
    assert body["chat_template_kwargs"]["enable_thinking"] is False
    assert CHAT.build_request("m", [], max_tokens=7)["max_tokens"] == 7


@pytest.mark.parametrize(
    ("event", "found"),
    [
        ({"choices": [{"delta": {"content": "a"}}]}, ("", "a")),
        ({"choices": [{"delta": {"reasoning_content": "t", "content": None}}]}, ("t", "")),
        ({"choices": [{"delta": {"reasoning": "t"}}]}, ("t", "")),
        ({"choices": [], "usage": {}}, ("", "")),
        ({"choices": [{"delta": None}]}, ("", "")),
        ({}, ("", "")),
    ],
)
def test_events_of_the_stream(event: dict[str, Any], found: tuple[str, str]) -> None:
    assert CHAT.read_delta(event) == found


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "too long"}}, "too long"),
        ({"error": "bad"}, "bad"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"message": "no", "object": "error"}, "no"),
        ("<html>", "<html>"),
        ("", "no text"),
    ],
)
def test_refusals_say_what_the_endpoint_said(body: object, said: str) -> None:
    assert CHAT.explain_refusal(400, body) == f"HTTP 400: {said}"

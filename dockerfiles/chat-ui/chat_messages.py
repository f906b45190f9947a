"""What is sent to the endpoint and what is shown of its answer: pure values, no network, no page."""

import base64
import mimetypes
from pathlib import Path

# How chat endpoints take media: one part a file. Both vLLM and SGLang take data: addresses in these three.
PARTS = {"image": "image_url", "audio": "audio_url", "video": "video_url"}
THINKING = "Thinking"
# Models without a reasoning parser write their thoughts into the answer, between these.
THOUGHT_TAGS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<seed:think>", "</seed:think>"))


class MediaError(ValueError):
    """A file that no chat endpoint takes."""


def build_messages(history, message, system=""):
    """The messages of a request from the page's history (with thoughts left out), the new message and a system prompt.

    `message`: {"text": str, "files": [path, ...]}. Raises MediaError for a file that is not an image, sound or video.
    """
    messages = [{"role": "system", "content": system}] if system.strip() else []
    for entry in history:
        if (entry.get("metadata") or {}).get("title", "").startswith(THINKING):
            continue
        parts = [part for item in _list_items(entry["content"]) for part in _read_item(item)]
        if not parts:
            continue
        # The page keeps each file and each text as a message of its own; one turn is one message.
        if messages and messages[-1]["role"] == entry["role"] and entry["role"] != "system":
            messages[-1]["content"].extend(parts)
        else:
            messages.append({"role": entry["role"], "content": parts})
    new = [read_file(path) for path in message.get("files") or ()]
    if (message.get("text") or "").strip():
        new.append({"type": "text", "text": message["text"]})
    if new:
        messages.append({"role": "user", "content": new})
    return [_flatten(one) for one in messages]


def build_request(model, messages, *, temperature=None, max_tokens=None, thinking=None):
    """The body of a streamed chat request. None leaves the engine's default; `thinking` True or False asks for it."""
    body = {"model": model, "messages": messages, "stream": True}
    if temperature is not None:
        body["temperature"] = temperature
    if max_tokens:
        body["max_tokens"] = int(max_tokens)
    if thinking is not None:
        body["chat_template_kwargs"] = {"enable_thinking": thinking, "thinking": thinking}
    return body


def read_file(path):
    """A file as a part of a message. Raises MediaError."""
    kind, _ = mimetypes.guess_type(str(path))
    family = (kind or "").split("/")[0]
    if kind is None or family not in PARTS:
        raise MediaError(f"{Path(path).name}: not an image, sound or video ({kind or 'unknown type'})")
    name = PARTS[family]
    return {"type": name, name: {"url": f"data:{kind};base64,{base64.b64encode(Path(path).read_bytes()).decode()}"}}


def split_thought(text):
    """(thought, answer, whether it is still thinking) of what has come so far.

    A closing tag alone counts: some chat templates put the opening one into the prompt.
    """
    start = text.lstrip()
    for opening, closing in THOUGHT_TAGS:
        before, tag, after = text.partition(closing)
        if tag:
            return before.strip().removeprefix(opening).strip(), after.lstrip(), False
        if start.startswith(opening):
            return start.removeprefix(opening).strip(), "", True
        if start and opening.startswith(start):  # half of a tag so far
            return "", "", True
    return "", text, False


def read_delta(event):
    """(thought, text) that an event of the stream adds; the thought of a reasoning parser has two names."""
    choices = event.get("choices") or [{}]
    delta = choices[0].get("delta") or {}
    return delta.get("reasoning_content") or delta.get("reasoning") or "", delta.get("content") or ""


def explain_refusal(status, body):
    """One line for an answer that is not a stream. `body`: its JSON, or its text."""
    said = body
    if isinstance(body, dict):
        said = body.get("error", body.get("message", body.get("detail", body)))
        said = said.get("message", said) if isinstance(said, dict) else said
    return f"HTTP {status}: {str(said)[:500] or 'no text'}"


def _list_items(content):
    return content if isinstance(content, list) else [content]


def _read_item(item):
    if isinstance(item, str):
        return [{"type": "text", "text": item}] if item.strip() else []
    if item.get("type") == "text":
        return [{"type": "text", "text": item["text"]}] if item["text"].strip() else []
    path = (item.get("file") or item).get("path", "")
    # Files of earlier turns may have been cleaned away; the conversation goes on without them.
    return [read_file(path)] if path and Path(path).is_file() else []


def _flatten(message):
    """Text alone as a plain string: endpoints of text models refuse lists of parts."""
    parts = message["content"]
    if isinstance(parts, str) or any(part["type"] != "text" for part in parts):
        return message
    return {**message, "content": "\n".join(part["text"] for part in parts)}

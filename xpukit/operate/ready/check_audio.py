"""Transcription: a short tone is sent. Only the form of the reply can be judged: a tone holds no words."""

from __future__ import annotations

import math
import struct
import time

from xpukit.operate.ready.gate import Gate
from xpukit.operate.ready.judge_text import judge_text
from xpukit.operate.ready.read_reply import get
from xpukit.operate.ready.result import Judged

_RATE = 16_000
_BOUNDARY = "xpukit-check-7d1c"


def make_tone(seconds: float = 1.0, hertz: float = 440.0) -> bytes:
    """A WAV file, 16 kHz, 16 bit, one channel."""
    count = int(_RATE * seconds)
    samples = b"".join(
        struct.pack("<h", int(8000 * math.sin(2 * math.pi * hertz * place / _RATE))) for place in range(count)
    )
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1, _RATE, _RATE * 2,
                       2, 16, b"data", len(samples))  # fmt: skip
    return head + samples


def judge_transcript(reply: object) -> Judged:
    """A text field; of a tone it may be empty. Never raises."""
    text = get(reply, "text")
    if not isinstance(text, str):
        return Judged(verdict="fail", why="the reply has no text")
    judged = judge_text(text) if text.strip() else None
    if judged is not None and judged.verdict != "pass":
        return Judged(verdict="warn", why=f"of a tone: {judged.why}")
    return Judged(verdict="pass", why="form only: a tone was sent, no speech")


def check_transcription(gate: Gate) -> None:
    """Send the tone."""
    began = time.monotonic()
    dash = f"--{_BOUNDARY}\r\n".encode()
    fields = (
        dash + b'Content-Disposition: form-data; name="model"\r\n\r\n' + gate.endpoint.model.encode() + b"\r\n"
        + dash + b'Content-Disposition: form-data; name="file"; filename="tone.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    )  # fmt: skip
    body = fields + make_tone() + f"\r\n--{_BOUNDARY}--\r\n".encode()
    content_type = f"multipart/form-data; boundary={_BOUNDARY}"
    shown = f"a form with model {gate.endpoint.model} and tone.wav (1 s of 440 Hz)"
    exchange = gate.post_bytes("transcription", body, shown=shown, content_type=content_type)
    if refusal := gate.find_refusal("transcription", exchange):
        judged = Judged(verdict="not-applicable", why=refusal)
    else:
        judged = gate.judge_reply(exchange) or judge_transcript(exchange.parsed)
    gate.add_result("transcription", "transcription", judged, exchange, began=began)

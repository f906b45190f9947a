"""Nodes of ComfyUI that ask an OpenAI-compatible endpoint; written by `xpukit serve --with-ui comfyui`.

The model runs behind the endpoint: ComfyUI itself needs no GPU for these nodes.
"""

import base64
import io
import json
import os
import urllib.error
import urllib.request

URL = os.environ.get("XPUKIT_UI_URL", "@URL@")
MODEL = os.environ.get("XPUKIT_UI_MODEL", "@MODEL@")
READ_LIMIT_S = 600
# Some models write their thoughts into the answer, up to this; a reasoning parser sends them apart.
THOUGHT_END = "</think>"


class XpukitChat:
    """One question, with an image where one is connected; the answer and the thoughts are texts."""

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "prompt": ("STRING", {"multiline": True, "default": "What is in this picture?"}),
                "system": ("STRING", {"multiline": True, "default": ""}),
                "model": ("STRING", {"default": MODEL}),
                "temperature": ("FLOAT", {"default": 0.7, "min": 0.0, "max": 2.0, "step": 0.05}),
                "max_tokens": ("INT", {"default": 1024, "min": 1, "max": 1_000_000}),
            },
            "optional": {"image": ("IMAGE",)},
        }

    RETURN_TYPES = ("STRING", "STRING")
    RETURN_NAMES = ("answer", "thoughts")
    FUNCTION = "ask"
    CATEGORY = "xpukit"

    def ask(self, prompt, system, model, temperature, max_tokens, image=None):
        content = prompt
        if image is not None:
            pictures = [{"type": "image_url", "image_url": {"url": encode_image(one)}} for one in image]
            content = [*pictures, {"type": "text", "text": prompt}]
        model = model or get("/models")["data"][0]["id"]
        messages = [{"role": "system", "content": system}] if system.strip() else []
        messages.append({"role": "user", "content": content})
        reply = post("/chat/completions", {
            "model": model, "messages": messages, "temperature": temperature, "max_tokens": max_tokens,
        })  # fmt: skip
        message = reply["choices"][0]["message"]
        text = message.get("content") or ""
        thoughts = message.get("reasoning_content") or message.get("reasoning") or ""
        if not thoughts and THOUGHT_END in text:
            thoughts, _, text = text.partition(THOUGHT_END)
            thoughts = thoughts.replace("<think>", "").strip()
        return (text.strip(), thoughts)


def encode_image(picture):
    """A picture (height, width, channels; 0 to 1) as a data: address of a PNG."""
    import numpy
    from PIL import Image

    values = numpy.clip(255.0 * numpy.asarray(picture, dtype=numpy.float32), 0, 255).astype(numpy.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def get(path):
    """The JSON that the endpoint answers. Raises RuntimeError with what it said."""
    return _ask(path, None)


def post(path, body):
    """The same, for a request with a body."""
    return _ask(path, json.dumps(body).encode())


def _ask(path, data):
    headers = {"Content-Type": "application/json"}
    key = os.environ.get("XPUKIT_UI_API_KEY", "")
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(URL + path, data, headers)
    # Proxies of the environment are for the outside; the engine is a neighbour.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=READ_LIMIT_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as err:
        raise RuntimeError(f"{URL}{path}: HTTP {err.code}: {err.read(500).decode(errors='replace')}") from err
    except (OSError, ValueError) as err:
        raise RuntimeError(f"{URL}{path}: {err}") from err


NODE_CLASS_MAPPINGS = {"XpukitChat": XpukitChat}
NODE_DISPLAY_NAME_MAPPINGS = {"XpukitChat": "Ask the endpoint"}

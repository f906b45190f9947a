"""ComfyUI with a node and a workflow that ask the endpoint: a script that sets it up, beside the form's files.

The set-up follows the vendor's guide (intel/llm-scaler, vllm/webui/multimodal_comfyui/README.md, read 2026-11-21), but
not for the model: there ComfyUI loads it, here it stays behind the endpoint.
"""

from __future__ import annotations

import json
from typing import Any

from xpukit.facts.comfyui import load_comfyui
from xpukit.facts.paths import shipped_dir
from xpukit.serve.forms import FormFile
from xpukit.serve.webui import UiPage

NAME = "comfyui"
SUMMARY = "a script that sets ComfyUI up with a node and a workflow that ask the endpoint"
HAS_USERS = False
PORT = load_comfyui().port
_FOLDER = "comfyui"
_QUESTION = "What is in this picture?"


def write_service(page: UiPage) -> dict[str, Any]:
    """None: there is no image of it."""
    del page
    return {}


def write_files(page: UiPage) -> tuple[FormFile, ...]:
    """The script, the node and the workflow, in a directory of their own."""
    names = {
        "@URL@": page.url,
        "@MODEL@": page.model,
        "@PORT@": str(page.port),
        "@TAG@": load_comfyui().tag,
        "@REPOSITORY@": load_comfyui().repository,
        "@KEY_HINT@": f'XPUKIT_UI_API_KEY="\\${page.key}" ' if page.key else "",
    }
    return (
        FormFile(name=f"{_FOLDER}/install.sh", text=_fill("install.sh", names), executable=True),
        FormFile(name=f"{_FOLDER}/xpukit_endpoint/__init__.py", text=_fill("node.py", names)),
        FormFile(name=f"{_FOLDER}/workflow.json", text=json.dumps(write_workflow(page), indent=2) + "\n"),
    )


def write_workflow(page: UiPage) -> dict[str, Any]:
    """An image, the question, and the answer beside the thoughts, in ComfyUI's workflow format 0.4.

    Source of the format: ComfyUI's documentation, specs/workflow_json, read on 2026-11-21.
    """
    ask = {
        "id": 2,
        "type": "XpukitChat",
        "pos": [420, 80],
        "size": [420, 340],
        "inputs": [{"name": "image", "type": "IMAGE", "link": 1}],
        "outputs": [
            {"name": "answer", "type": "STRING", "links": [2], "slot_index": 0},
            {"name": "thoughts", "type": "STRING", "links": [3], "slot_index": 1},
        ],
        "widgets_values": [_QUESTION, "", page.model, 0.7, 1024],
    }
    load = {
        "id": 1,
        "type": "LoadImage",
        "pos": [60, 80],
        "size": [320, 320],
        "inputs": [],
        "outputs": [
            {"name": "IMAGE", "type": "IMAGE", "links": [1], "slot_index": 0},
            {"name": "MASK", "type": "MASK", "links": None},
        ],
        "widgets_values": ["example.png", "image"],
    }
    shown = [
        {
            "id": number,
            "type": "PreviewAny",
            "title": title,
            "pos": [880, top],
            "size": [420, 200],
            "inputs": [{"name": "source", "type": "*", "link": number - 1}],
            "outputs": [],
            "widgets_values": [],
        }
        for number, title, top in ((3, "Answer", 80), (4, "Thoughts", 320))
    ]
    nodes = [
        {**node, "flags": {}, "order": order, "mode": 0, "properties": {"Node name for S&R": node["type"]}}
        for order, node in enumerate((load, ask, *shown))
    ]
    return {
        "last_node_id": len(nodes),
        "last_link_id": 3,
        "nodes": nodes,
        "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "STRING"], [3, 2, 1, 4, 0, "STRING"]],
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def _fill(name: str, names: dict[str, str]) -> str:
    text = (shipped_dir("dockerfiles") / "_comfyui" / name).read_text(encoding="utf-8")
    for mark, value in names.items():
        # In Python the value stands inside quotes: an address or name cannot end them.
        text = text.replace(mark, json.dumps(value)[1:-1] if name.endswith(".py") else value)
    return text

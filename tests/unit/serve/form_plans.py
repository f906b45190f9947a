"""Plans for the tests of forms. They are saved, so that a change of the planner does not change what the forms are given.

`python -m tests.unit.serve.form_plans` in the repository's root saves them anew; after that, run the tests of forms with --update-golden.
"""

from __future__ import annotations

import contextlib
import io
import json
from functools import cache
from pathlib import Path

import msgspec

from xpukit.cli import app
from xpukit.serve.plan_types import Plan

DATA = Path(__file__).parents[2] / "data" / "forms"
_EIGHT = "--from tests/machines/recorded/b60x8_2s.tar.xz"
_FOUR = "--from tests/machines/recorded/b60x4_bmc.tar.xz"
_HUGE = "internlm/Intern-S1-Pro --platform 2x8xH200 --nodes 10.0.0.1,10.0.0.2"
LINES = {
    "one": f"Qwen/Qwen3-8B {_FOUR} --gpu 0 --tp 1 -c 8192 --engine llm-scaler-vllm",
    "tp2": f"Qwen/Qwen3-8B {_EIGHT} --gpu 0,1,4,5 --tp 2 --replicas 1 -c 8192 --engine llm-scaler-vllm",
    "replicas": f"Qwen/Qwen3-8B {_EIGHT} --tp 2 --replicas 2 -c 8192 --engine llm-scaler-vllm --api-key-env SERVER_KEY",
    "native": f"Qwen/Qwen3-8B {_EIGHT} --tp 2 --replicas 2 -c 8192 --engine vllm --api-key-env SERVER_KEY",
    "local": "/data/models/small --config tests/data/forms/config.json --platform 4xB60 --gpu 1 --tp 1 --engine llm-scaler-vllm"
    " --env NOTE=50%_of_$HOME",
    "nvidia": "OpenGVLab/InternVL3-38B --platform 2xA100 --tp 2 --engine lmdeploy --api-key-env SERVER_KEY",
    "ray": f"{_HUGE} --tp 16 --ep 16 --executor ray --engine vllm -c 65536 --api-key-env SERVER_KEY",
    "dp": f"{_HUGE} --tp 1 --dp 16 --ep 16 --engine vllm -c 65536",
    "sglang": f"{_HUGE} --tp 16 --engine sglang -c 65536 --api-key-env SERVER_KEY",
    "proxy": f"{_HUGE} --tp 1 --dp 16 --ep 16 --engine lmdeploy --proxy http://10.0.0.1:8001 -c 65536",
}
INTEL = ("one", "tp2", "replicas", "native", "local")
SEVERAL = ("ray", "dp", "sglang", "proxy")


@cache
def load_plan(name: str) -> Plan:
    """A saved plan."""
    return msgspec.convert(json.loads((DATA / "plans" / f"{name}.json").read_text(encoding="utf-8")), Plan)


def run_line(*words: str) -> tuple[int, str, str]:
    """`xpukit serve` with these words: exit code, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = app.run(["serve", *words])
    return code, out.getvalue(), err.getvalue()


def save_plans() -> None:
    """Plan each line anew."""
    for name, line in LINES.items():
        code, _, err = run_line(*line.split(), "--save", str(DATA / "plans" / f"{name}.json"), "--form", "shell")
        if code:
            raise SystemExit(f"{name}: exit {code}: {err}")


if __name__ == "__main__":
    save_plans()

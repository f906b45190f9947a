"""`xpukit bench` with engines that it starts itself: as containers of a real daemon, and as processes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from tests.live.docker_engine import DockerEngine
from tests.live.openai_stub import SMOKE, find_port
from tests.live.smoke_base import BASE, import_base
from tests.live.test_check import move_plan
from tests.live.test_serve_forms import plan_here
from tests.unit.operate import bench_samples as samples
from tests.unit.serve.form_plans import load_plan
from xpukit.cli import app
from xpukit.core.json_document import build_document, encode_json
from xpukit.serve.plan_types import Plan, Variable

pytestmark = pytest.mark.live
REPO = Path(__file__).resolve().parents[2]
STUB = Path(__file__).with_name("openai_stub.py")
IMAGE = "xpukit-test/bench-vllm:1"
# The stub in the place of vLLM; its benchmark prints a table that vLLM's does.
PROGRAM = f"""#!/bin/sh
if [ "$1" = bench ]; then
  echo "$@" > /tmp/bench-words
  cat <<'END'
{samples.VLLM_TABLE}
END
  exit 0
fi
exec python3 /opt/tests/live/openai_stub.py "$@"
"""


def run_bench(*words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the JSON document, standard error."""
    said, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(err):
        code = app.run(["bench", *words, "--json"])
    return code, json.loads(said.getvalue()), err.getvalue()


def make_image(engine: DockerEngine) -> str:
    """The stub on the base that has a Python."""
    import_base(engine)
    files = {
        f"opt/dockerfiles/smoke/{name}": (SMOKE / name).read_bytes() for name in ("stub_engine.py", "stub_answers.py")
    }
    files |= {"opt/tests/live/openai_stub.py": STUB.read_bytes(), "usr/bin/vllm": PROGRAM.encode()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    made = engine.docker("create", BASE, "true")
    engine.docker("cp", "-", f"{made}:/", stdin=buffer.getvalue())
    engine.docker("commit", made, IMAGE)
    engine.docker("rm", made)
    return IMAGE


SavePlan = Callable[..., str]


@pytest.fixture
def save_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SavePlan:
    """Saves a plan of one engine in a container (or `native`) of this machine; its path. `failure`: STUB_FAIL inside."""
    monkeypatch.setenv("SERVER_KEY", "k3y-of-the-test")

    def save(name: str, failure: str = "", image: str = IMAGE, *, native: bool = False) -> str:
        plan = load_plan("native")
        if not native:
            plan = plan_here(load_plan("replicas"))
            plan = msgspec.structs.replace(plan, engine=msgspec.structs.replace(plan.engine, image=image))
        plan = move_plan(plan, find_port())
        if failure:
            plan = add_variable(plan, Variable(name="STUB_FAIL", value=failure, why="of the test"))
        path = tmp_path / f"{name}.plan.json"
        path.write_text(encode_json(build_document("xpukit.plan/1", "h", plan)))
        return str(path)

    return save


def add_variable(plan: Plan, variable: Variable) -> Plan:
    launches = tuple(
        msgspec.structs.replace(
            one,
            variables=(*one.variables, variable),
            container_variables=(*(one.container_variables or one.variables), variable),
        )
        for one in plan.launches
    )
    return msgspec.structs.replace(plan, launches=launches)


def write_matrix(folder: Path, form: str, **plans: str) -> str:
    lines = [
        'schema = "xpukit.bench-matrix/1"', f'form = "{form}"', "concurrency = [1, 2]", "warmup = 0",
        "[[lengths]]", "input_len = 32", "output_len = 8", "requests = 6",
    ]  # fmt: skip
    for name, plan in plans.items():
        lines += ["[[model]]", f'name = "Qwen/{name}"', f"plan = {json.dumps(plan)}"]
    path = folder / "matrix.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def tell(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {point["name"]: (point["verdict"], point["reason"]) for point in document["points"]}


@pytest.mark.slow
def test_a_matrix_of_containers(
    open_engine: DockerEngine, save_plan: SavePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good engine, one whose image is not there, one that answers wrongly, and one that ends under load."""
    monkeypatch.setenv("DOCKER_HOST", open_engine.address)
    make_image(open_engine)
    matrix = write_matrix(
        tmp_path,
        "docker",
        good=save_plan("good"),
        lost=save_plan("lost", image="xpukit-test/not-there:1"),
        wrong=save_plan("wrong", "bad-math"),
        dies=save_plan("dies", "crash-after=20"),
    )
    words = ["run", matrix, "--api-key-env", "SERVER_KEY", "--out", str(tmp_path / "run"), "--ready-timeout", "60"]
    code, document, err = run_bench(*words)
    assert code == 1, err
    found = tell(document)
    for place in ("c1", "c2"):
        assert found[f"good-32-8-{place}"][0] == "no-baseline"
        verdict, reason = found[f"lost-32-8-{place}"]
        assert (verdict, "not-there" in reason) == ("unknown", True), reason
        verdict, reason = found[f"wrong-32-8-{place}"]
        assert verdict == "unknown"
        assert reason.startswith("its answers are not right: chat-arithmetic: wrong arithmetic")
    died = [point for point in document["points"] if point["name"].startswith("dies")]
    told = [note for point in died for run in point["runs"] for note in run["notes"]]
    assert any("ended under this load with exit code 1" in text for text in (*told, *(one["reason"] for one in died)))
    # It was started again for what came after it.
    assert "starting dies again" in err
    schema = json.loads((REPO / "docs" / "schemas" / "xpukit.bench-1.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)
    assert "Predicted and measured" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert open_engine.list_left() == []
    assert "k3y-of-the-test" not in json.dumps(document) + err
    # What is done is not started again; what failed is.
    code, document, err = run_bench(*words, "--resume")
    assert "starting good" not in err
    assert "starting lost" in err

    # The engine's own benchmark runs in the container that was started.
    matrix = write_matrix(tmp_path, "docker", good=save_plan("good"))
    words = ["run", matrix, "--client", "vllm", "--api-key-env", "SERVER_KEY", "--out", str(tmp_path / "own")]
    code, document, err = run_bench(*words)
    assert [run["format"] for point in document["points"] for run in point["runs"]] == ["vllm-table"] * 2
    assert "docker exec -e OPENAI_API_KEY xpukit-bench-0 timeout" in err
    assert "k3y-of-the-test" not in json.dumps(document) + err

    # A stress run watches the container's memory.
    stress = ["stress", "--plan", save_plan("leaks", "leak=25"), "--form", "docker", "--api-key-env", "SERVER_KEY"]
    load = [
        "--input",
        "32",
        "--output",
        "8",
        "--requests",
        "6",
        "--concurrency",
        "2",
        "--no-gpus",
        "--tolerance",
        "1000",
    ]
    bound = ["--rounds", "20", "--baseline", "2", "--window", "2", "--out", str(tmp_path / "stress")]
    code, document, err = run_bench(*stress, *load, *bound)
    assert code == 1, err
    memory = {one["name"]: one["verdict"] for one in document["series"] if one["unit"] == "bytes"}
    assert "fail" in (memory["container_bytes"], memory["engine_rss_bytes"])
    assert memory["container_bytes"] in ("fail", "pass")
    assert open_engine.list_left() == []


def test_a_matrix_of_processes(save_plan: SavePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell form, without Docker: started, measured, ended; what `--plan` predicts beside a running server."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "vllm").write_text(f'#!/bin/sh\nexec {sys.executable} {STUB} "$@"\n')
    (programs / "vllm").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    matrix = write_matrix(
        tmp_path,
        "shell",
        small=save_plan("small", native=True),
        full=save_plan("full", "oom-above=100", native=True),
    )
    out = tmp_path / "run"
    code, document, err = run_bench("run", matrix, "--api-key-env", "SERVER_KEY", "--out", str(out))
    assert code == 3, err
    found = tell(document)
    assert found["small-32-8-c1"][0] == "no-baseline"
    small = document["points"][0]
    assert [one["metric"] for one in small["predictions"]] == ["tpot_median", "output_throughput", "ttft_median"]
    for one in small["predictions"]:
        assert one["error"] == pytest.approx(one["measured"] / one["predicted"] - 1, abs=1e-3)
        assert one["source"].startswith("published: ")
    verdict, reason = found["full-32-8-c2"]
    assert verdict == "unknown"
    assert "[XPK-LOG-" in reason
    # What does not start is started once, not for each of its rows.
    assert err.count("starting full") == 1
    logs = sorted(path.parent.parent.name for path in out.glob("engines/*/start-1/engine.log"))
    assert logs == ["full", "small"]
    assert run_bench("run", matrix, "--url", "http://127.0.0.1:1")[0] == 2
    assert run_bench("run", matrix, "--form", "swarm-ray", "--out", str(tmp_path / "x"))[0] in (2, 3)

"""The page's server: who may ask, what is answered, and that the answers are the planner's own."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from tests.unit.serve.test_planner import MODELS, plan_on, plan_platform
from tests.unit.serve.web_client import HOST, JSON, RecordedDesk, ask_app, post_plan
from xpukit.cli import app as cli
from xpukit.cli import serve_web
from xpukit.cli.serve_web import make_query
from xpukit.core.errors import UsageError
from xpukit.facts.platforms import list_gpus
from xpukit.serve.forms import FormOptions, list_forms, render_form
from xpukit.serve.plan_types import Plan
from xpukit.serve.questions import describe_fit
from xpukit.serve.request import ServeRequest
from xpukit.serve.request_words import FIELDS, Output
from xpukit.serve.web.app import make_app
from xpukit.serve.web.draw_picture import draw_picture
from xpukit.serve.web.guard import BODY_LIMIT_BYTES, AsgiApp, strip_port
from xpukit.serve.web.read_body import FILE_FIELDS
from xpukit.serve.web.server import open_socket

STATIC = Path(__file__).resolve().parents[3] / "xpukit" / "serve" / "web" / "static"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def app() -> AsgiApp:
    return make_app(RecordedDesk(), ServeRequest(model=""))


# ---- who may ask ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1:8470", "localhost:9999", "LOCALHOST", "[::1]:8470", "127.0.0.1"])
def test_loopback_names_are_answered(app: AsgiApp, host: str) -> None:
    assert ask_app(app, "GET", "/", headers=(("host", host),)).status == 200


@pytest.mark.parametrize(
    "hosts",
    [
        ("attacker.example",),
        ("127.0.0.1.attacker.example:8470",),
        ("localhost.attacker.example",),
        ("10.0.0.1:8470",),
        ("127.0.0.1:8470@attacker.example",),
        ("::1",),
        ("",),
        (),
        ("127.0.0.1", "attacker.example"),
    ],
)
def test_other_names_are_refused(app: AsgiApp, hosts: tuple[str, ...]) -> None:
    headers = (*(("host", host) for host in hosts), JSON)
    for method, path in (("GET", "/"), ("GET", "/facts"), ("POST", "/plan")):
        assert ask_app(app, method, path, headers=headers, body=b"{}").status == 421


def test_ports_are_taken_off() -> None:
    assert [strip_port(text) for text in ("a:1", "a", "[::1]:1", "[::1]", "a:b")] == ["a", "a", "[::1]", "[::1]", "a:b"]


@pytest.mark.parametrize("origin", ["http://attacker.example", "null", "https://127.0.0.1:8470", "http://127.0.0.1:1"])
def test_another_origin_is_refused(app: AsgiApp, origin: str) -> None:
    headers = (HOST, JSON, ("origin", origin))
    assert ask_app(app, "POST", "/plan", headers=headers, body=b"{}").status == 403


def test_our_own_origin_is_answered(app: AsgiApp) -> None:
    headers = (HOST, JSON, ("origin", "http://127.0.0.1:8470"), ("sec-fetch-site", "same-origin"))
    assert ask_app(app, "POST", "/plan", headers=headers, body=b"{}").status == 200


@pytest.mark.parametrize(
    ("path", "mode", "status"),
    [("/", "navigate", 200), ("/facts", "navigate", 403), ("/facts", "no-cors", 403), ("/app.js", "no-cors", 403)],
)
def test_from_another_site_only_the_page_can_be_opened(app: AsgiApp, path: str, mode: str, status: int) -> None:
    headers = (HOST, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode))
    assert ask_app(app, "GET", path, headers=headers).status == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/plan", 405),
        ("DELETE", "/", 405),
        ("OPTIONS", "/plan", 405),
        ("GET", "/plan", 405),
        ("POST", "/facts", 405),
        ("POST", "/", 405),
        ("GET", "/static/../app.py", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/docs", 404),
    ],
)
def test_there_is_nothing_else(app: AsgiApp, method: str, path: str, status: int) -> None:
    reply = ask_app(app, method, path, headers=(HOST, JSON), body=b"{}")
    assert reply.status == status
    assert "content-security-policy" in reply.headers


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_form_of_another_page_cannot_send_choices(app: AsgiApp, kind: str) -> None:
    assert ask_app(app, "POST", "/plan", headers=(HOST, ("content-type", kind)), body=b"{}").status == 415


def test_a_large_body_is_cut_off(app: AsgiApp) -> None:
    parts = [b" " * 4096] * (BODY_LIMIT_BYTES // 4096 + 2)
    assert ask_app(app, "POST", "/plan", headers=(HOST, JSON), parts=parts).status == 413


def test_a_body_in_parts_is_read(app: AsgiApp) -> None:
    data = json.dumps({"model": "Qwen/Qwen3-8B"}).encode()
    reply = ask_app(app, "POST", "/plan", headers=(HOST, JSON), parts=[data[:7], data[7:], b""])
    assert reply.document["plan"]["model"]["id"] == "Qwen/Qwen3-8B"


# ---- what is sent -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"nonsense",
        b"\xff\xfe",
        b"[" * 5000,
        b'{"model": 7}',
        b'{"model": "a", "tp": "many"}',
        b'{"model": "a", "tp": 0}',
        b'{"model": "a", "tp": -1}',
        b'{"model": "a", "port": 70000}',
        b'{"model": "a", "utilization": 7}',
        b'{"model": "a", "pinning": "sometimes"}',
        b'{"model": "a", "surprise": 1}',
        b'{"model": "a", "privileged": "yes"}',
        b'{"model": "a\\u0000b"}',
        b'{"model": "a", "config_file": "/etc/shadow"}',
        b'{"model": "a", "schema_file": "/etc/passwd"}',
        b'{"model": "a", "model_inside": "/x"}',
        json.dumps({"model": "a" * 5000}).encode(),
        json.dumps({"model": "a", "extras": ["x"] * 100}).encode(),
    ],
)
def test_what_is_no_choice_is_refused(app: AsgiApp, body: bytes) -> None:
    reply = ask_app(app, "POST", "/plan", headers=(HOST, JSON), body=body)
    assert reply.status == 400
    assert reply.document["error"]["message"]
    assert reply.document["error"]["hint"]


def test_a_file_that_the_command_line_named_may_be_named() -> None:
    given = ServeRequest(model="", schema_file="/nowhere/flags.json")
    reply = post_plan(make_app(RecordedDesk(), given), model="Qwen/Qwen3-8B", schema_file="/nowhere/flags.json")
    assert reply.status == 200
    assert "/nowhere/flags.json" in reply.document["error"]["message"]


# ---- what is answered -------------------------------------------------------------------------------------------


CASES: tuple[dict[str, Any], ...] = (
    {"model": "Qwen/Qwen3-8B"},
    {"model": "Qwen/Qwen3-30B-A3B", "quantization": "fp8", "context": 16384, "thinking": True, "form": "docker"},
    {"model": "internlm/Intern-S1", "platform": "8xH200", "engine": "sglang", "tools": True},
    {"model": "internlm/Intern-S1-Pro", "platform": "2x8xH200", "tp": 16, "ep": 16, "engine": "vllm:0.16.0"},
    {"model": "BAAI/bge-m3", "platform": "1xB580", "objective": "latency", "extras": ["--seed", "7"]},
)


@pytest.mark.parametrize("case", CASES)
def test_the_answer_is_the_planners(app: AsgiApp, case: dict[str, Any]) -> None:
    asked = {name: tuple(value) if isinstance(value, list) else value for name, value in case.items() if name != "form"}
    plan = plan_platform(**asked) if "platform" in asked else plan_on("b60x8_2s", **asked)
    answer = post_plan(app, **case).document
    assert answer["error"] is None
    shown = answer["plan"]
    assert shown["fit"] == json.loads(msgspec.json.encode(describe_fit(plan)))
    assert shown["choices"] == json.loads(msgspec.json.encode(plan.choices))
    assert shown["parallelism"] == plan.parallelism.describe()
    files = render_form(case.get("form", "shell"), plan, FormOptions())
    assert [(file["name"], file["text"]) for file in answer["files"]] == [(file.name, file.text) for file in files]
    words = shlex.split(answer["line"])
    assert words[:3] == ["xpukit", "serve", case["model"]]
    flags = [" ".join(flag.words) for launch in plan.launches for flag in launch.flags]
    assert [one["words"] for one in shown["words"] if one["kind"] != "variable"] == flags


@pytest.mark.parametrize("gpu", [gpu.name for gpu in list_gpus()])
def test_every_model_on_every_platform_has_an_answer(app: AsgiApp, gpu: str) -> None:
    # A quarter of the models each: the time is the planner's, and other tests plan all of them.
    first = [one.name for one in list_gpus()].index(gpu) % 4
    for model in MODELS[first::4]:
        answer = post_plan(app, model=model, platform=f"4x{gpu}").document
        assert answer["error"] is None or answer["error"]["hint"], model
        if answer["plan"] and answer["plan"]["fit"]["fits"]:
            assert answer["files"], model
        assert answer["options"]["quantization"], model


@pytest.mark.parametrize("form", [form.NAME for form in list_forms()])
def test_every_form_is_written_or_says_why_not(app: AsgiApp, form: str) -> None:
    answer = post_plan(app, model="Qwen/Qwen3-8B", form=form).document
    assert bool(answer["files"]) != bool(answer["form_error"])
    assert answer["files"] or answer["form_error"]["message"]
    assert form == "shell" or f"-f {form}" in answer["line"]


def test_an_error_of_the_planner_keeps_what_can_be_chosen(app: AsgiApp) -> None:
    answer = post_plan(app, model="Qwen/Qwen3-8B", platform="8xH200", engine="sglang", quantization="sym_int4").document
    assert "sym_int4" in answer["error"]["message"]
    assert answer["error"]["hint"]
    assert answer["plan"] is None
    assert not answer["files"]
    possible = [one["value"] for one in answer["options"]["quantization"] if one["possible"]]
    assert possible
    assert "sym_int4" not in possible
    assert post_plan(app, model="Qwen/Qwen3-8B", platform="8xH200", engine="sglang", quantization=possible[0]).document[
        "plan"
    ]


@pytest.mark.parametrize(
    "wrong",
    [{"tp": 7}, {"engine": "no-such-engine"}, {"platform": "8xAbacus"}, {"gpus": ["99"]}, {"form": "clay-tablet"}],
)
def test_errors_come_with_a_hint(app: AsgiApp, wrong: dict[str, Any]) -> None:
    answer = post_plan(app, model="Qwen/Qwen3-8B", **wrong).document
    error = answer["error"] or answer["form_error"]
    assert error["message"]
    assert error["hint"]


def test_no_model_is_no_crash(app: AsgiApp) -> None:
    assert "no model" in post_plan(app).document["error"]["message"]


def test_what_does_not_fit_says_what_would_help(app: AsgiApp) -> None:
    answer = post_plan(app, model="meta-llama/Llama-3.1-70B", platform="1xB580").document
    assert not answer["plan"]["fit"]["fits"]
    assert answer["plan"]["fit"]["short_bytes"] > 0
    assert answer["plan"]["fit"]["ways_out"]
    assert answer["files"] == []
    assert answer["form_error"] is None


def test_facts_hold_all_there_is() -> None:
    desk = RecordedDesk()
    facts = ask_app(make_app(desk, ServeRequest(model="")), "GET", "/facts").document
    assert {one["id"] for one in facts["models"]} == set(MODELS)
    assert {one["value"] for one in facts["gpus"]} == {gpu.name for gpu in list_gpus()}
    assert {one["value"] for one in facts["forms"]} == {form.NAME for form in list_forms()}
    assert {one["name"] for one in facts["fields"]} == {field.name for field in FIELDS}
    assert facts["here"] == "b60x8_2s"
    assert desk.refreshed == 1


def test_a_machine_without_a_gpu_says_so() -> None:
    facts = ask_app(make_app(RecordedDesk(""), ServeRequest(model="")), "GET", "/facts").document
    assert facts["here"] == ""
    assert "no GPU" in facts["here_error"]


# ---- the picture ------------------------------------------------------------------------------------------------


def read_picture(plan: Plan) -> ElementTree.Element:
    return ElementTree.fromstring(draw_picture(plan))


def count_used(picture: ElementTree.Element) -> int:
    return sum(rect.get("class") == "gpu used" for rect in picture.iter(f"{SVG}rect"))


@pytest.mark.parametrize(
    ("platform", "asked", "drawn", "used"),
    [
        ("8xB60", {}, 8, 2),
        ("8xB60", {"replicas": 3}, 8, 6),
        ("2x8xH200", {"model": "internlm/Intern-S1-Pro", "tp": 16, "ep": 16, "engine": "vllm"}, 16, 16),
        ("2xMax1550", {"model": "Qwen/Qwen3-32B", "tp": 2}, 4, 2),
        ("16x1xB60", {"tp": 16, "model": "meta-llama/Llama-3.1-70B"}, 4, 4),
    ],
)
def test_the_picture_shows_what_is_used(platform: str, asked: dict[str, Any], drawn: int, used: int) -> None:
    picture = read_picture(plan_platform(platform, **asked))
    boxes = [rect for rect in picture.iter(f"{SVG}rect") if (rect.get("class") or "").startswith("gpu")]
    assert len(boxes) == drawn
    assert count_used(picture) == used


def test_the_picture_stays_inside_itself_and_tells_itself() -> None:
    picture = read_picture(plan_on("b60x8_2s"))
    _, _, width, height = map(float, (picture.get("viewBox") or "").split())
    for rect in picture.iter(f"{SVG}rect"):
        left, top, wide, tall = (float(rect.get(name) or 0) for name in ("x", "y", "width", "height"))
        assert left >= 0
        assert left + wide <= width
        assert top + tall <= height
    assert "NUMA node 0: GPU0, GPU1 used of 4; NUMA node 1: none used of 4" in (picture.get("aria-label") or "")


def test_names_of_the_machine_are_escaped() -> None:
    plan = plan_on("b60x8_2s")
    evil = '<script>alert("1")</script>'
    gpus = tuple(msgspec.structs.replace(gpu, name=evil) for gpu in plan.machine.gpus)
    machine = msgspec.structs.replace(plan.machine, gpus=gpus)
    text = draw_picture(msgspec.structs.replace(plan, machine=machine))
    assert "<script" not in text
    assert evil in (ElementTree.fromstring(text).findtext(f".//{SVG}title") or "")


# ---- the files of the page --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind"), [("/", "text/html"), ("/app.css", "text/css"), ("/app.js", "text/javascript")]
)
def test_files_are_sent(app: AsgiApp, path: str, kind: str) -> None:
    reply = ask_app(app, "GET", path)
    assert reply.headers["content-type"].startswith(kind)
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert "unsafe" not in reply.headers["content-security-policy"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-store"


def test_nothing_comes_from_elsewhere_or_breaks_the_policy() -> None:
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?:https?:)?//[\w.-]+\.\w", text.replace("http://www.w3.org/2000/svg", "")), path.name
        assert "@import" not in text
        assert "innerHTML" not in text
        assert "eval(" not in text
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?![^>]*\ssrc=)", page)


def test_every_element_that_a_script_looks_for_is_on_the_page() -> None:
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    ids = re.findall(r'\sid="([\w-]+)"', page)
    assert len(ids) == len(set(ids))
    scripts = (STATIC / "app.js").read_text(encoding="utf-8") + (STATIC / "show.js").read_text(encoding="utf-8")
    assert set(re.findall(r'byId\("([\w-]+)"\)', scripts)) <= set(ids)
    assert set(re.findall(r'\sfor="([\w-]+)"', page)) <= set(ids)


def test_every_choice_has_a_control() -> None:
    """Those that app.js names have one on the page; the others are made from the facts."""
    own = re.search(r"const OWN = \[(.*?)\]", (STATIC / "app.js").read_text(encoding="utf-8"))
    assert own is not None
    names = set(re.findall(r'"(\w+)"', own[1]))
    assert names == {field.name for field in FIELDS if field.group == "main"} | {"form"}
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    for name in names - {"platform"}:
        assert f'id="{name}"' in page, name
    assert set(FILE_FIELDS) <= {field.name for field in FIELDS}


def test_the_address_holds_the_choices() -> None:
    request = ServeRequest(
        model="Qwen/Qwen3-8B", platform="8xB60", thinking=True, eager=False, gpus=("0", "1"), context=8192
    )
    query = make_query(request, Output(form="docker"))
    assert query == "?model=Qwen%2FQwen3-8B&platform=8xB60&context=8192&thinking=1&eager=0&gpus=0&gpus=1&form=docker"
    assert make_query(ServeRequest(model=""), Output()) == ""


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve_web, "find_spec", lambda name: None)
    assert cli.run(["serve", "--web"]) == 2
    assert "xpukit[web]" in capsys.readouterr().err


def test_a_port_that_is_taken_is_an_error() -> None:
    with open_socket(0) as taken, pytest.raises(UsageError, match="cannot be had") as caught:
        open_socket(taken.getsockname()[1])
    assert "--web-port" in caught.value.hint


def test_only_loopback_is_bound() -> None:
    with open_socket(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"

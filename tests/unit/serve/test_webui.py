"""Pages beside an engine: who may reach them, and that what is written fits together."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import msgspec
import pytest

from tests.unit.serve.form_plans import load_plan
from xpukit.core.errors import UsageError
from xpukit.serve.forms import FormOptions, render_form
from xpukit.serve.forms.yaml_text import dump_yaml
from xpukit.serve.webui import UiPage, find_page, list_pages, plan_page
from xpukit.serve.webui.comfyui import write_workflow

URL = "http://xpukit:8000/v1"


def make_page(name: str, **changes: Any) -> UiPage:
    base = UiPage(name=name, url=URL, model="m", key="", address="127.0.0.1", port=7860)
    return msgspec.structs.replace(base, **changes)


def test_there_are_two_pages() -> None:
    assert [page.NAME for page in list_pages()] == ["comfyui", "gradio"]
    assert all(page.SUMMARY and page.PORT for page in list_pages())
    with pytest.raises(UsageError, match="streamlit") as caught:
        find_page("streamlit")
    assert "comfyui, gradio" in caught.value.hint


def test_a_page_is_of_the_plan() -> None:
    plan = load_plan("replicas")
    page = plan_page(plan, FormOptions(with_ui="gradio", ui_port=9000), url=URL)
    assert (page.key, page.port, page.address, page.is_open) == ("SERVER_KEY", 9000, "127.0.0.1", False)
    assert plan_page(plan, FormOptions(with_ui="gradio", ui_address="0.0.0.0"), url=URL).is_open
    assert not plan_page(plan, FormOptions(with_ui="gradio", ui_address="::1"), url=URL).is_open


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (FormOptions(with_ui="comfyui", ui_address="0.0.0.0"), "knows no users"),
        (FormOptions(with_ui="gradio", ui_address="everywhere"), "is not an address"),
        (FormOptions(with_ui="nothing"), "nothing"),
    ],
)
def test_what_cannot_be_is_refused(options: FormOptions, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        plan_page(load_plan("one"), options, url=URL)
    assert caught.value.hint


def test_a_model_that_cannot_chat_gets_no_page() -> None:
    plan = load_plan("one")
    model = msgspec.structs.replace(plan.model, task="embed")
    with pytest.raises(UsageError, match="is for embed"):
        plan_page(msgspec.structs.replace(plan, model=model), FormOptions(with_ui="gradio"), url=URL)


def test_the_chat_page_is_on_loopback_without_a_password() -> None:
    service = json.loads(dump_json(find_page("gradio").write_service(make_page("gradio", after=("engine",)))))
    assert service["ports"] == ["127.0.0.1:7860:7860"]
    assert "XPUKIT_UI_PUBLISHED=127.0.0.1" in service["environment"]
    assert not any("PASSWORD" in line for line in service["environment"])
    assert service["depends_on"] == ["engine"]
    assert service["cap_drop"] == ["ALL"]


def test_an_open_chat_page_needs_a_password() -> None:
    page = make_page("gradio", address="0.0.0.0", key="SERVER_KEY")
    lines = json.loads(dump_json(find_page("gradio").write_service(page)))["environment"]
    assert "XPUKIT_UI_PASSWORD=${XPUKIT_UI_PASSWORD:?is not set}" in lines
    assert "XPUKIT_UI_API_KEY=${SERVER_KEY:?is not set}" in lines
    assert "XPUKIT_UI_PUBLISHED=0.0.0.0" in lines


def test_beside_an_engine_with_the_hosts_network_it_listens_on_its_address() -> None:
    page = make_page("gradio", host_network=True, port=9000)
    service = json.loads(dump_json(find_page("gradio").write_service(page)))
    assert service["network_mode"] == "host"
    assert "ports" not in service
    assert {"XPUKIT_LISTEN=127.0.0.1", "XPUKIT_PORT=9000"} <= set(service["environment"])


def dump_json(service: dict[str, Any]) -> str:
    """A service as Compose reads it."""
    import yaml

    return json.dumps(yaml.safe_load(dump_yaml(service)))


def read_node(text: str) -> Any:
    names: dict[str, Any] = {}
    exec(compile(ast.parse(text), "node", "exec"), names)
    return names


@pytest.mark.parametrize("model", ["m", 'a "quoted" \\ name', ""])
def test_the_workflow_fits_the_node(model: str) -> None:
    page = make_page("comfyui", model=model, port=8188)
    files = {file.name: file for file in find_page("comfyui").write_files(page)}
    assert files["comfyui/install.sh"].executable
    assert not re.search(r"@[A-Z_]+@", "".join(file.text for file in files.values()))
    node = read_node(files["comfyui/xpukit_endpoint/__init__.py"].text)
    assert (node["URL"], node["MODEL"]) == (URL, model)
    workflow = json.loads(files["comfyui/workflow.json"].text)
    assert workflow == write_workflow(page)
    by_id = {one["id"]: one for one in workflow["nodes"]}
    assert workflow["last_node_id"] == max(by_id)
    assert workflow["last_link_id"] == max(link[0] for link in workflow["links"])
    for number, origin, slot, target, input_slot, kind in workflow["links"]:
        out, into = by_id[origin]["outputs"][slot], by_id[target]["inputs"][input_slot]
        assert number in out["links"]
        assert into["link"] == number
        assert out["type"] == kind
        assert into["type"] in (kind, "*")
    chat = node["NODE_CLASS_MAPPINGS"]["XpukitChat"]
    (ours,) = (one for one in workflow["nodes"] if one["type"] == "XpukitChat")
    assert [one["name"] for one in ours["outputs"]] == list(chat.RETURN_NAMES)
    assert [one["type"] for one in ours["outputs"]] == list(chat.RETURN_TYPES)
    declared = chat.INPUT_TYPES()
    assert [one["name"] for one in ours["inputs"]] == list(declared["optional"])
    kinds = {"STRING": str, "FLOAT": float, "INT": int}
    for value, (kind, *_) in zip(ours["widgets_values"], declared["required"].values(), strict=True):
        assert isinstance(value, kinds[kind])
    assert hasattr(chat, chat.FUNCTION)


def compose(case: str, **options: Any) -> tuple[dict[str, Any], list[str]]:
    """The services of a Compose file, and the names of all files."""
    import yaml

    files = render_form("compose", load_plan(case), FormOptions(**options))
    return yaml.safe_load(files[0].text)["services"], [file.name for file in files]


def read_environment(service: dict[str, Any]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in service["environment"])


def test_the_page_asks_the_engine_beside_it() -> None:
    services, _ = compose("one", with_ui="gradio")
    (engine,) = set(services) - {"xpukit-ui"}
    port = next(one for one in load_plan("one").launches).port
    assert read_environment(services["xpukit-ui"])["XPUKIT_UI_URL"] == f"http://{engine}:{port}/v1"
    assert services["xpukit-ui"]["depends_on"] == [engine]


def test_the_page_asks_the_balancer_where_there_is_one() -> None:
    services, _ = compose("replicas", with_ui="gradio", balance="leastconn")
    assert read_environment(services["xpukit-ui"])["XPUKIT_UI_URL"] == "http://balancer:8080/v1"
    inside = services["balancer"]["ports"][0].rsplit(":", 1)[1]
    assert inside == "8080"


def test_the_page_is_beside_the_proxy_of_several_machines() -> None:
    files = render_form("compose", load_plan("proxy"), FormOptions(with_ui="gradio"))
    assert ["xpukit-ui" in file.text for file in files] == [True, False]
    assert "network_mode: host" in files[0].text.split("xpukit-ui")[1]


def test_comfyui_goes_with_any_form() -> None:
    _, names = compose("one", with_ui="comfyui")
    assert "comfyui/workflow.json" in names
    shell = render_form("shell", load_plan("one"), FormOptions(with_ui="comfyui"))
    node = next(file.text for file in shell if file.name.endswith("__init__.py"))
    assert f'"http://127.0.0.1:{load_plan("one").launches[0].port}/v1"' in node
    with pytest.raises(UsageError, match="--form shell has none"):
        render_form("shell", load_plan("one"), FormOptions(with_ui="gradio"))

"""The pages beside an engine, for real: the chat page's image in Chromium before a stub engine, ComfyUI's node."""

from __future__ import annotations

import contextlib
import http.client
import http.cookiejar
import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.chromium import Page, find_chromium, open_chromium
from tests.live.docker_engine import DEBIAN, DockerEngine
from tests.live.openai_stub import Stub, find_port, start_stub
from tests.live.smoke_base import make_environment, run_build
from tests.unit.serve.test_webui import make_page, read_node
from xpukit.facts.recipes import load_recipe
from xpukit.serve.webui import find_page

pytestmark = [pytest.mark.live]
START_LIMIT_S = 90.0
TAG = "xpukit-test/chat-ui:1"
PASSWORD = "only-for-this-test"


def fetch_wheels(folder: Path) -> Path:
    """What the recipe installs, got by this machine's pip: a container may not know its index nor trust it."""
    pins = {pin.name: pin.version for pin in load_recipe("chat-ui").pins}
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", str(folder)]
    argv += ["--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp"]
    wanted = [f"{name}=={pins[name]}" for name in ("gradio", "httpx")]
    ran = subprocess.run([*argv, *wanted], capture_output=True, text=True, timeout=280, check=False)
    if ran.returncode:
        pytest.skip(f"no index of Python packages: {ran.stderr.splitlines()[-1:]}")
    return folder


@pytest.fixture(scope="module")
def image(open_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The recipe, built and tried as a user would."""
    environment = make_environment(open_engine.address, tmp_path_factory.mktemp("state"))
    wheels = fetch_wheels(tmp_path_factory.mktemp("wheels"))
    ran = run_build(
        environment, "chat-ui", "--base-image", DEBIAN, "--network", "host", "--wheelhouse", str(wheels),
        "--tag", TAG, "--json", "--force",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return TAG


@contextlib.contextmanager
def run_page(engine: DockerEngine, image: str, url: str, *more: str) -> Iterator[str]:
    """The page in a container of the machine's network; its address."""
    port = find_port()
    container = engine.docker(
        "run", "-d", "--network", "host", "-e", f"XPUKIT_UI_URL={url}/v1", "-e", "XPUKIT_LISTEN=127.0.0.1",
        "-e", f"XPUKIT_PORT={port}", *more, image,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}/"
    try:
        await_page(engine, container, address)
        yield address
    finally:
        engine.docker("rm", "-f", container)


def await_page(engine: DockerEngine, container: str, address: str) -> None:
    until = time.monotonic() + START_LIMIT_S
    while True:
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            urllib.request.urlopen(address, timeout=5),
        ):
            return
        assert time.monotonic() < until, engine.docker("logs", container)
        time.sleep(0.2)


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with start_stub("think") as started:
        yield started


def ask(page: Page, question: str, answer: str) -> str:
    """Type a question as a user would; the whole conversation when the answer is there."""
    page.wait("document.querySelector('#message textarea')")
    page.evaluate("document.querySelector('#message textarea').focus()")
    page.type(question)
    page.press("Enter")
    page.wait(f"[...document.querySelectorAll('#chat .bot')].pop()?.innerText.includes({json.dumps(answer)})")
    # What is typed or chosen before the answer's end is not taken.
    page.wait("document.querySelector('#message textarea').disabled === false")
    return str(page.evaluate("document.querySelector('#chat').innerText"))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_conversation_with_thoughts_and_a_picture(
    open_engine: DockerEngine, image: str, stub: Stub, tmp_path: Path
) -> None:
    if not find_chromium():
        pytest.skip("chromium is not installed")
    picture = tmp_path / "dot.png"
    picture.write_bytes(make_png())
    loopback = ("-e", "XPUKIT_UI_PUBLISHED=127.0.0.1")
    with run_page(open_engine, image, stub.url, *loopback) as address, open_chromium() as page:
        page.resize(1200, 900)
        page.open(address)
        told = ask(page, "What is 6 times 7?", "42")
        assert "Thinking" in told
        assert "<think>" not in told
        root = page.send("DOM.getDocument", depth=-1)["root"]["nodeId"]
        chooser = page.send("DOM.querySelector", nodeId=root, selector="#message input[type=file]")["nodeId"]
        page.send("DOM.setFileInputFiles", files=[str(picture)], nodeId=chooser)
        page.wait("document.querySelector('#message img')")
        ask(page, "What is 2 times 7?", "14")
        elsewhere = page.evaluate(
            "performance.getEntriesByType('resource').map(one => one.name)"
            f".filter(name => !name.startsWith({json.dumps(address)}))"
        )
        assert elsewhere == [], "nothing comes from another place"
        assert page.errors == []
        # The page shows no button that would publish the conversation.
        shares = "[...document.querySelectorAll('[aria-label*=Share i], [title*=Share i]')]"
        assert page.evaluate(f"{shares}.filter(one => one.getClientRects().length).length") == 0


@pytest.mark.slow
def test_what_the_endpoint_refuses_is_shown(open_engine: DockerEngine, image: str) -> None:
    if not find_chromium():
        pytest.skip("chromium is not installed")
    with start_stub("http-500") as broken:
        loopback = ("-e", "XPUKIT_UI_PUBLISHED=127.0.0.1")
        with run_page(open_engine, image, broken.url, *loopback) as address, open_chromium() as page:
            page.resize(1200, 900)
            page.open(address)
            page.wait("document.querySelector('#message textarea')")
            page.evaluate("document.querySelector('#message textarea').focus()")
            page.type("hello")
            page.press("Enter")
            page.wait("document.body.innerText.includes('HTTP 500')")


@pytest.mark.slow
def test_an_open_page_asks_for_a_password(open_engine: DockerEngine, image: str, stub: Stub) -> None:
    opened = ("-e", "XPUKIT_UI_PUBLISHED=0.0.0.0", "-e", f"XPUKIT_UI_PASSWORD={PASSWORD}")
    with run_page(open_engine, image, stub.url, *opened) as address:
        assert ask_config(address) == http.HTTPStatus.UNAUTHORIZED
        assert ask_config(address, password="wrong") == http.HTTPStatus.UNAUTHORIZED
        assert ask_config(address, password=PASSWORD) == http.HTTPStatus.OK
    # Nobody said where it is published, and nobody set a password: it makes one.
    with run_page(open_engine, image, stub.url, "-e", "XPUKIT_LISTEN=0.0.0.0", "--name", "made-up") as address:
        told = open_engine.docker("logs", "made-up")
        assert ask_config(address) == http.HTTPStatus.UNAUTHORIZED
        assert ask_config(address, password=told.rsplit(maxsplit=1)[-1]) == http.HTTPStatus.OK


def ask_config(address: str, password: str = "") -> int:
    """The status of what the page is made of, after a login where a password is given."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    if password:
        form = urllib.parse.urlencode({"username": "xpukit", "password": password}).encode()
        with contextlib.suppress(urllib.error.HTTPError):
            opener.open(f"{address}login", form, timeout=20).close()
    try:
        with opener.open(f"{address}config", timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as err:
        return err.code


def make_png() -> bytes:
    import io

    import numpy
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(numpy.zeros((8, 8, 3), dtype=numpy.uint8)).save(file, format="PNG")
    return file.getvalue()


def make_node(url: str, **changes: Any) -> Any:
    files = find_page("comfyui").write_files(make_page("comfyui", url=f"{url}/v1", **changes))
    names = read_node(next(file.text for file in files if file.name.endswith(".py")))
    return names["NODE_CLASS_MAPPINGS"]["XpukitChat"]()


def test_comfyuis_node_asks_the_endpoint(stub: Stub) -> None:
    numpy = pytest.importorskip("numpy")
    pytest.importorskip("PIL")
    node = make_node(stub.url, model="")
    pictures = numpy.zeros((1, 4, 4, 3), dtype=numpy.float32)
    answer, thoughts = node.ask("What is 6 times 7?", "be short", "", 0.0, 64, image=pictures)
    assert answer == "42"
    assert thoughts
    assert "think>" not in answer + thoughts


def test_comfyuis_node_says_what_went_wrong() -> None:
    with start_stub("http-500") as broken, pytest.raises(RuntimeError, match="HTTP 500"):
        make_node(broken.url).ask("hi", "", "m", 0.0, 8)
    with pytest.raises(RuntimeError, match=r"127\.0\.0\.1:9/v1/chat/completions"):
        make_node("http://127.0.0.1:9").ask("hi", "", "m", 0.0, 8)

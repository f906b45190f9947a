"""The page of `serve --web` in a real headless Chromium: by keyboard, on a small screen, from a link."""

from __future__ import annotations

import http.client
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.live.chromium import Page, find_chromium, open_chromium
from tests.machines.recorded_machines import RECORDED

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not find_chromium(), reason="no Chromium (Debian: chromium)"),
]
READY = "document.documentElement.dataset.state === 'ready'"
BUNDLE = RECORDED / "b60x8_2s.tar.xz"


def start_server(*words: str) -> tuple[subprocess.Popen[str], str]:
    """The real command and the address that it printed."""
    argv = [sys.executable, "-m", "xpukit", "serve", "--web", "--web-port", "0", *words]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:"), process.communicate(timeout=20)
    return process, address


def end_server(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
    return process.returncode, err


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    process, url = start_server("--from", str(BUNDLE))
    yield url
    code, err = end_server(process)
    assert code == 0, err
    assert "Traceback" not in err


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with open_chromium() as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    browser.resize(1280, 900)
    browser.errors.clear()
    yield browser
    assert browser.errors == []


def text_of(page: Page, selector: str) -> str:
    return str(page.evaluate(f"document.querySelector({selector!r}).textContent"))


def open_page(page: Page, url: str) -> None:
    page.open(url)
    page.wait(READY)


def wait_line(page: Page, *words: str) -> None:
    for word in words:
        page.wait(f"{READY} && document.getElementById('line').textContent.includes({word!r})")


def test_everything_by_keyboard(page: Page, address: str) -> None:
    open_page(page, address)
    assert "no model is chosen" in text_of(page, "#verdict")
    # The model: search, and take the first hit.
    page.tab_to("#model-search")
    page.type("30b coder")
    page.press("Enter")
    wait_line(page, "Qwen/Qwen3-Coder-30B-A3B-Instruct")
    assert "fits" in text_of(page, "#verdict")
    # Quantization: arrows inside the group.
    page.tab_to("#quantization input")
    page.press("ArrowDown", times=2)
    page.wait(f"{READY} && /-q \\w+/.test(document.getElementById('line').textContent)")
    assert page.evaluate("document.activeElement.name") == "quantization", "the focus stays when the answer comes"
    page.tab_to("#context")
    page.type("16384")
    wait_line(page, "-c 16384")
    page.tab_to("#tools")
    page.press("Space")
    wait_line(page, "--tools")
    page.tab_to("#form")
    page.type("docker")
    wait_line(page, "-f docker")
    # Everything that is folded away opens and takes an answer too.
    page.tab_to("#more details:first-child summary")
    page.press("Enter")
    page.tab_to("#field-tp")
    page.type("4")
    wait_line(page, "--tp 4")
    page.tab_to("button.copy")
    page.press("Enter")
    page.wait("document.activeElement.textContent !== 'Copy'")
    assert "docker run" in text_of(page, "#files")
    # The command line gives the same.
    line = shlex.split(text_of(page, "#line"))
    done = subprocess.run([sys.executable, "-m", *line], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == text_of(page, "#files pre")


def test_a_link_gives_the_page_back(page: Page, address: str) -> None:
    query = (
        "model=Qwen%2FQwen3-32B&platform=2x8xH200&engine=vllm%3A0.21.0&context=8192&tp=8&pp=2&eager=0&thinking=1"
        "&gpus=0&gpus=1&extras=--seed&extras=7&pinning=off&name=mine&form=shell"
    )
    open_page(page, f"{address}?{query}")
    first = page.evaluate("[location.search, document.getElementById('line').textContent]")
    assert page.evaluate("document.getElementById('gpu').value") == "H200"
    assert page.evaluate("[document.getElementById('machines').value, document.getElementById('gpu-count').value]") == [
        "2",
        "8",
    ]
    assert page.evaluate("document.getElementById('field-extras').value") == "--seed 7"
    assert page.evaluate("document.getElementById('version').value") == "vllm:0.21.0"
    for word in ("--platform 2x8xH200", "--pp 2", "--no-eager", "--gpu 0,1", "--pin off", "--name mine", "-- --seed 7"):
        assert word in first[1]
    open_page(page, f"{address}{first[0]}")
    assert page.evaluate("[location.search, document.getElementById('line').textContent]") == first


def test_the_command_line_opens_the_page_with_its_choices(page: Page) -> None:
    process, url = start_server("Qwen/Qwen3-8B", "--platform", "4xB60", "-q", "fp8")
    try:
        open_page(page, url)
        assert text_of(page, "#line") == "xpukit serve Qwen/Qwen3-8B --platform 4xB60 -q fp8"
    finally:
        code, err = end_server(process)
    assert code == 0, err


def test_errors_are_shown_with_their_hint_and_can_be_left(page: Page, address: str) -> None:
    open_page(page, f"{address}?model=Qwen%2FQwen3-8B&platform=8xH200&engine=sglang&quantization=sym_int4")
    assert "sym_int4" in text_of(page, "#error")
    assert "Next: possible here" in text_of(page, "#error")
    page.tab_to("#quantization input")
    page.press("Home")
    page.press("ArrowUp", times=2)
    page.wait(f"{READY} && document.getElementById('error').hidden && !document.getElementById('memory').hidden")


def test_what_does_not_fit(page: Page, address: str) -> None:
    open_page(page, f"{address}?model=meta-llama%2FLlama-3.1-70B&platform=1xB580")
    assert "does not fit" in text_of(page, "#verdict")
    assert "would help" in text_of(page, "#problems")
    assert page.evaluate("document.querySelector('#bar .end').offsetLeft > 0")
    assert page.evaluate("document.getElementById('launch').hidden")


def test_the_recorded_machine_is_drawn(page: Page, address: str) -> None:
    open_page(page, f"{address}?model=Qwen%2FQwen3-8B")
    assert "recorded machine" in text_of(page, "#here-label")
    assert page.evaluate("document.querySelectorAll('#picture .gpu').length") == 8
    assert page.evaluate("document.querySelectorAll('#picture .gpu.used').length") == 2
    widths = "[...document.querySelectorAll('#bar span')].map((one) => one.offsetWidth)"
    assert page.evaluate(f"{widths}.every((width) => width > 0) && {widths}.length >= 5")


@pytest.mark.parametrize("width", [360, 500, 820, 1280])
def test_nothing_is_wider_than_the_screen(page: Page, address: str, width: int) -> None:
    page.resize(width, 740)
    open_page(page, f"{address}?model=internlm%2FIntern-S1-Pro&platform=2x8xH200&engine=vllm&tp=16&ep=16&form=docker")
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    too_wide = (
        "[...document.querySelectorAll('body *')].filter((one) => one.getClientRects().length && !one.closest('pre, svg, .skip, select')"
        f" && one.getBoundingClientRect().right > {width} + 1).map((one) => one.outerHTML.slice(0, 90))"
    )
    assert page.evaluate(too_wide) == []
    # The verdict stays in sight while one chooses.
    box = page.evaluate(
        "(({top, bottom}) => [top, bottom])(document.getElementById('verdict').getBoundingClientRect())"
    )
    assert box[0] >= 0
    assert box[1] <= 741


def test_every_control_has_a_name_and_is_reached_with_tab(page: Page, address: str) -> None:
    page.resize(360, 740)
    open_page(page, f"{address}?model=Qwen%2FQwen3-8B")
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    controls = "[...document.querySelectorAll('input, select, button')].filter((one) => !one.disabled && one.getClientRects().length)"
    nameless = f"{controls}.filter((one) => !one.labels?.[0]?.textContent.trim() && !one.ariaLabel && !one.textContent.trim()).map((one) => one.outerHTML)"
    assert page.evaluate(nameless) == []
    # One stop a radio group: the rest of it is reached with the arrows.
    wanted = int(page.evaluate(f"{controls}.filter((one) => one.type !== 'radio' || one.checked).length"))
    page.evaluate("document.activeElement.blur(); window.seen = new Set();")
    for _ in range(wanted + 60):
        page.press("Tab")
        page.evaluate("window.seen.add(document.activeElement) && null")
    missed = f"{controls}.filter((one) => (one.type !== 'radio' || one.checked) && !window.seen.has(one)).map((one) => one.outerHTML)"
    assert page.evaluate(missed) == []


def test_dark_and_light(page: Page, address: str) -> None:
    seen = []
    for dark in (False, True):
        page.resize(800, 600, dark=dark)
        open_page(page, f"{address}?model=Qwen%2FQwen3-8B")
        seen.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert seen == ["rgb(255, 255, 255)", "rgb(17, 22, 27)"]


def test_start_again(page: Page, address: str) -> None:
    open_page(page, f"{address}?model=Qwen%2FQwen3-8B&tp=4&form=docker")
    page.tab_to("#reset")
    page.press("Enter")
    page.wait(f"{READY} && location.search === ''")
    assert text_of(page, "#line") == f"xpukit serve --from {BUNDLE}"


def ask_server(address: str, host: str) -> int:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=20)
    try:
        connection.request("GET", "/facts", headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()


def test_only_loopback_is_served(address: str) -> None:
    port = urlsplit(address).port
    assert ask_server(address, f"localhost:{port}") == 200
    assert ask_server(address, f"attacker.example:{port}") == 421
    # The whole of 127/8 is this machine's: a server on all addresses would answer here.
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", port or 0), timeout=20):
        pass


def test_a_port_in_use_is_an_error_with_a_hint(address: str) -> None:
    argv = [sys.executable, "-m", "xpukit", "serve", "--web", "--web-port", str(urlsplit(address).port)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parent)
    assert done.returncode == 2
    assert "another --web-port" in done.stderr

"""The picture in docs/serve-web.md: `python -m tests.live.shoot_serve_web docs/img/serve-web.png` from the root."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.live.chromium import open_chromium
from tests.live.test_serve_web import READY, end_server, start_server

_QUERY = "?model=Qwen%2FQwen3-30B-A3B&quantization=fp8&context=32768&concurrency=4&thinking=1&tools=1&form=docker"


def main(out: Path) -> None:
    process, address = start_server("--from", "tests/machines/recorded/b60x8_2s.tar.xz")
    try:
        with open_chromium() as page:
            page.resize(1280, 1100)
            page.open(address + _QUERY)
            page.wait(READY)
            page.shoot(out)
    finally:
        end_server(process)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Exit 0 when the server of this container answers its health request."""

import os
import sys
import urllib.request


def find_port():
    """The port in the arguments of the container's first process; an argument goes before the environment."""
    try:
        with open("/proc/1/cmdline", "rb") as file:
            words = file.read().decode(errors="replace").split("\0")
    except OSError:
        words = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, _, value = word.partition("=")
        if name == "--port":
            return value or following
    return os.environ.get("XPUKIT_PORT", "8000")


url = f"http://127.0.0.1:{find_port()}/health"
try:
    with urllib.request.urlopen(url, timeout=2) as answer:
        sys.exit(0 if answer.status == 200 else 1)
except (OSError, ValueError) as err:
    sys.exit(f"{url}: {err}")

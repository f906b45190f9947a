"""Exit 0 when the server of this container answers its health request."""

import os
import re
import sys
import urllib.request


def find_port():
    """The port in the command of the container's first process; an argument goes before the environment."""
    try:
        with open("/proc/1/cmdline", "rb") as file:
            command = file.read().decode(errors="replace").replace("\0", " ")
    except OSError:
        command = ""
    given = re.findall(r"--port[ =]+(\d+)", command)
    return given[-1] if given else os.environ.get("XPUKIT_PORT", "{{ s.port }}")


url = f"http://127.0.0.1:{find_port()}{{ recipe.answers.health_path }}"
try:
    with urllib.request.urlopen(url, timeout=4) as answer:
        sys.exit(0 if answer.status == 200 else 1)
except OSError as err:
    sys.exit(f"{url}: {err}")

"""Imported by every Python of /opt/venv as it starts (xpukit_environment.pth): a program named by its path, where no
shell and no shim ran, gets the image's environment too, and so do its children.
"""

import os
import subprocess

# What bash sets for itself.
_OF_BASH = (b"_", b"SHLVL", b"PWD", b"OLDPWD")


def load_environment():
    """Take over what the environment script sets, unless something did before."""
    if os.environ.get("XPUKIT_ENVIRONMENT") == "loaded":
        return
    script = ". /opt/xpukit/environment.sh && env -0"
    ran = subprocess.run(["/bin/bash", "--norc", "-c", script], stdout=subprocess.PIPE, timeout=20, check=True)
    for entry in ran.stdout.split(b"\0"):
        name, equals, value = entry.partition(b"=")
        if equals and name not in _OF_BASH:
            os.environb[name] = value


load_environment()

"""Prints every Python distribution of every site-packages directory, and the licences that Debian packages state.

One JSON document. Python 3.6 or newer, standard library only; changes nothing.
"""

import contextlib
import json
import os
import re
from email.parser import HeaderParser

# Where interpreters and virtual environments lie; of anything deeper only what is below these is looked at.
ROOTS = ("/usr/lib", "/usr/local", "/opt", "/home", "/root", "/srv", "/app", "/workspace", "/llm")
DEPTH = 9
PRUNED = {"node_modules", "__pycache__", ".git", "proc", "sys"}
FIELDS = ("Name", "Version", "License", "License-Expression", "Home-page", "Summary")


def read_text(path, limit=200000):
    try:
        with open(path, "rb") as file:
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


def walk(root):
    """Directories that hold distributions."""
    for folder, names, _ in os.walk(root):
        if folder.count(os.sep) - root.count(os.sep) >= DEPTH:
            names[:] = []
        if os.path.basename(folder) in ("site-packages", "dist-packages"):
            names[:] = []
            yield folder
        names[:] = [name for name in names if name not in PRUNED]


def describe(folder, name):
    path = os.path.join(folder, name)
    for inner in ("METADATA", "PKG-INFO"):
        text = read_text(path if os.path.isfile(path) else os.path.join(path, inner))
        if text:
            break
    else:
        return None
    headers = HeaderParser().parsestr(text)
    found = {key: str(headers[key])[:300] for key in FIELDS if headers[key]}
    if "Name" not in found or "Version" not in found:
        return None
    found["Classifiers"] = [value for value in headers.get_all("Classifier", []) if str(value).startswith("License ::")]
    installer = read_text(os.path.join(path, "INSTALLER"), 100).strip() if os.path.isdir(path) else ""
    found["Installer"] = installer
    direct = read_text(os.path.join(path, "direct_url.json")) if os.path.isdir(path) else ""
    if direct:
        with contextlib.suppress(ValueError, AttributeError):
            found["Commit"] = str(json.loads(direct).get("vcs_info", {}).get("commit_id", ""))
    return found


def list_python():
    listed, seen = [], set()
    for root in ROOTS:
        for folder in walk(root):
            real = os.path.realpath(folder)
            if real in seen:
                continue
            seen.add(real)
            try:
                names = sorted(os.listdir(folder))
            except OSError:
                continue
            for name in names:
                if name.endswith((".dist-info", ".egg-info")):
                    found = describe(folder, name)
                    if found:
                        listed.append(dict(found, Place=folder))
    return listed


def list_licences():
    """Short names of the License fields of machine-readable copyright files, by package."""
    found = {}
    root = "/usr/share/doc"
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return found
    for name in names:
        text = read_text(os.path.join(root, name, "copyright"))
        if not re.match(r"\s*Format(-Specification)?:", text):
            continue
        short = {match.strip() for match in re.findall(r"^License:[ \t]*(\S[^\n]*)$", text, re.MULTILINE)}
        found[name] = sorted(short)[:20]
    return found


print(json.dumps({"python": list_python(), "licences": list_licences()}))

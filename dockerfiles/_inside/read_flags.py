"""Runs the engine with our hook in its way and --help behind its name; prints what came as one JSON document.

Arguments: the hook's source, the time limit in seconds, then the engine's command. Python 3.6 or newer.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile


def main(hook, limit_s, argv):
    place = tempfile.mkdtemp(prefix="xpukit-flags-")
    out = os.path.join(place, "flags.json")
    try:
        with open(os.path.join(place, "sitecustomize.py"), "w") as file:
            file.write(hook)
        path = os.pathsep.join(filter(None, [place, os.environ.get("PYTHONPATH", "")]))
        env = dict(os.environ, PYTHONPATH=path, XPUKIT_FLAGS_OUT=out, XPUKIT_FLAGS_WORDS=json.dumps(argv[1:]))
        env.update(PYTHONDONTWRITEBYTECODE="1", COLUMNS="160", NO_COLOR="1", PYTHONHASHSEED="0")
        said = {"rc": None, "help": "", "error": "", "parser": None}
        try:
            ran = subprocess.run(
                [*argv, "--help"], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit_s, check=False
            )
            said["rc"] = ran.returncode
            said["help"] = ran.stdout.decode("utf-8", "replace")[-400000:]
            said["error"] = ran.stderr.decode("utf-8", "replace")[-2000:]
        except subprocess.TimeoutExpired:
            said["error"] = f"no answer within {limit_s} s"
        except OSError as err:
            said["error"] = str(err)
        if os.path.exists(out):
            with open(out) as file:
                said["parser"] = json.load(file)
        print(json.dumps(said))
    finally:
        shutil.rmtree(place, ignore_errors=True)


main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])

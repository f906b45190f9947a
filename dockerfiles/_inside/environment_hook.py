"""Becomes sitecustomize of the engine's Python: says which environment the engine was started with."""

import json
import os
import sys

if os.environ.get("XPUKIT_SAY_ENVIRONMENT"):
    # In one write: lines of several processes must not run into each other.
    os.write(2, ("\nXPUKIT-ENVIRONMENT " + json.dumps([sys.argv[:1], dict(os.environ)]) + "\n").encode())

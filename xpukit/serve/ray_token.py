"""What keeps others out of a Ray cluster: whoever can talk to one runs programs as its user, on all its machines."""

from __future__ import annotations

from collections.abc import Collection

from xpukit.facts.launch_forms import load_launch_forms
from xpukit.serve.plan_types import Variable

MODE = "RAY_AUTH_MODE"
TOKEN = "RAY_AUTH_TOKEN"
# Where the user says how it is done, by `--env`, nothing is added.
_BY_USER = (MODE, TOKEN, "RAY_AUTH_TOKEN_PATH")


def list_ray_variables(asked: Collection[str]) -> tuple[Variable, ...]:
    """Ray's token for every process of the cluster; its value is the caller's. `asked`: names of `--env`."""
    if any(name in asked for name in _BY_USER):
        return ()
    fact = load_launch_forms().ray
    mode = "Ray takes orders from those with the token only; without, from everybody who reaches one of its ports"
    word = f"the same word on all machines, as from: {fact.token_from}"
    return (
        Variable(name=MODE, value="token", why=mode, source=fact.token_source),
        Variable(name=TOKEN, value=f"${{{TOKEN}}}", why=word),
    )

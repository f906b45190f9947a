"""Files of this machine that a launch names, as paths that hold wherever it is started: in a container, by systemd."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xpukit.serve.request import ServeRequest


def anchor_paths(request: ServeRequest) -> ServeRequest:
    """The request with what is a file or folder below the current directory named in full; names of the hub stay."""
    import msgspec

    loras = tuple(
        f"{name}={_anchor(path)}" if equals else text
        for text in request.loras
        for name, equals, path in (text.partition("="),)
    )
    return msgspec.structs.replace(
        request,
        model=_anchor(request.model),
        media_dir=_anchor(request.media_dir),
        chat_template=_anchor(request.chat_template),
        loras=loras,
    )


def _anchor(text: str) -> str:
    if not text or text.startswith("/") or "\n" in text or "\0" in text:
        return text
    try:
        # (Not resolve: a link may be what keeps a path the same from one version of a model to the next.)
        return os.path.normpath(Path(text).absolute()) if Path(text).exists() else text
    except OSError:  # a name that no file can have (too long)
        return text

"""Names of images: never `latest`, which says nothing about what is inside."""

from __future__ import annotations

import re
from collections.abc import Sequence

from xpukit.core.errors import UsageError
from xpukit.images.build import Rendered

_NAME = re.compile(
    r"(?:[a-z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:(?:[._-]|__)[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def default_version(rendered: Rendered) -> str:
    """The tag's part after the colon: the recipe's version and the first eight digits of the hash."""
    version = re.sub(r"[^A-Za-z0-9._-]", "-", rendered.labels["org.opencontainers.image.version"])
    return f"{version}-{rendered.hash[:8]}"


def choose_tags(rendered: Rendered, given: Sequence[str]) -> tuple[str, ...]:
    """The image's names: those given (a name without a tag gets the default one), else xpukit/<recipe>.

    Raises UsageError for a name that Docker would refuse, and for `latest`.
    """
    tags = []
    for text in given or (f"xpukit/{rendered.recipe}",):
        name, colon, tag = text.rpartition(":")
        if not colon or "/" in tag:  # no tag: the colon, if any, is that of a registry's port
            name, tag = text, default_version(rendered)
        if tag == "latest":
            raise UsageError(f"--tag {text}: latest says nothing about what is inside", hint="name a version")
        if not _NAME.fullmatch(name) or not _TAG.fullmatch(tag):
            raise UsageError(f"--tag {text}: not an image's name", hint="for example registry:5000/team/vllm:0.14-b8")
        tags.append(f"{name}:{tag}")
    return tuple(dict.fromkeys(tags))

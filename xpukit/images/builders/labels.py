"""Labels that the builder must add: those that the Dockerfile's last stage does not set itself."""

from __future__ import annotations

import re

from xpukit.images.build import Rendered
from xpukit.images.template import quote_label

_FROM = re.compile(r"^FROM\s", re.MULTILINE | re.IGNORECASE)


def list_missing_labels(rendered: Rendered) -> dict[str, str]:
    """Sorted. For the classic builder each one is a step of its own, so that what is there already is not repeated."""
    text = rendered.dockerfile
    starts = [found.start() for found in _FROM.finditer(text)]
    last_stage = text[starts[-1] :] if starts else ""
    return {
        key: value for key, value in sorted(rendered.labels.items()) if f"{key}={quote_label(value)}" not in last_stage
    }

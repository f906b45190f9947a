"""Moved to `xpukit.host.asked_once`, where all rooms can use it."""

from __future__ import annotations

from xpukit.host.asked_once import AskedOnceHost

__all__ = ["AskedOnceHost"]

"""The only door to the machine: live, recorded, replayed or overlaid (docs/architecture.md)."""

from xpukit.host.door import Host

__all__ = ["Host"]

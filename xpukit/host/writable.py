"""The only host that changes a machine. Install steps and tuning get it; nothing else does."""

from __future__ import annotations

import os

from xpukit.host.live import LiveHost, name_errno


class WritableHost(LiveHost):
    """A live host that can also write settings (sysfs attributes) and keep files of its own."""

    def write(self, path: str, text: str) -> str:
        """Write a setting in place; "" or the errno name. Never creates a file: an attribute is there or it is not."""
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
            try:
                data = text.encode()
                if os.write(handle, data) != len(data):
                    return "EIO"
            finally:
                os.close(handle)
        except OSError as err:
            return name_errno(err)
        return ""

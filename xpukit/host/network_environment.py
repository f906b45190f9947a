"""What downloads need of the environment and the door's small one leaves out: proxies, and pip's own settings."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

from xpukit.host.door import Host

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY")


def read_network_environment(host: Host) -> dict[str, str]:
    """Proxies in both spellings and every PIP_ variable that is set."""
    return {**read_proxies(host), **_read_set(host, host.env_names("PIP_").names)}


def read_proxies(host: Host) -> dict[str, str]:
    """The variables that name proxies, in both spellings, as far as they are set."""
    return _read_set(host, [*_PROXIES, *(name.lower() for name in _PROXIES)])


def _read_set(host: Host, names: Iterable[str]) -> dict[str, str]:
    values = {name: host.env(name).value for name in names}
    return {name: value for name, value in values.items() if value}


def strip_credentials(url: str) -> str:
    """The address without a user name and password in it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

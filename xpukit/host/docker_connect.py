"""The SDK's client for a daemon's address: over a socket, over TLS as the docker client's settings say, over ssh."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xpukit.core.errors import ExternalError
from xpukit.host.docker_address import find_context

_SSH_HINT = (
    "pip install paramiko; or forward the socket (ssh -NL /tmp/docker.sock:/var/run/docker.sock USER@HOST) and set"
    " DOCKER_HOST=unix:///tmp/docker.sock"
)


def make_api(kind: Callable[..., Any], address: str, *, timeout_s: float) -> Any:
    """An `APIClient` (or a kind of it) for the daemon at `address`.

    Raises ExternalError for what is missing on this side: certificates, the package for ssh.
    """
    import docker.errors

    tls = _make_tls(address)
    if tls is not None:
        kind = _trust_own(kind)
    try:
        return kind(
            base_url=address,
            version="auto",
            timeout=timeout_s,
            tls=tls or False,
            use_ssh_client=address.startswith("ssh://"),
        )
    except docker.errors.DockerException as err:
        if "paramiko" in str(err):
            raise ExternalError(f"{address}: ssh needs the Python package paramiko", hint=_SSH_HINT) from err
        raise


def _trust_own(kind: Callable[..., Any]) -> Callable[..., Any]:
    """The same client with the daemon's own CA going before REQUESTS_CA_BUNDLE, which requests would take."""

    class OwnTrust(kind):  # type: ignore[misc,valid-type]
        def merge_environment_settings(
            self, url: str, proxies: Any, stream: Any, verify: Any, cert: Any
        ) -> dict[str, Any]:
            chosen = self.verify if verify is None else verify
            return dict(super().merge_environment_settings(url, proxies, stream, chosen, cert))

    return OwnTrust


def _make_tls(address: str) -> Any:
    """What the docker client would use: DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, or the context's own; None for none."""
    if not address.startswith(("tcp://", "https://")):
        return None
    if address == os.environ.get("DOCKER_HOST", ""):
        verify = bool(os.environ.get("DOCKER_TLS_VERIFY", ""))
        if not verify and not os.environ.get("DOCKER_TLS", ""):
            return None
        folder = Path(os.environ.get("DOCKER_CERT_PATH", "") or os.environ.get("DOCKER_CONFIG", "") or _HOME)
    else:
        context = find_context()
        if context is None or context.address != address or not context.tls.is_dir():
            return None
        verify, folder = not context.skip_verify, context.tls
    import docker
    import docker.errors

    files = {name: str(folder / f"{name}.pem") for name in ("ca", "cert", "key") if (folder / f"{name}.pem").exists()}
    pair = (files["cert"], files["key"]) if "cert" in files and "key" in files else None
    try:
        return docker.tls.TLSConfig(client_cert=pair, ca_cert=files.get("ca"), verify=verify)
    except docker.errors.TLSParameterError as err:
        raise ExternalError(
            f"the certificates for {address} in {folder} cannot be used: {err}",
            hint="DOCKER_CERT_PATH must hold ca.pem, cert.pem and key.pem",
        ) from err


_HOME = Path.home() / ".docker"

"""The key that a bundle is signed with, and signing by gpg in a home of its own."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from xpukit.core.atomic import write_atomic
from xpukit.core.errors import ExternalError, OutputError
from xpukit.host.answers import Ran
from xpukit.host.door import Host
from xpukit.install.bundle.openpgp import read_fingerprint

_GPG_LIMIT_S = 60.0
_LOOPBACK = ("--pinentry-mode", "loopback", "--passphrase", "")


class Signer:
    """Signs with one key. `public` is the key as apt and gpgv take it, `fingerprint` 40 hex digits."""

    def __init__(self, host: Host, home: str, name: str) -> None:
        self._host = host
        # An empty home means the user's own gpg with its agent, which then asks for the passphrase itself.
        self._base = ("gpg", "--batch", "--yes", *(("--homedir", home, *_LOOPBACK) if home else ()))
        self.public = self._ask("--export-options", "export-minimal", "--export", name).out
        self.fingerprint, why = read_fingerprint(self.public)
        if not self.fingerprint:
            raise ExternalError(f"the signing key {name} {why}", hint="name one key by its fingerprint (--gpg-key)")

    def sign_detached(self, data: bytes) -> bytes:
        """A signature beside the data."""
        return self._ask("--local-user", self.fingerprint, "--detach-sign", "--output", "-", data=data).out

    def sign_clear(self, data: bytes) -> bytes:
        """The text with its signature around it, as apt's InRelease is."""
        return self._ask("--local-user", self.fingerprint, "--clear-sign", "--output", "-", data=data).out

    def _ask(self, *words: str, data: bytes = b"") -> Ran:
        return _must(self._host, (*self._base, *words), data)


def _must(host: Host, argv: tuple[str, ...], data: bytes = b"") -> Ran:
    ran = host.run(argv, timeout_s=_GPG_LIMIT_S, input=data, env=_read_gpg_home(host))
    if ran.failure == "not-found":
        raise ExternalError("gpg is not installed: it signs the bundle", hint="apt-get install gpg gpg-agent")
    if not ran.ok or not ran.out:
        raise ExternalError(f"gpg failed: {ran.describe_failure()}", hint="check the key: gpg --list-secret-keys")
    return ran


def _read_gpg_home(host: Host) -> dict[str, str]:
    found = {name: host.env(name).value for name in ("GNUPGHOME", "GPG_TTY")}
    return {name: value for name, value in found.items() if value}


@contextlib.contextmanager
def open_signer(host: Host, *, key_file: Path, gpg_key: str = "") -> Iterator[Signer]:
    """A signer with the key of `key_file`, which is made where it is missing; or with `gpg_key` of the user's own gpg.

    Raises ExternalError and OutputError.
    """
    if gpg_key:
        yield Signer(host, "", gpg_key)
        return
    # gpg's agent listens on a socket in its home, whose path may have 107 bytes only.
    home = tempfile.mkdtemp(prefix="xpk-gpg-", dir="/tmp")
    try:
        if not key_file.exists():
            _make_key(host, home, key_file)
        else:
            _import_key(host, home, key_file)
        listed = _must(host, ("gpg", "--batch", "--homedir", home, "--with-colons", "--list-secret-keys")).text
        names = [line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")]
        if not names:
            raise ExternalError(f"{key_file}: holds no secret key", hint="name another with --signing-key")
        yield Signer(host, home, names[0])
    finally:
        host.run(("gpgconf", "--homedir", home, "--kill", "all"), timeout_s=_GPG_LIMIT_S)
        shutil.rmtree(home, ignore_errors=True)


def _make_key(host: Host, home: str, key_file: Path) -> None:
    base = ("gpg", "--batch", "--homedir", home, *_LOOPBACK)
    name = f"xpukit install bundles {host.identity().hostname}".strip()
    ran = host.run((*base, "--quick-gen-key", name, "ed25519", "sign", "never"), timeout_s=_GPG_LIMIT_S)
    if ran.failure == "not-found":
        raise ExternalError("gpg is not installed: it signs the bundle", hint="apt-get install gpg gpg-agent")
    if not ran.ok:
        raise ExternalError(f"gpg could not make a key: {ran.describe_failure()}", hint="apt-get install gpg gpg-agent")
    secret = _must(host, (*base, "--armor", "--export-secret-keys")).out
    try:
        key_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as err:
        raise OutputError(f"{key_file.parent}: cannot be made: {err.strerror}", hint="--signing-key FILE") from err
    write_atomic(key_file, secret, mode=0o600)


def _import_key(host: Host, home: str, key_file: Path) -> None:
    ran = host.run(("gpg", "--batch", "--homedir", home, *_LOOPBACK, "--import", str(key_file)), timeout_s=_GPG_LIMIT_S)
    if ran.failure == "not-found":
        raise ExternalError("gpg is not installed: it signs the bundle", hint="apt-get install gpg gpg-agent")
    if not ran.ok:
        raise ExternalError(f"{key_file}: gpg cannot read it: {ran.describe_failure()}", hint="give --signing-key FILE")

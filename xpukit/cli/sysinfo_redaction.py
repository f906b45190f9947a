"""Redaction for a bundle: this host's map of pseudonyms, the rules, the scan of the finished archive."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from xpukit.cli.session import Session
from xpukit.core.errors import OutputError, UsageError

if TYPE_CHECKING:
    from xpukit.host import Host
    from xpukit.host.redaction.redactor import Redactor
    from xpukit.sysinfo.bundle import Redaction


class BundleRedaction:
    """Opened for one bundle; `keep_map` when it is written."""

    def __init__(self, host: Host, *, enabled: bool, on_this_host: bool) -> None:
        from xpukit.host.redaction.local_names import read_local_users
        from xpukit.host.redaction.post_scan import list_own_secrets
        from xpukit.host.redaction.pseudonyms import default_map_path, load_map
        from xpukit.host.redaction.redactor import Redactor

        self.enabled = enabled
        self.map_path: Path | None = default_map_path() if on_this_host else None
        self._identity = host.identity()
        # A bundle of another machine has names of that machine: they do not belong into this one's map.
        known = load_map(self.map_path) if self.map_path is not None else None
        self._redactor: Redactor = Redactor(
            self._identity, known=known, users=read_local_users() if on_this_host else ()
        )
        if on_this_host:
            self._redactor.learn_secrets(list_own_secrets())

    @property
    def host_pseudonym(self) -> str:
        """For the file's name: file names end up in logs, also those of unredacted bundles."""
        words = self._redactor.scrub_value("hostname", self._identity.hostname)
        kept = "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in words)
        return kept.strip("-")[:64] or "host"

    def describe(self) -> Redaction:
        """What `write_bundle` needs."""
        from xpukit.host.redaction.post_scan import scan_bundle
        from xpukit.host.scrub import keep_everything
        from xpukit.sysinfo.bundle import Redaction

        if not self.enabled:
            return Redaction(scrub=keep_everything, enabled=False)
        redactor = self._redactor

        def scan(archive: Path) -> tuple[str, ...]:
            leaks = scan_bundle(
                archive, identity=self._identity, literals=redactor.list_literals(), leaves=redactor.leaves
            )
            return tuple(dict.fromkeys(f"{leak.file}, line {leak.line}: {leak.rule}" for leak in leaks))

        return Redaction(
            scrub=redactor, about=redactor.about, report=redactor.report, count=self._count_rules, scan=scan
        )

    def _count_rules(self) -> Mapping[str, int]:
        return {rule: count for rule, count in self._redactor.report().rules.items() if count}

    def keep_map(self, session: Session) -> None:
        """Save the map, so that the next bundle of this host uses the same names. A failure is only said."""
        if not self.enabled or self.map_path is None:
            return
        from xpukit.host.redaction.pseudonyms import save_map

        try:
            save_map(self.map_path, self._redactor.map)
        except OutputError as err:
            session.warn(f"the map of pseudonyms was not kept: {err.message}; the next bundle may use other names")
            self.map_path = None


def check_no_redact(count: int) -> bool:
    """Whether redaction is on. Raises UsageError where --no-redact was said once."""
    if count == 1:
        raise UsageError(
            "--no-redact writes host names, addresses, serial numbers and every password found into the bundle",
            hint="if that is meant (it never leaves your hands), say it twice: --no-redact --no-redact",
        )
    return count == 0

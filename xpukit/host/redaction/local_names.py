"""Names of this host's people, to look for from the first text on."""

from __future__ import annotations

# Accounts of people by the usual login.defs; above lies nobody (65534) and what containers map.
_FIRST_UID, _LAST_UID = 1000, 60000


def read_local_users() -> tuple[str, ...]:
    """Accounts of people in the local user database, sorted; directories of a whole company are not listed."""
    import pwd

    try:
        entries = pwd.getpwall()
    except OSError:
        return ()
    return tuple(sorted(entry.pw_name for entry in entries if _FIRST_UID <= entry.pw_uid <= _LAST_UID))

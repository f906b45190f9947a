"""What was removed, in numbers: `redaction.json`. Never what it was."""

from __future__ import annotations

import msgspec

SCHEMA = "xpukit.redaction/1"


class RuleKind(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule removes ("secret": for good; "name": a pseudonym stands there). `off`: it was not used."""

    removes: str
    what: str
    off: bool = False


class RedactionReport(msgspec.Struct, frozen=True, kw_only=True):
    """`rules`: rule -> how often (those that replaced nothing are left out); `kinds`: what these and those that were
    switched off are for; `files`: question (scrubbed) -> rule -> how often; `map_id` names the map that can
    put names back. A text written twice (into the answers and a summary) is counted twice."""

    schema: str = SCHEMA
    map_id: str = ""
    secrets: int = 0
    names: int = 0
    rules: dict[str, int] = {}
    kinds: dict[str, RuleKind] = {}
    files: dict[str, dict[str, int]] = {}
    switched_off: tuple[str, ...] = ()

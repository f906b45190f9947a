"""What the scan of a finished archive looks for; written apart from the redactor's rules, so that a defect of one is
not a defect of both."""

from __future__ import annotations

import re

from xpukit.host.redaction.scan_names import NAME_RULES
from xpukit.host.redaction.scan_parted import PARTED_RULES
from xpukit.host.redaction.scan_rule import ScanRule
from xpukit.host.redaction.scan_secrets import SECRET_RULES

_SETTING = re.compile(
    r"(?:.*[_.\-])?(?:passw(?:or)?d|passphrase|secret|token|credentials?|api_?key|access_?key"
    r"|private_?key|secret_?key)|.*_(?:key|pat|pwd|pass)",
    re.IGNORECASE,
)


def is_secret_setting(name: str) -> bool:
    """Whether an environment variable's value must not be anywhere."""
    return bool(_SETTING.fullmatch(name)) and not re.search(r"(?i)public|primary|(?:eos|bos|pad|unk)_token", name)


SCAN_RULES: tuple[ScanRule, ...] = (*SECRET_RULES, *PARTED_RULES, *NAME_RULES)

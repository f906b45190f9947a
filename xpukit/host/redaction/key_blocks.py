"""Key material: PEM and GPG blocks (whole, on one line, or cut off), SSH keys, WireGuard keys."""

from __future__ import annotations

import re

from xpukit.host.redaction.rule import MARK, Rule, Scene, build_secret_rule

# A block may stand on one line with "\n" written out (JSON, environment), also escaped twice.
_BREAK = r"(?:\s|\\+[nrt])"
_BLOCK = re.compile(
    r"-----BEGIN (?P<kind>[A-Za-z0-9 ]{1,40})-----"
    r"(?P<body>(?:(?!-----(?:BEGIN|END) ).){0,65536}?)"
    r"(?P<end>-----END (?P=kind)-----|(?=-----BEGIN )|\Z|(?=[\"'\x00]))",
    re.DOTALL,
)
_BASE64_LINE = re.compile(r"[A-Za-z0-9+/=]{4,}")
# The rest of a block whose beginning was cut off.
_HEADLESS = re.compile(
    rf"(?:(?<![A-Za-z0-9+/=])[A-Za-z0-9+/=]{{1,100}}{_BREAK}+)+(?=-----END [A-Za-z0-9 ]{{1,40}}-----)"
)
# Lines out of the middle of a block; hex lines (checksums) and one repeated letter are something else.
_MIDDLE = re.compile(
    r"(?<![A-Za-z0-9+/=])(?:[A-Za-z0-9+/]{64}(?:\r?\n|\\n)){2,}(?:[A-Za-z0-9+/]{1,64}={0,2}(?![A-Za-z0-9+/=]))?"
)
_MANY_LINES = re.compile(r"[A-Za-z0-9+/]{64}(?:\r?\n|\\n)[A-Za-z0-9+/]{64}(?:\r?\n|\\n)")


def _hide_blocks(text: str, scene: Scene) -> str:
    def replace(match: re.Match[str]) -> str:
        body = match["body"]
        if MARK in body:
            return match.group()
        if not match["end"]:
            # Cut off at the tail, or the closing quote of the string: what follows the key's own lines stays.
            body = _take_key_lines(body)
            if not body.strip():
                return match.group()
        rest = match["body"][len(body) :] if not match["end"] else ""
        hidden = scene.hide("key-block", "")
        return f"-----BEGIN {match['kind']}-----{hidden}{rest}{match['end']}"

    text = _BLOCK.sub(replace, text)
    if "-----END " in text:
        text = _HEADLESS.sub(lambda match: scene.hide("key-block", "") + "\n", text)
    return text


def _take_key_lines(body: str) -> str:
    """The part of a cut-off block that is base64, armour headers and line breaks."""
    match = re.match(rf"(?:{_BREAK}+|[A-Za-z][A-Za-z\-]*: [^\n\\]*|[A-Za-z0-9+/=]+)*", body)
    return match.group() if match else ""


def _hide_middles(text: str, scene: Scene) -> str:
    if not _may_have_long_lines(text) or not _MANY_LINES.search(text):
        return text

    def replace(match: re.Match[str]) -> str:
        block = match.group()
        letters = set(block) - set("\r\n\\")
        if len(letters) < 24 or letters <= set("0123456789abcdefABCDEF"):
            return block
        return scene.hide("key-lines", "") + ("\n" if block.endswith("\n") else "")

    return _MIDDLE.sub(replace, text)


def _may_have_long_lines(text: str) -> bool:
    """Whether two lines in a row can end in 64 characters of base64: cheaper than the pattern."""
    if "\\n" in text:
        return True
    before = False
    for line in text.split("\n"):
        long = len(line) >= 64 and " " not in line[-65:-1]
        if long and before:
            return True
        before = long
    return False


RULES: tuple[Rule, ...] = (
    Rule(
        name="key-block",
        removes="secret",
        what="PEM and GPG blocks: private and public keys, certificates",
        hints=("-----begin ", "-----end "),
        apply=_hide_blocks,
        whole=True,
    ),
    Rule(
        name="key-lines",
        removes="secret",
        what="base64 lines as out of the middle of a key",
        hints=(),
        apply=_hide_middles,
    ),
    build_secret_rule(
        "ssh-public-key",
        "SSH public and host keys",
        r"(?<![A-Za-z0-9+/])(?P<s>AAAA[A-Za-z0-9+/]{40,}={0,3})",
        hints=("aaaa",),
        check=lambda text: len(set(text)) > 10,
    ),
    build_secret_rule(
        "ssh-fingerprint",
        "SSH key fingerprints",
        r"SHA256:(?P<s>[A-Za-z0-9+/]{43})(?![A-Za-z0-9+/])",
        hints=("sha256:",),
    ),
    build_secret_rule(
        "known-hosts-hash",
        "hashed known_hosts names",
        r"\|1\|(?P<s>[A-Za-z0-9+/=]{20,}\|[A-Za-z0-9+/=]{20,})",
        hints=("|1|",),
    ),
    build_secret_rule(
        "wireguard-key",
        "WireGuard keys",
        r"(?i:private|public|preshared|peer|pre-shared)(?:[ _\-]?key)?[\"']?\s*[:=]\s*[\"']?"
        r"(?P<s>[A-Za-z0-9+/]{42}[A-Za-z0-9+/=]=)(?![A-Za-z0-9+/=])",
        hints=("private", "public", "preshared", "peer", "pre-shared"),
    ),
    build_secret_rule(
        "wireguard-key",
        "WireGuard keys",
        r"(?:(?<=\t)|(?m:^))(?P<s>[A-Za-z0-9+/]{43}=)(?=\t)",
        hints=("=\t",),
    ),
    build_secret_rule(
        "putty-key",
        "PuTTY private keys",
        r"Private-Lines: \d+\s+(?P<s>(?:[A-Za-z0-9+/=]+\s*){1,200}?)(?=Private-MAC|\Z)",
        hints=("private-lines:",),
        whole=True,
    ),
    build_secret_rule(
        "magic-cookie",
        "X display cookies",
        r"MIT-MAGIC-COOKIE-1\s+(?P<s>[0-9a-fA-F]{16,})",
        hints=("magic-cookie",),
    ),
)

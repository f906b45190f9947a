"""Values whose name says that they are secret: NAME=value, "name": "value", --name value, and lists of such."""

from __future__ import annotations

import re

from xpukit.host.redaction.rule import MARK, Rule, Scene, build_secret_rule

NAME = "named-value"

# The last word of a secret's name. What may stand before it is looked at from the match backwards.
_WORD = re.compile(
    r"(?i:passphrase|password|passwd|passwort|passkey|secret|token|credentials?|apikey|api-?_?key|access-?_?key"
    r"|private-?_?key|secret-?_?key|account-?_?key|auth-?_?key|encryption-?_?key|signing-?_?key|session-?_?key"
    r"|shared-?_?key|certificate-?_?key|(?<=key-)data|(?<=private_)key_id|license-?_?key|master-?_?key|ssh-?_?key|psk|wpa-psk|cookie)(?![A-Za-z0-9_])"
    r"|(?<=[A-Za-z0-9]_)(?:KEY|PASS|PWD|PAT|AUTH|PW|PSK|SIG|CREDS|pass|passwd|pwd)(?![A-Za-z0-9_])"
    r"|(?<=--)(?:pass|key|secret|auth|pw)(?=[= \x00\"'])"
    r"|(?<=[,;&? ])(?:pass|pw|pwd)(?==)"
    r"|(?<=[A-Za-z]-)(?:Signature|Credential)(?==)|(?<=[?&])sig(?==)|(?<=[a-z])(?:ApiKey|Key|Pwd|PWD)(?=[\"']? ?[:=])"
)
_BEFORE = re.compile(r"[A-Za-z0-9_.\-]*\Z")
_SEPARATOR = re.compile(
    r"(?P<close>\\*[\"'])?(?:(?P<assign>\s{0,40}(?::=|=>|=(?!=)|:(?!:))[ \t]*(?:\n[ \t]*(?=[\"'\[]))?)"
    r"|(?P<next>[ \t]+|\x00|\s*,\s*))"
)
_QUOTED = re.compile(r"(?P<q>\\*[\"'])(?P<s>(?:(?!(?P=q))[^\n\x00])*)(?P=q)")
_TRIPLE = re.compile(r"(?P<q>\"{3}|'{3})(?P<s>.{1,4096}?)(?P=q)", re.DOTALL)
# YAML: the value stands on the following lines, further in.
_BLOCK_MARK = re.compile(r"[|>][+\-]?\d?[ \t]*(?:#[^\n]*)?\n")
_LIST = re.compile(r"\[(?P<items>[^\[\]\n]*)\]")
_PLAIN = re.compile(r"(?:[^\s\"'\x00&,;\\]|\\(?![nrt\"'])|[,;](?!\s*[\w .\-]{1,40}=)(?!\s|\Z))+")
_TO_LINE_END = re.compile(r"[^\n\x00]+")
_LINE_START = re.compile(r"(?:^|[\n\x00])[ \t]*(?:- |export |set |declare -x |Environment=)?[\"']?\Z")


def _split(words: str) -> list[str]:
    return words.split()


# Words that make a harmless name of the same form: tokens of a language model, keys of a table.
_HARMLESS_TOKEN = frozenset(
    _split(
        """
    eos bos pad unk sep cls mask stop start end begin next image audio video special extra added first last max min
    num per prompt new each input output chat tool think draft additional_special decode prefill speculative
    suppress forced decoder single total cached ignore valid of lookahead nan word any
        """
    )
)
_HARMLESS_KEY = frozenset(
    _split(
        """
    id primary foreign sort partition cache public group hash dict index lookup routing row column map object item
    unique candidate composite up down any press host menu ctrl alt shift enter config state state_dict registry
    batch option metric label feature bus scan event weight param kernel attn query input sysrq compose magic no
    missing unknown invalid this the a
        """
    )
)
_WORTHLESS = re.compile(
    r"(?i:true|false|null|none|nil|yes|no|on|off|undefined|unset|empty|n/a|required|optional|enabled|disabled|auto"
    r"|default|unknown|string|str|int|bool|bytes|not[ _-]?set|not required|hidden|masked|redacted)"
    r"|[*x•.\-_]+|\$.*|<.*|%\(.*|\{\{?.*|\(.*|\[.*|\\.*|=.*|\|.*"
)
# A path is where the secret lies, not the secret; a class is `Token(…)`.
_PATH = re.compile(
    r"(?:~|\.{1,2})?/(?:etc|run|var|home|root|usr|opt|mnt|tmp|srv|dev|proc|sys|data|models"
    r"|workspace|boot)(?:/\S*)?|~/\S*|file:\S+"
)
_PASSWORDLIKE = re.compile(r"(?i)pass|pwd|psk|pw\Z|secret|credential|api|auth|access|private|cookie|_pat\Z|sig|creds")


def is_secret_name(name: str) -> bool:
    """Whether a value of this name is secret (`HF_TOKEN`, `db.password`, `apiKey`; not `pad_token`, `KEY_LEN`)."""
    match = None
    for match in _WORD.finditer(name):  # noqa: B007  the last one is wanted
        pass
    return match is not None and match.end() == len(name) and not _is_harmless(name[: match.start()], match.group())


def hide_named_value(name: str, value: str, scene: Scene) -> str:
    """The value of a setting whose name is known for itself (an environment variable, a udev property)."""
    if not is_secret_name(name) or MARK in value or not _is_worth_hiding(name, value.strip()):
        return value
    return scene.hide(NAME, value)


def _is_harmless(before: str, word: str) -> bool:
    stem = before.rstrip("_-.").lower()
    last = re.split(r"[_\-.]", stem)[-1] if stem else ""
    low = word.lower()
    if low == "token":
        return last in _HARMLESS_TOKEN or stem in _HARMLESS_TOKEN
    if low == "key":
        return last in _HARMLESS_KEY
    if low in ("session_key", "session-key", "sessionkey", "cookie"):
        return False
    return False


def _is_worth_hiding(name: str, value: str) -> bool:
    if not value or _WORTHLESS.fullmatch(value) or _PATH.fullmatch(value):
        return False
    return bool(_PASSWORDLIKE.search(name)) or not value.replace(".", "").isdigit() or len(value) >= 16


def _is_plausible(value: str) -> bool:
    """Whether a word after `token:` in running text looks like one: long, and not a word of a language."""
    return len(value) >= 8 and (any(c.isdigit() for c in value) or not value.isalpha())


def _hide_named(text: str, scene: Scene) -> str:
    parts: list[str] = []
    done = 0
    for match in _WORD.finditer(text):
        if match.start() < done:
            continue
        window = max(done, match.start() - 80)
        found = _BEFORE.search(text[window : match.start()])
        before = found.group() if found else ""
        separator = _SEPARATOR.match(text, match.end())
        if separator is None or _is_harmless(before, match.group()):
            continue
        name = before + match.group()
        begin = match.start() - len(before)
        span = _find_value(text, begin, name, separator)
        for start, end in span:
            value = text[start:end]
            if start < done or MARK in value or not _is_worth_hiding(name, value.strip()):
                continue
            parts += (text[done:start], scene.hide(NAME, value))
            done = end
    return "".join((*parts, text[done:])) if parts else text


def _find_value(text: str, begin: int, name: str, separator: re.Match[str]) -> list[tuple[int, int]]:
    """Where the value(s) stand; [] when what follows is no value of this name."""
    position = separator.end()
    is_flag = re.match(r"--?[A-Za-z]", name) is not None
    if separator["next"] is not None:
        # `--api-key X`, "--api-key", "X", NUL-separated; for the rest only what netrc and the like write.
        comma = "," in separator["next"]
        if not is_flag or comma != bool(separator["close"]):
            return _find_after_space(text, begin, name, separator)
        if text[position : position + 1] == "-":
            return []
    if separator["assign"] and text[position : position + 1] in ("|", ">"):
        mark = _BLOCK_MARK.match(text, position)
        if mark is not None:
            return _find_block_lines(text, begin, mark.end())
    quoted = _TRIPLE.match(text, position) or _QUOTED.match(text, position)
    if quoted is not None:
        return [quoted.span("s")]
    if separator["close"] and not separator["assign"]:
        return []
    listed = _LIST.match(text, position)
    if listed is not None:
        items = list(_QUOTED.finditer(text, *listed.span("items")))
        return [item.span("s") for item in items]
    assign = separator["assign"] or ""
    opener = text[begin - 1 : begin] if begin else ""
    if opener in ('"', "'") and not separator["close"] and assign == "=":
        # ["HF_TOKEN=a b"]: the value ends where the quoted word ends.
        escaped = _count_backslashes(text, begin - 1)
        closing = "\\" * escaped + opener
        end = text.find(closing, position)
        line_end = min(
            (place for place in (text.find("\n", position), text.find("\0", position)) if place >= 0), default=len(text)
        )
        if 0 <= end <= line_end:
            return [(position, end)]
    if assign and _LINE_START.search(text[max(0, begin - 24) : begin]) and not is_flag:
        whole = _TO_LINE_END.match(text, position)
        # api_key=None, port=8000: a list of settings, of which this one is not set.
        if whole is not None and _WORTHLESS.fullmatch(whole.group().partition(", ")[0]):
            return []
        if whole is not None and not opener:
            return [_trim(text, position, whole.end())]
        if whole is not None and opener in ("\n", "\0", " ", "\t") and ("=" in assign or ":" in assign):
            return [_trim(text, position, whole.end())]
    plain = _PLAIN.match(text, position)
    if plain is None:
        return []
    start, end = position, plain.end()
    while end > start and text[end - 1] in ",;)}]>":
        end -= 1
    if (
        ":" in assign
        and not separator["close"]
        and not _PASSWORDLIKE.search(name)
        and not _is_plausible(text[start:end])
    ):
        return []
    return [(start, end)]


def _find_block_lines(text: str, begin: int, position: int) -> list[tuple[int, int]]:
    """Each line of a YAML block that stands further in than its name."""
    indent = begin - (text.rfind("\n", 0, begin) + 1)
    lines: list[tuple[int, int]] = []
    for line in re.compile(r"(?P<in>[ \t]*)(?P<s>[^\n]*)\n?").finditer(text, position):
        if len(line["in"]) <= indent or not line["s"] or len(lines) >= 256:
            break
        lines.append((line.start("s"), line.start("s") + len(line["s"].rstrip())))
    return lines


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Without the white space, comment and shell continuation behind the value."""
    value = text[start:end]
    for mark in (" #", " && ", " || ", "; "):
        place = value.find(mark)
        if place > 0:
            value = value[:place]
    value = value.rstrip().rstrip(",").removesuffix("\\").rstrip()
    return start, start + len(value)


def _find_after_space(text: str, begin: int, name: str, separator: re.Match[str]) -> list[tuple[int, int]]:
    """`password X` of netrc and of switches' settings: after a login, or at the start of a line."""
    if "," in (separator["next"] or "") or name.lower() not in ("password", "passwd", "secret", "psk", "wpa-psk"):
        return []
    before = text[max(0, begin - 80) : begin]
    if name.lower() in ("password", "passwd") and re.search(
        r"(?:login|user|username|account)[ \t\n]+\S+[ \t\n]+\Z", before
    ):
        plain = re.compile(r"\S+").match(text, separator.end())
        return [plain.span()] if plain else []
    if name.lower() in ("psk", "wpa-psk"):
        plain = re.compile(r"\S+").match(text, separator.end())
        return [plain.span()] if plain and len(plain.group()) >= 8 else []
    return []


def _count_backslashes(text: str, position: int) -> int:
    count = 0
    while position - count - 1 >= 0 and text[position - count - 1] == "\\":
        count += 1
    return count


RULES: tuple[Rule, ...] = (
    Rule(
        name=NAME,
        removes="secret",
        what="values named password, secret, token, key, credentials and the like",
        hints=("pass", "secret", "token", "key", "credential", "_pwd", "_pw", "_pat", "_auth", "psk", "cookie", "-auth",
               "signature", "_sig", "?sig", "&sig", "pwd", "creds", "pw="),
        apply=_hide_named,
    ),
    build_secret_rule(
        NAME,
        "values named password, secret, token, key, credentials and the like",
        r"<[\w:.\-]{0,60}(?i:passw(?:or)?d|passphrase|secret|token|api-?_?key|private-?_?key|credentials?)"
        r"(?:\s[^<>\n]{0,200})?>(?P<s>[^<>\n]{1,400})</",
        hints=("</",),
        check=lambda text: not _WORTHLESS.fullmatch(text),
    ),
)  # fmt: skip

"""One line of a log: what was put before the message, how loud it is, and the message in the form patterns match."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from xpukit.core.json_document import BAD_JSON

LINE_LIMIT_BYTES = 4096
_HEAD_BYTES = 3072

# Terminal colours, hyperlinks and titles; also as text, the way some viewers print them.
_COLOUR = re.compile(
    r"(?:\x1b|\^\[|\bESC)\[[0-9;?]{0,20}[ -/]{0,4}[@-~]|\x1b\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)|\x1b[()][0-9A-B]"
)

_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_CLOCK = r"\d{1,2}:\d{2}:\d{2}(?:[.,]\d{1,9})?"
_DATE_TIME = rf"\d{{4}}[-/]\d{{2}}[-/]\d{{2}}[T ]{_CLOCK}(?:Z| ?[+-]\d{{2}}:?\d{{2}})?"
# Random parts of the names of pods: no vowels, no digits that look like letters (Kubernetes, apimachinery's util/rand).
_POD_PART = r"-[bcdfghjklmnpqrstvwxz2456789]"
# What a message of a serving stack begins with: a name and a number alone before it are no proof of a prefix.
_BEGINS = (
    r"(?=\d{4}[-/]\d{2}[-/]\d{2}|\[|\(|\{|Traceback|File \"|(?:INFO|WARNING|ERROR|CRITICAL|FATAL|WARN|DEBUG)\b"
    r"|[\w.:]{1,90}(?:[Ee]rror|[Ee]xception)\b|[EF]\d{3,4} |\d{1,2}:\d{2}:\d{2})"
)
_LEVEL = r"(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|CRITICAL|FATAL|EMERG|ALERT|CRIT)"

# What loggers, the kernel, journald, Docker, compose, kubectl and CRI put before a message. Each alternative begins
# with something of its own and repeats only within limits: a prefix is found in one pass, whatever the line holds.
_PREFIX = re.compile(
    r"\s{0,64}(?:"
    + "|".join(
        (
            rf"\[\s{{0,2}}{_DATE_TIME}(?: [A-Z]{{2}}\d{{1,4}}){{0,4}}\]",  # Ray, sglang with its ranks
            rf"\[{_DAY} {_MONTH} {{1,2}}\d{{1,2}} {_CLOCK} \d{{4}}\]",  # dmesg -T
            r"\[\s{0,8}\d{1,8}\.\d{3,9}\]",  # dmesg
            r"\[\s{0,8}[TC]\d{1,8}\]",  # the kernel's caller
            rf"{_DATE_TIME}(?: -)?(?= |$)",  # ISO, Python's logging
            r"(?:stdout|stderr) [FP](?= |$)",  # CRI
            # syslog: time, host, unit
            rf"{_MONTH} {{1,2}}\d{{1,2}} {_CLOCK} [\w.-]{{1,64}} [\w.@/()-]{{1,64}}(?:\[\d{{1,9}}\])?:",
            rf"{_MONTH} {{1,2}}\d{{1,2}} {_CLOCK}(?= )",
            r"[\w.-]{1,64} (?:(?:kernel|dockerd|containerd|systemd)(?:\[\d{1,9}\])?|[\w.@/()-]{1,64}\[\d{1,9}\]):",
            rf"{_DAY} {_DATE_TIME} [A-Z]{{2,5}}(?= )",  # journald's short-full
            r"\d{9,10}\.\d{6}(?= )",  # journald's short-unix
            r"<\d{1,3}>1 (?:\S{1,128} ){5}(?:-|\[[^\]]{0,500}\])(?= )",  # syslog of RFC 5424
            r"kernel:",
            r"<\d{1,3}>",
            r"(?:kern|user|daemon|syslog) {1,4}:(?:emerg|alert|crit|err|warn|notice|info|debug) {1,4}:",  # dmesg -x
            r"(?P<container>[A-Za-z0-9][\w.-]{0,62}) {1,40}\|(?= |$)",  # compose
            r"\[pod/[\w.-]{1,128}/[\w.-]{1,64}\]",  # kubectl --prefix
            # stern: pod and container, of a Deployment or DaemonSet; of a StatefulSet
            rf"(?P<pod>[a-z0-9][a-z0-9.-]{{0,60}}(?:{_POD_PART}{{5,10}})?{_POD_PART}{{5}} {{1,40}}"
            r"[a-z0-9][a-z0-9-]{0,62})(?= )",
            rf"(?P<set>[a-z][a-z0-9-]{{0,60}}-\d{{1,3}} {{1,40}}[a-z][a-z0-9-]{{0,62}}) {_BEGINS}",
            # Intel MPI's -l; srun's -l (a number and a colon are also the rest of an address on a broken line)
            rf"(?P<rank>\[\d{{1,5}}\](?= )|\d{{1,5}}: (?!\[){_BEGINS})",
            r"\((?P<process>[A-Za-z]\w{0,40}(?: [A-Za-z]\w{0,10}=[\w.:-]{1,40},?){1,4})\)",  # vLLM, Ray
            r"\[(?:rank|default)\d{1,4}\]:?",  # torchrun
            r"\[\d{1,4},\d{1,5}\]<std(?:err|out)>:",  # mpirun of Open MPI
            # vLLM, with the place in brackets (new) or before one (old)
            rf"\[?(?P<level>{_LEVEL})\]? \d{{2}}-\d{{2}} {_CLOCK}"
            r"(?: \[[^\]\s]{1,120}\]| [\w./-]{1,80}:\d{1,6}\])?",
            rf"(?P<pylevel>{_LEVEL}) {{1,8}}[\w.]{{1,64}}:\d{{1,6}} --",  # Ray
            # glog, PyTorch's C++
            r"\[?(?P<glevel>[IWEF])\d{3,4} \d{2}:\d{2}:\d{2}\.\d{1,9} {1,8}(?:\d{1,9} )?[\w./-]{1,90}:\d{1,6}\]",
            r"\d{4}:\d{2}:\d{2}-\d{2}:\d{2}:\d{2}:\(\s{0,8}\d{1,9}\)",  # oneCCL
        )
    )
    + r")"
)
_PREFIXES_AT_MOST = 8
_WRAPS_AT_MOST = 3

# How a program says that something is wrong, where no known error says it better.
_LOUD = re.compile(
    r"\*ERROR\*|\|CCL_ERROR\||\blevel=(?:error|fatal|panic)\b|\bseverity=(?:uncorrectable|fatal)"
    r"|\b(?:kernel BUG|BUG: |Oops: |general protection fault|Kernel panic|Segmentation fault|core dumped)"
    r"|^\s{0,8}\[?(?:ERROR|FATAL|CRITICAL|panic)\]?\s{0,8}:?\s|^\s{0,8}(?:[\w./-]{1,64}: ){0,2}(?:fatal )?error: |^E: "
    # Python's logging with its own formats, loguru, Chromium, Docker, Rust, a shell
    r"|^(?:ERROR|CRITICAL|FATAL):[\w.-]{1,64}:| - (?:ERROR|CRITICAL|FATAL) - |^\s{0,8}\|? ?(?:ERROR|CRITICAL) {1,8}\|"
    r"|^\s{0,8}(?:\[error\]|Error:|\*\* ERROR \*\*)|^\[\d{4}/\d{6}\.\d{3,6}:(?:ERROR|FATAL):"
    r"|\bError response from daemon: |\bpanicked at\b"
    r"|^(?:/\w{1,8}){0,3}/?(?:ba|da|z)?sh: (?:(?:line )?\d{1,6}: )?\S{1,200}: (?:command )?not found$"
    r"|^terminate called|^Aborted\b|^Bus error\b|^Killed\b|\bBAD TERMINATION\b"
    # an exception of C++ and what it says; the C library; a process ended by a signal (no stop, no Ctrl-C)
    r"|^\s{0,8}(?:[A-Za-z_]\w{0,60}::){1,6}(?:\w{1,60}_)?(?:error|exception|Error|Exception)\b|^\s{0,8}what\(\): "
    r"|^(?:free|malloc|realloc|munmap_chunk)\(\): |\bdouble free or corruption\b|\bcorrupted (?:size|double-linked)\b"
    r"|\bstack smashing detected\b|^pure virtual method called|\bAssertion [`'\"].{1,400}['\"] failed"
    r"|\berror while loading shared libraries: |^(?:Floating point exception|Illegal instruction)\b"
    r"|\bOOMKilled\b|\boom-kill:|^Abort\(-?\d{1,10}\) on node \d"
    r"|\b[Ee]xit(?:ed)? (?:with )?(?:exit )?(?:status|code)(?: |: |=)(?:13[1-9]|14[02]|-(?:[3-9]|11))\b"
    r"|\b(?:by|with|on|received) signal:? (?:SIG)?(?:[4-9]|11|SEGV|ABRT|BUS|FPE|ILL|KILL)\b"
    # a level behind numbers (dates of any form) and the place that says it; short forms
    r"|^(?:[\[(<]?\d[\d.,:/+TZ-]{0,40}[\])>,]{0,2}\s{1,8}){1,4}(?:\{[\w./:-]{1,90}\} )?[\[(]?"
    r"(?:ERROR|FATAL|CRITICAL|SEVERE)\b"
    r"|^\{[\w./:-]{1,90}\} (?:ERROR|FATAL|CRITICAL)\b|^SEVERE: |^\[[EF]\] |\blvl=(?:eror|error|fatal|crit)\b",
    re.ASCII,
)
EXCEPTION = re.compile(
    r"^(?P<name>(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Z]\w{0,60}(?:Error|Exception|Exit|Interrupt|Lost|Timeout|Warning))"
    r"(?::\s?(?P<text>.{0,2000}))?$",
    re.ASCII,
)
# What a line must hold to be loud, found without taking it apart.
_MAYBE_LOUD = re.compile(
    rb"ERR|CRIT|FATAL|EMERG|ALERT|Error|Exception|Exit|Interrupt|Lost|Timeout|Traceback|Oops|BUG|fault|dumped|panic"
    rb"|\"(?:level|levelname|severity)\\?\": ?\\?\"(?:error|fatal|critical|panic)\\?\""
    rb"|[Ee]rror: |level=|severity=|E: |terminate called|Aborted|\[error\]|not found\s{0,4}$"
    rb"|Bus error|Killed|TERMINATION|\b[EF]\d{3,4} |::\w{0,60}(?:error|exception)|what\(\)|\(\): |corrupt|smashing"
    rb"|pure virtual|Assertion|shared libraries|Floating|Illegal|oom-kill|Abort\(|xit(?:ed)? |signal|SEVERE|\[[EF]\] "
    rb"|lvl="
)
_LEVELS = {"ERR": "error", "ERROR": "error", "E": "error", "F": "critical", "FATAL": "critical", "CRITICAL": "critical",
           "CRIT": "critical", "EMERG": "critical", "ALERT": "critical", "W": "warning", "WARN": "warning",
           "WARNING": "warning", "PANIC": "critical"}  # fmt: skip
_COLOUR_BYTES = re.compile(rb"\x1b\[[0-9;?]{0,20}[ -/]{0,4}[@-~]")
_BYTE_LIST = re.compile(rb'"MESSAGE"\s?:\s?\[\s?\d')


class LogLine(NamedTuple):
    """A line taken apart. `tag` tells processes and containers apart; `level`: critical, error, warning, info or ""."""

    message: str
    tag: str
    level: str

    @property
    def loud(self) -> bool:
        """Whether the line itself says that something is wrong."""
        return self.level in ("error", "critical") or _LOUD.search(self.message) is not None


def parse_line(raw: bytes) -> LogLine:
    """Take a line apart. Never fails; keeps the white space that a message begins with (tracebacks indent)."""
    tag: list[str] = []
    level = ""
    message = _COLOUR.sub("", _decode(raw))
    # What Docker or kubectl wraps may be JSON again, of the program itself.
    for _ in range(_WRAPS_AT_MOST):
        said, stated = _unwrap(message.lstrip())
        level = stated or level
        if said is not None:
            message = _COLOUR.sub("", _decode(said))
        before = message
        message, found = _take_prefixes(message, tag)
        level = found or level
        if (said is None and message == before) or not message.startswith("{"):
            break
    return LogLine(message=message.rstrip(), tag=" ".join(tag), level=level)


def _take_prefixes(text: str, tag: list[str]) -> tuple[str, str]:
    """The text behind its prefixes, and the level that one of them states; containers and processes go to `tag`."""
    position = 0
    level = ""
    for _ in range(_PREFIXES_AT_MOST):
        found = _PREFIX.match(text, position)
        if found is None:
            break
        groups = found.groupdict()
        tag += [groups[name] for name in ("container", "process", "pod", "set", "rank") if groups[name]]
        said = groups["level"] or groups["pylevel"] or groups["glevel"]
        if said:
            level = _LEVELS.get(said, "info")
        position = found.end()
    message = text[position:]
    return (message[1:] if position and message.startswith(" ") else message), level


def may_be_loud(raw: bytes) -> bool:
    """A quick look whether a line can be loud, an exception or the begin of a traceback; True may be wrong."""
    return _MAYBE_LOUD.search(raw) is not None


def squeeze(message: str) -> str:
    """Without white space: what patterns are applied to."""
    return "".join(message.split())


def shape_line(raw: bytes) -> bytes:
    """Lower case, without colours, white space and digits: lines that differ in numbers only have one shape."""
    if b"\x1b[" in raw:
        raw = _COLOUR_BYTES.sub(b"", raw)
    return raw.lower().translate(None, b"0123456789 \t\r\x0b\x0c")


def trim_line(raw: bytes) -> bytes:
    """A line no longer than the limit: its head and its tail."""
    if len(raw) <= LINE_LIMIT_BYTES:
        return raw
    return raw[:_HEAD_BYTES] + b" ... " + raw[_HEAD_BYTES - LINE_LIMIT_BYTES + 5 :]


def _decode(raw: bytes) -> str:
    text = raw.decode("utf-8", errors="replace")
    # A progress bar rewrites its line: what stood last is what one saw.
    return text.rstrip("\r\n").rpartition("\r")[2] if "\r" in text else text


def unpack_bytes(raw: bytes) -> bytes:
    """The message of a line of journald's JSON that holds it as a list of bytes, which it does for text with colours,
    or that is no UTF-8; any other line as it is."""
    said = _unwrap(_decode(raw))[0] if _BYTE_LIST.search(raw) else None
    return raw if said is None else said


def _unwrap(text: str) -> tuple[bytes | None, str]:
    """The message of Docker's json-file, journald's JSON or a program's own, and the level that it states; None for
    what is none of them."""
    if not text.startswith("{") or not text.rstrip().endswith("}"):
        return None, ""
    try:
        entry = json.loads(text)
    except BAD_JSON:
        return None, ""
    if not isinstance(entry, dict):
        return None, ""
    stated = next((str(entry[key]) for key in ("level", "levelname", "severity") if key in entry), "")
    level = _LEVELS.get(stated.upper(), "")
    for key in ("log", "MESSAGE", "message", "msg"):
        said = entry.get(key)
        if isinstance(said, str):
            return said.encode("utf-8", errors="replace"), level
        if isinstance(said, list) and all(type(one) is int and 0 <= one < 256 for one in said):
            return bytes(said), level
    return None, level

"""A rotation on a timer: units of systemd, or a line for /etc/cron.d. Nothing is installed from here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from xpukit.core.errors import UsageError

_SPAN = re.compile(r"(\d{1,4})(min|h|d|w)")
_WORDS = ("hourly", "daily", "weekly", "monthly")
_HINT = "for example 12h, 1d, 1w, daily, weekly or monthly"
# Neither at midnight nor at a full hour, when everything else begins.
_MINUTE, _HOUR = 17, 3


def render_timer(name: str, argv: Sequence[str], every: str) -> tuple[tuple[str, str], ...]:
    """File names and texts of a service and a timer for /etc/systemd/system. Raises UsageError for `every`."""
    span = _SPAN.fullmatch(every)
    if span and int(span[1]):
        when = [f"OnBootSec={every}", f"OnUnitActiveSec={every}"]
    elif every in _WORDS:
        when = [f"OnCalendar={every}", "Persistent=true", "RandomizedDelaySec=30min"]
    elif every and not re.search(r"[^\w ,:*/.~-]", every) and re.search(r"[\d*]", every) and " " in every:
        when = [f"OnCalendar={every}", "Persistent=true"]
    else:
        raise UsageError(f"--every {every!r} is no span of time", hint=f"{_HINT}, or systemd's 'Sun 03:17'")
    unit = f"xpukit-rotate-{name}"
    service = [
        "[Unit]",
        f"Description=Rotate the engines of {name}",
        "After=docker.service network-online.target",
        "Requires=docker.service",
        "",
        "[Service]",
        "Type=oneshot",
        "# Keys that the Compose file and --api-key-env refer to; mode 0600.",
        f"EnvironmentFile=-/etc/xpukit/{name}.env",
        f"ExecStart={' '.join(_quote_unit(word) for word in argv)}",
        "# Loading a model takes as long as it takes; xpukit has limits of its own.",
        "TimeoutStartSec=infinity",
        "# Time to give an engine back its requests.",
        "TimeoutStopSec=90",
    ]
    timer = [
        "[Unit]",
        f"Description=Rotate the engines of {name}: {every}",
        "",
        "[Timer]",
        *when,
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return ((f"{unit}.service", "\n".join(service) + "\n"), (f"{unit}.timer", "\n".join(timer) + "\n"))


def render_cron(name: str, argv: Sequence[str], every: str) -> str:
    """The text of /etc/cron.d/xpukit-rotate-NAME. Raises UsageError where cron cannot say it."""
    log = f"/var/log/xpukit-rotate-{name}.log"
    command = shlex.join(argv).replace("%", r"\%")
    return (
        f"# The engines of {name} are replaced one after another. A rotation that runs is not joined by a second.\n"
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
        f"{_spell_cron(every)} root {command} >>{shlex.quote(log)} 2>&1\n"
    )


def _spell_cron(every: str) -> str:
    if len(every.split()) == 5 and re.fullmatch(r"[\d*/, A-Za-z-]+", every):
        return every
    known = {
        "hourly": f"{_MINUTE} * * * *",
        "daily": f"{_MINUTE} {_HOUR} * * *",
        "weekly": f"{_MINUTE} {_HOUR} * * 0",
        "monthly": f"{_MINUTE} {_HOUR} 1 * *",
        "1d": f"{_MINUTE} {_HOUR} * * *",
        "1w": f"{_MINUTE} {_HOUR} * * 0",
        "24h": f"{_MINUTE} {_HOUR} * * *",
    }
    if every in known:
        return known[every]
    span = _SPAN.fullmatch(every)
    if span and span[2] == "h" and int(span[1]) and 24 % int(span[1]) == 0:
        return f"{_MINUTE} */{span[1]} * * *"
    hint = f"{_HINT} (hours that divide a day), cron's own five fields, or --print-timer"
    raise UsageError(f"--every {every!r} cannot be said in cron's words", hint=hint)


def _quote_unit(word: str) -> str:
    """A word of ExecStart=: systemd fills in % and $."""
    text = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$").replace('"', '\\"')
    return f'"{text}"' if not text or re.search(r"[\s;'\"\\]", text) else text

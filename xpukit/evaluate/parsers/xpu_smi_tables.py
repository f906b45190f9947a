"""The tables that `xpu-smi stats`, `health` and `diag` print, 1.0 to 1.3.7 and 2.x."""

from __future__ import annotations

import re

import msgspec

from xpukit.evaluate.parsers.lines import TEXT_LENGTH, Diary, Note, Problem, read_number, split_lines
from xpukit.evaluate.parsers.xpu_smi_names import SmiMetric, find_smi_problem, name_metric
from xpukit.evaluate.parsers.xpu_smi_rows import SmiRow, SmiRows, read_rows


class StatValue(msgspec.Struct, frozen=True, kw_only=True):
    """`value` is None where the tool had none ("", N/A) and for text (`text` as printed).

    `scope` says of what: "" the device, "tile 0", "tile 0 engine 1", "engine 0", "fan 0"; `statistic` is "" or one of
    avg, min, max, current, total.
    """

    line: int
    device: int | None
    metric: SmiMetric
    scope: str = ""
    statistic: str = ""
    value: float | None = None
    text: str = ""


class StatsTable(msgspec.Struct, frozen=True, kw_only=True):
    """What `stats` shows, in the order printed."""

    readings: tuple[StatValue, ...] = ()
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()

    def get(self, metric: str, device: int | None = None, scope: str = "") -> float | None:
        """The first value of a metric ("current" and "avg" before "min" and "max"); None if absent or not available."""
        fitting = [
            item
            for item in self.readings
            if item.metric.metric == metric
            and item.scope == scope
            and item.value is not None
            and (device is None or item.device == device)
        ]
        for statistic in ("", "current", "avg", "total"):
            for item in fitting:
                if item.statistic == statistic:
                    return item.value
        return None


class HealthItem(msgspec.Struct, frozen=True, kw_only=True):
    """`component`: core_temperature, memory_temperature, power, memory, xe_link, frequency, or as printed.

    `status` in lower case: ok, warning, critical, unknown. Thresholds are in °C, for power in W.
    """

    line: int
    device: int | None
    component: str
    status: str
    description: str = ""
    throttle_threshold: float | None = None
    shutdown_threshold: float | None = None


class HealthTable(msgspec.Struct, frozen=True, kw_only=True):
    """What `health` shows. A warning or critical state is a problem too."""

    readings: tuple[HealthItem, ...] = ()
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()


class DiagItem(msgspec.Struct, frozen=True, kw_only=True):
    """One test of `diag`, or one component of `diag --precheck`. `result` in lower case: pass, fail, unknown …

    `subject` is the BDF or CPU that a precheck names; `figures` are (name, value, unit) that the message states.
    """

    line: int
    device: int | None
    name: str
    result: str
    message: str = ""
    subject: str = ""
    figures: tuple[tuple[str, float, str], ...] = ()


class DiagTable(msgspec.Struct, frozen=True, kw_only=True):
    """What `diag` shows; a failed test is a problem too. `result` is the tool's own, over all ("" if not printed)."""

    readings: tuple[DiagItem, ...] = ()
    level: int | None = None
    result: str = ""
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()


_SCOPE = re.compile(r"\s*(Tile|Engine|Fan) ([0-9]{1,6}):\s*")
_STATISTIC = re.compile(r"\s*(avg|min|max|current|total):\s*")
_COUNT = re.compile(r"[0-9]{1,6}")


def parse_stats(text: str, err: str = "") -> StatsTable:
    """`xpu-smi stats`. Readings come from `text` only, problems from both."""
    diary = Diary()
    values: list[StatValue] = []
    device: int | None = None
    metric = SmiMetric(label="")
    table = read_rows(text, diary)
    rows = table.rows
    if table.open_block is not None:
        diary.note(rows[-1].line, "the table ends here and this row may go on: left out")
        rows = rows[:-1]
    for row in rows:
        if row.key == "Device ID":
            device = _read_device(row, diary)
            metric = SmiMetric(label="")
            continue
        if row.key:
            metric = name_metric(row.key)
        elif not metric.label:
            diary.note(row.line, f"a value without a name: {row.value}")
            continue
        values.extend(_read_stat(row, device, metric, diary))
    if not values:
        diary.note(0, "no table of statistics")
    _add_errors(diary, err)
    return StatsTable(readings=tuple(values), notes=diary.notes, problems=diary.problems)


def _read_stat(row: SmiRow, device: int | None, metric: SmiMetric, diary: Diary) -> list[StatValue]:
    """'0; Engine 0: 3', 'Engine 0: 0, Engine 1: N/A', 'Tile 0: avg: 3, min: 2', 'Tile 0: 1, total: 1'."""
    found: list[StatValue] = []
    tile = part = ""
    for item in re.split(r"[;,]", row.value):
        rest, statistic, is_named = item, "", False
        while scope := _SCOPE.match(rest):
            name = f"{scope[1].lower()} {scope[2]}"
            tile, part = (name, "") if scope[1] == "Tile" else (tile, name)
            rest, is_named = rest[scope.end() :], True
        if named := _STATISTIC.match(rest):
            statistic, rest, is_named = named[1], rest[named.end() :], True
            if statistic == "total":
                tile = part = ""
        value, reason = read_number(rest.strip().removesuffix("%"))
        is_absent = value is None and (not rest.strip() or reason == "not available")
        if (value is None and not is_absent) or (found and not is_named):
            if metric.unit:  # a measured quantity; other rows hold words or dates
                diary.note(row.line, f"{metric.label}: {reason or 'two numbers'}: {row.value}")
            return [StatValue(line=row.line, device=device, metric=metric, text=row.value[:TEXT_LENGTH])]
        found.append(
            StatValue(
                line=row.line,
                device=device,
                metric=metric,
                scope=f"{tile} {part}".strip(),
                statistic=statistic,
                value=value,
                text=rest.strip() if is_absent else "",
            )
        )
    return found


_COMPONENTS = {
    "gpu core temperature": "core_temperature",
    "gpu memory temperature": "memory_temperature",
    "gpu power": "power",
    "power_health": "power",
    "gpu memory": "memory",
    "memory_health": "memory",
    "xe link port": "xe_link",
    "xe_link_port_health": "xe_link",
    "gpu frequency": "frequency",
    "frequency_health": "frequency",
}
_THRESHOLD = re.compile(
    r"([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*(?:Celsius Degree|degrees? celsius|C|°C|watts?|W)?", re.IGNORECASE
)


def parse_health(text: str, err: str = "") -> HealthTable:
    """`xpu-smi health -l` or `-d N`. Readings come from `text` only, problems from both."""
    diary = Diary()
    items: list[HealthItem] = []
    device: int | None = None
    for rows in _group(read_rows(text, diary), diary):
        name = rows[0].key
        if name == "Device ID":
            device = _read_device(rows[0], diary)
            continue
        fields = _join_fields(rows)
        status = fields.get("status", "").lower()
        if not status:
            diary.note(rows[0].line, f"{name}: no status")
            continue
        name = re.sub(r"^[0-9]\. ", "", name.strip("[] "))
        item = HealthItem(
            line=rows[0].line,
            device=device,
            component=_COMPONENTS.get(name.lower(), name),
            status=status,
            description=fields.get("description", "")[:TEXT_LENGTH],
            throttle_threshold=_read_threshold(fields, "throttle threshold"),
            shutdown_threshold=_read_threshold(fields, "shutdown threshold"),
        )
        items.append(item)
        if status in ("warning", "critical"):
            said = f"device {device}: {name}: {status}: {item.description}"
            diary.add_problem(Problem(line=item.line, kind="error", text=said[:TEXT_LENGTH]))
    if not items:
        diary.note(0, "no table of health")
    _add_errors(diary, err)
    return HealthTable(readings=tuple(items), notes=diary.notes, problems=diary.problems)


def _read_threshold(fields: dict[str, str], name: str) -> float | None:
    match = _THRESHOLD.fullmatch(fields.get(name, ""))
    return float(match[1]) if match else None


_IS = re.compile(r"[Ii]ts ([\w\- ]{2,60}?) is ([0-9]{1,12}(?:\.[0-9]{1,6})?)(?: (GBPS|GB/s|W|watts?|MHz))?(?=[.,\s]|$)")
_RATE = re.compile(r"([\w. ]{2,40}?) : ([0-9]{1,9}(?:\.[0-9]{1,6})?) (FPS)\b")


def parse_diag(text: str, err: str = "") -> DiagTable:
    """`xpu-smi diag -l`, `--singletest` and `--precheck`. Readings come from `text` only, problems from both."""
    diary = Diary()
    items: list[DiagItem] = []
    device: int | None = None
    level: int | None = None
    overall = ""
    for rows in _group(read_rows(text, diary), diary):
        name, value = rows[0].key, rows[0].value
        if name == "Device ID":
            device = _read_device(rows[0], diary)
        elif name == "Level":
            level = int(value) if _COUNT.fullmatch(value) else None
        elif name == "Result":
            overall = value.lower()
        elif name not in ("Items", "Component"):
            item = _read_diag_item(rows, device)
            if item is None:
                diary.note(rows[0].line, f"{name}: no result")
                continue
            items.append(item)
            if item.result not in ("pass", "no errors", "listed"):
                said = f"{name} {item.subject}: {item.result}: {item.message}"
                diary.add_problem(Problem(line=item.line, kind="error", text=said[:TEXT_LENGTH]))
    if not items:
        diary.note(0, "no table of diagnostics")
    _add_errors(diary, err)
    return DiagTable(readings=tuple(items), level=level, result=overall, notes=diary.notes, problems=diary.problems)


def _read_diag_item(rows: list[SmiRow], device: int | None) -> DiagItem | None:
    fields = _join_fields(rows)
    result = fields.get("result") or fields.get("status") or ""
    if not result and len(rows) == 1 and ":" not in rows[0].value:
        # 1.2's precheck writes the state alone, and for the GPUs how many there are.
        is_list = re.fullmatch(r"[0-9]{1,6} \(.{1,80}\)", rows[0].value)
        result = "listed" if is_list else rows[0].value
    if not result:
        return None
    message = fields.get("message", "") or (rows[0].value if result == "listed" else "")
    figures = [(match[1].strip(), float(match[2]), match[3] or "") for match in _IS.finditer(message)]
    lines = [row.value for row in rows]
    figures += [(match[1].strip(), float(match[2]), match[3]) for line in lines for match in _RATE.finditer(line)]
    return DiagItem(
        line=rows[0].line,
        device=device,
        name=rows[0].key,
        result=result.lower()[:60],
        message=message[:TEXT_LENGTH],
        subject=fields.get("bdf") or (f"CPU {fields['cpu id']}" if "cpu id" in fields else ""),
        figures=tuple(figures),
    )


_FIELD = re.compile(r"([A-Za-z][\w ]{0,40}): ?(.*)")


def _join_fields(rows: list[SmiRow]) -> dict[str, str]:
    """'Label: value' cells of one key, or rows of one 2.x component; a cell without a label, or indented, goes on."""
    fields: dict[str, str] = {}
    last = ""
    for place, row in enumerate(rows):
        cell = f"{row.key}: {row.value}" if place and row.key else row.value
        match = _FIELD.fullmatch(cell)
        if match and not row.is_indented:
            last = match[1].strip().lower().replace("_", " ")
            fields.setdefault(last, match[2].strip())
        elif last and cell:
            fields[last] = f"{fields[last]} {cell.strip()}".strip()[:1000]
    return fields


def _group(table: SmiRows, diary: Diary) -> list[list[SmiRow]]:
    """Each keyed row with what goes on below it; in 2.x's health, each '[ component ]' with its keyed rows."""
    groups: list[list[SmiRow]] = []
    for row in table.rows:
        in_component = bool(groups) and groups[-1][0].key.startswith("[") and row.key != "Device ID"
        goes_on = not row.key or (in_component and not row.key.startswith("["))
        if groups and goes_on:
            groups[-1].append(row)
        elif row.key:
            groups.append([row])
    if groups and groups[-1][0].block == table.open_block:
        diary.note(groups[-1][0].line, f"{groups[-1][0].key}: the table ends before this does: left out")
        groups.pop()
    return groups


def _read_device(row: SmiRow, diary: Diary) -> int | None:
    if _COUNT.fullmatch(row.value):
        return int(row.value)
    diary.note(row.line, f"no device number: {row.value}")
    return None


def _add_errors(diary: Diary, err: str) -> None:
    for line in split_lines(err):
        diary.add_problem(find_smi_problem(line, "err"))

"""Numbers with units: parsing and showing. 1 GB is 1e9 bytes, 1 GiB is 2**30, everywhere."""

from __future__ import annotations

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

_BINARY = (("TiB", 1 << 40), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB))


def format_bytes(count: int | float | None) -> str:
    """'24.0 GiB', '256 MiB', '12 B'; '-' for None. Powers of two, one decimal where it says something."""
    if count is None:
        return "-"
    for name, size in _BINARY:
        if abs(count) >= size:
            value = count / size
            return f"{value:.0f} {name}" if value == int(value) else f"{value:.1f} {name}"
    return f"{count:.0f} B"


def format_seconds(seconds: float) -> str:
    """'850 ms', '12.3 s', '4 min 05 s'."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def format_number(value: float) -> str:
    """Three to four significant digits without exponents: '0.0123', '12.3', '2604'."""
    if value == 0:
        return "0"
    magnitude = abs(value)
    if magnitude >= 1000:
        return f"{value:.0f}"
    if magnitude >= 100:
        return f"{value:.1f}"
    if magnitude >= 1:
        return f"{value:.2f}"
    return f"{value:.3g}"


def format_cpu_list(cpus: list[int] | tuple[int, ...]) -> str:
    """CPU numbers in the kernel's list form: (0,1,2,8) -> '0-2,8'."""
    parts: list[str] = []
    ordered = sorted(set(cpus))
    i = 0
    while i < len(ordered):
        j = i
        while j + 1 < len(ordered) and ordered[j + 1] == ordered[j] + 1:
            j += 1
        parts.append(str(ordered[i]) if i == j else f"{ordered[i]}-{ordered[j]}")
        i = j + 1
    return ",".join(parts)


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """The kernel's list form ('0-3,8,10-14:2') as sorted numbers. Raises ValueError on anything else."""
    cpus: set[int] = set()
    for raw in text.strip().replace("\n", ",").split(","):
        part = raw.strip()
        if not part:
            continue
        span, _, stride_text = part.partition(":")
        # "a-b:used/group" is the kernel's bitmap-list form; a bare stride is the taskset form.
        used_text, _, group_text = stride_text.partition("/")
        first_text, dash, last_text = span.partition("-")
        first = int(first_text)
        last = int(last_text) if dash else first
        if first < 0 or last < first or last - first > 1 << 20:
            raise ValueError(f"not a CPU list: {text!r}")
        if not stride_text:
            cpus.update(range(first, last + 1))
        elif group_text:
            used, group = int(used_text), int(group_text)
            if used < 1 or group < used:
                raise ValueError(f"not a CPU list: {text!r}")
            for start in range(first, last + 1, group):
                cpus.update(range(start, min(start + used, last + 1)))
        else:
            step = int(used_text)
            if step < 1:
                raise ValueError(f"not a CPU list: {text!r}")
            cpus.update(range(first, last + 1, step))
    return tuple(sorted(cpus))

"""What `sycl-ls [--verbose]` prints, all generations.

    [level_zero:gpu][level_zero:0] PLATFORM, NAME VERSION [DRIVER]      2024 and later (second bracket only unfiltered)
    [ext_oneapi_level_zero:gpu:0] PLATFORM, NAME VERSION [DRIVER]       2022, 2023
    [level_zero:gpu:0] PLATFORM, NAME VERSION [DRIVER]                  2021
    [level_zero:gpu:0] : PLATFORM VERSION [DRIVER]                      the first ones, without a device name

--verbose adds blocks of platforms and devices (some builds leave the `Device [#N]:` line out).
"""

from __future__ import annotations

import re

import msgspec

from xpukit.probe.parsers.printed import Note, Notes, read_count, split_lines


class SyclDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One device of one backend. `index` counts within the backend; None when a selector filtered the list.

    `uuid` is as printed: hex bytes with dashes, or (2024) the bytes as decimal numbers without separators.
    """

    backend: str
    type: str
    index: int | None = None
    platform: str = ""
    name: str = ""
    version: str = ""
    driver: str = ""
    uuid: str = ""
    device_id: str = ""
    sub_devices: int | None = None


class SyclListing(msgspec.Struct, frozen=True, kw_only=True):
    """What was read. `filtered_by` names the variable that hid devices."""

    devices: tuple[SyclDevice, ...] = ()
    found: bool = False
    filtered_by: str = ""
    error: str = ""
    notes: tuple[Note, ...] = ()


_SHORT = re.compile(
    r"\[(?P<backend>[A-Za-z][A-Za-z_0-9]*):(?P<type>[a-z_]+)(?::(?P<old>\d{1,6}))?\]"
    r"(?:\[(?P<again>[A-Za-z][A-Za-z_0-9]*):(?P<new>\d{1,6})\])?\s*(?P<rest>\S.*)"
)
_VERSION = re.compile(r"(?P<name>.*\S)\s+(?P<version>OpenCL [\d.]+.*|\d+\.\d+(?:\.\d+)*|gfx[0-9a-f]+(?::\S+)?)\s*")
_FILTERED = re.compile(r"\b(ONEAPI_DEVICE_SELECTOR|SYCL_DEVICE_FILTER|SYCL_DEVICE_ALLOWLIST)\b.*\bis set\b")
_ERROR = re.compile(r"SYCL Exception encountered: *(.*)|(error while loading shared libraries: .*)")
_PLATFORM = re.compile(r"Platform \[#(\d{1,6})\]:")
_DEVICE = re.compile(r"\s+Device \[#(\d{1,6})\]:")
_FIELD = re.compile(r"\s+([A-Za-z][A-Za-z ]{0,60}?)\s*:(?: (.*))?")
_ALIASES = {"ext_oneapi_unified_runtime": "unified_runtime"}


def parse_sycl_ls(out: bytes, err: bytes = b"") -> SyclListing:
    """Standard output and standard error of one run, plain or verbose."""
    notes = Notes()
    filtered = error = ""
    for _, line in [*split_lines(err, Notes()), *split_lines(out, Notes())]:
        is_filter = _FILTERED.search(line)
        is_error = _ERROR.search(line)
        filtered = filtered or (is_filter.group(1) if is_filter else "")
        error = error or ((is_error.group(1) or is_error.group(2)).strip()[:200] if is_error else "")
    short: list[SyclDevice] = []
    verbose = _Verbose(notes)
    for number, line in split_lines(out, notes):
        match = _SHORT.fullmatch(line)
        if match:
            short.append(_read_short(match, number, notes))
        elif not line.strip() or _FILTERED.search(line) or line.startswith(("To see", "INFO:", "Platforms:")):
            continue
        elif not verbose.take(number, line) and not _is_selector(line):
            notes.add(number, f"not understood: {line.strip()}")
    devices = _join(short, verbose.devices(), notes)
    found = bool(devices) or (not error and (verbose.seen or not out.strip() or b"Platforms: 0" in out))
    return SyclListing(devices=devices, found=found, filtered_by=filtered, error=error, notes=notes.done())


def _read_short(match: re.Match[str], number: int, notes: Notes) -> SyclDevice:
    backend = _name_backend(match["backend"])
    index_text = match["new"] or match["old"]
    rest = match["rest"]
    rest, driver, is_closed = _split_driver(rest)
    if not is_closed:
        notes.add(number, "no driver version in brackets at the end")
    if rest.startswith(":"):
        platform, name, version = rest[1:].strip(), "", ""
        split = _VERSION.fullmatch(platform)
        if split:
            platform, version = split["name"], split["version"]
    else:
        platform, _, rest = rest.partition(", ")
        split = _VERSION.fullmatch(rest)
        name, version = (split["name"], split["version"]) if split else (rest.strip(), "")
    return SyclDevice(
        backend=backend,
        type=match["type"],
        index=int(index_text) if index_text else None,
        platform=platform,
        name=name,
        version=version.strip(),
        driver=driver,
    )


def _split_driver(rest: str) -> tuple[str, str, bool]:
    """('NAME VERSION', 'DRIVER', True) of 'NAME VERSION [DRIVER]'; the driver may hold brackets itself."""
    depth = 0
    for place in range(len(rest) - 1, -1, -1) if rest.endswith("]") else ():
        depth += {"]": 1, "[": -1}.get(rest[place], 0)
        if depth == 0:
            return rest[:place].rstrip(), rest[place + 1 : -1], True
    return rest, "", False


def _name_backend(text: str) -> str:
    backend = text.lower()
    return _ALIASES.get(backend, backend.removeprefix("ext_oneapi_").removeprefix("ext_intel_"))


def _is_selector(line: str) -> bool:
    return bool(re.match(r"\w+_selector(?:\(\w*\))?\s*:", line))


class _Verbose:
    """The blocks of a verbose listing."""

    def __init__(self, notes: Notes) -> None:
        self.seen = False
        self._notes = notes
        self._platform: dict[str, str] = {}
        self._device: dict[str, str] | None = None
        self._records: list[tuple[dict[str, str], dict[str, str]]] = []

    def take(self, number: int, line: str) -> bool:
        """Whether the line belongs to a block."""
        if _PLATFORM.fullmatch(line):
            self.seen = True
            self._platform, self._device = {}, None
            return True
        if not self.seen or not line.startswith((" ", "\t")):
            return False
        if _DEVICE.fullmatch(line):
            self._begin()
            return True
        field = _FIELD.fullmatch(line)
        if field is None:
            return line.lstrip().startswith("info::")
        key, value = field.group(1).lower(), (field.group(2) or "").strip()
        if key == "type" and (self._device is None or "type" in self._device):
            self._begin()
        target = self._platform if self._device is None else self._device
        target.setdefault(key, value)
        return True

    def _begin(self) -> None:
        self._device = {}
        self._records.append((self._platform, self._device))

    def devices(self) -> list[SyclDevice]:
        return [
            SyclDevice(
                backend=_guess_backend(platform.get("name", "")),
                type=device.get("type", ""),
                platform=platform.get("name", ""),
                name=device.get("name", ""),
                version=device.get("version", ""),
                driver=device.get("driver", ""),
                uuid=device.get("uuid", ""),
                device_id=device.get("deviceid", "") or device.get("device id", ""),
                sub_devices=read_count(device.get("num subdevices", "")),
            )
            for platform, device in self._records
        ]


def _guess_backend(platform: str) -> str:
    if "Level-Zero" in platform:
        return "level_zero"
    for word, backend in (("OpenCL", "opencl"), ("CUDA", "cuda"), ("HIP", "hip"), ("Native CPU", "native_cpu")):
        if word in platform:
            return backend
    return "opencl" if platform else ""


def _join(short: list[SyclDevice], verbose: list[SyclDevice], notes: Notes) -> tuple[SyclDevice, ...]:
    """Both lists go through platforms and devices in the same order, so the n-th of one is the n-th of the other."""
    if not verbose:
        return tuple(short)
    if not short:
        # A cut-out of the output: numbers are counted here, per backend.
        counts: dict[str, int] = {}
        numbered = []
        for device in verbose:
            number = counts.get(device.backend, 0)
            counts[device.backend] = number + 1
            numbered.append(msgspec.structs.replace(device, index=number))
        return tuple(numbered)
    agrees = len(short) >= len(verbose) and all(a.type == b.type for a, b in zip(short, verbose, strict=False))
    if len(short) != len(verbose) or not agrees:
        notes.add(0, f"{len(short)} devices in the list and {len(verbose)} in the blocks")
    if not agrees:
        return tuple(short)
    joined = [
        msgspec.structs.replace(
            brief,
            name=full.name if _says_same(brief, full) else brief.name,
            version=full.version if _says_same(brief, full) else brief.version,
            uuid=full.uuid,
            device_id=full.device_id,
            sub_devices=full.sub_devices,
        )
        for brief, full in zip(short, verbose, strict=False)
    ]
    return (*joined, *short[len(joined) :])


def _says_same(brief: SyclDevice, full: SyclDevice) -> bool:
    """Whether name and version are only divided otherwise (a list line has no mark between the two)."""
    return f"{brief.name} {brief.version}".split() == f"{full.name} {full.version}".split()

"""Runs to compare: where they lie, and what is read of them. Only the fields that a comparison needs are decoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from xpukit.core.errors import UsageError
from xpukit.core.json_document import BAD_JSON
from xpukit.core.measurement import Param
from xpukit.evaluate.compare_result import RunInput

SCHEMA = "xpukit.evaluate/1"
RESULTS = "results.json"
Params = tuple[tuple[str, Param], ...]
Slot = tuple[str, int]


class RunDevice(msgspec.Struct, frozen=True, gc=False):
    """A measured device."""

    label: str
    kind: str
    name: str = ""
    device_id: str = ""

    @property
    def device_class(self) -> str:
        """What devices are alike by: the PCI id (and that it is a tile), the CPU's model."""
        if self.kind != "gpu":
            return self.name or self.kind
        tile = " tile" if "/tile" in self.label else ""
        return f"8086:{self.device_id.lower().removeprefix('0x')}{tile}" if self.device_id else f"{self.name}{tile}"


class RunRow(msgspec.Struct, frozen=True, gc=False):
    """A result as a comparison sees it. `params` stays as it is in the file: equal bytes are equal parameters."""

    benchmark: str
    metric: str
    devices: tuple[str, ...]
    params: msgspec.Raw
    value: float | None
    unit: str
    engine: str = ""
    n: int = 0
    mad: float | None = None
    noisy: bool = False
    verified: bool | None = None
    higher_is_better: bool = True
    verdict: str = ""
    reason: str = ""


class RunDocument(msgspec.Struct, frozen=True):
    """A results document, the part that is needed."""

    schema: str
    devices: tuple[RunDevice, ...]
    results: tuple[RunRow, ...]
    host: str = ""
    created: str = ""
    xpukit_version: str = ""
    suite: str = ""
    engine: str = ""
    verdict: str = ""
    complete: bool = True
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def asked_for(self, benchmark: str) -> bool:
        """Whether this run was to measure that benchmark (a yardstick goes with what it is for)."""
        names = {benchmark, benchmark.removesuffix("_ceiling")}
        return (not self.only or bool(names & set(self.only))) and not names & set(self.skip)

    def find_slots(self) -> dict[str, Slot]:
        """Label to (class, position among the devices of its class)."""
        slots: dict[str, Slot] = {}
        counts: dict[str, int] = {}
        for device in self.devices:
            name = device.device_class
            slots.setdefault(device.label, (name, counts.get(name, 0)))
            counts[name] = counts.get(name, 0) + 1
        return slots

    def describe(self, path: str, problem: str = "") -> RunInput:
        """The run as the comparison's document names it."""
        return RunInput(
            path=path,
            host=self.host,
            created=self.created,
            xpukit_version=self.xpukit_version,
            suite=self.suite,
            engine=self.engine,
            devices=tuple(device.device_class for device in self.devices),
            verdict=self.verdict,
            complete=self.complete,
            rows=len(self.results),
            problem=problem,
        )


class FoundRun(msgspec.Struct, frozen=True, kw_only=True):
    """A results file. `named`: the user named this very run, so it must be readable."""

    path: Path
    label: str
    named: bool


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, without the devices."""

    benchmark: str
    metric: str
    params: Params


class KeyTable:
    """Numbers for keys. The same bytes of parameters are decoded once, not once a host."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self._by_bytes: dict[tuple[str, str, bytes], int] = {}
        self._by_key: dict[tuple[str, str, Params], int] = {}
        self._decoder = msgspec.json.Decoder(dict[str, Param])

    def number(self, row: RunRow) -> int:
        """The key's number. Raises msgspec.DecodeError for parameters that are not a flat object."""
        raw = (row.benchmark, row.metric, bytes(row.params))
        found = self._by_bytes.get(raw)
        if found is None:
            try:
                params = tuple(sorted(self._decoder.decode(row.params).items()))
            except BAD_JSON as err:  # bytes were left unread until here, so they may be no UTF-8
                raise msgspec.DecodeError(str(err)) from err
            found = self._by_key.setdefault((row.benchmark, row.metric, params), len(self.keys))
            if found == len(self.keys):
                self.keys.append(Key(benchmark=row.benchmark, metric=row.metric, params=params))
            self._by_bytes[raw] = found
        return found


def find_runs(paths: Sequence[Path]) -> tuple[FoundRun, ...]:
    """The results files that the paths mean: a file, a run directory, or a folder with runs (or results files) in it.

    Raises UsageError for a path that is none of these.
    """
    found: list[FoundRun] = []
    for path in paths:
        if path.is_file():
            found.append(FoundRun(path=path, label=str(path), named=True))
        elif (path / RESULTS).is_file():
            found.append(FoundRun(path=path / RESULTS, label=str(path), named=True))
        elif path.is_dir():
            inside = _search(path)
            if not inside:
                raise UsageError(
                    f"{path}: no {RESULTS} in it", hint="give run directories that evaluate made, or a folder of them"
                )
            found.extend(inside)
        else:
            raise UsageError(f"{path}: no such file or directory", hint="give run directories or results.json files")
    return tuple(found)


def _search(folder: Path) -> list[FoundRun]:
    runs = {path: path.parent.relative_to(folder) for path in folder.rglob(RESULTS)}
    if not runs:  # results collected into one folder under other names
        runs = {path: path.relative_to(folder) for path in folder.glob("*.json") if path.is_file()}
    return [FoundRun(path=path, label=str(runs[path]), named=False) for path in sorted(runs)]


class RunReader:
    """Decodes results files, one after the other."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(RunDocument)

    def read(self, run: FoundRun) -> RunDocument | str:
        """The document, or why it cannot be used. Raises UsageError when the run was named and cannot be read."""
        problem = ""
        try:
            document = self._decoder.decode(run.path.read_bytes())
            if document.schema == SCHEMA:
                return document
            problem = f"its schema is {document.schema!r}, not {SCHEMA!r}"
        except OSError as err:
            problem = f"cannot be read: {err.strerror or err}"
        except BAD_JSON as err:
            problem = f"not a results document of xpukit evaluate: {err}"
        if run.named:
            raise UsageError(f"{run.path}: {problem}", hint="give run directories that evaluate made")
        return problem


def describe_unreadable(run: FoundRun, problem: str) -> RunInput:
    """A file that was found and cannot be used."""
    return RunInput(path=run.label, problem=problem, complete=False)

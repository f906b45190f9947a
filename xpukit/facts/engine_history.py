"""When a flag, choice or registered name came and went, over all versions that we have schemas of."""

from __future__ import annotations

from functools import cache

import msgspec

from xpukit.facts.engine_records import Ranges, build_ranges
from xpukit.facts.engine_versions import version_key
from xpukit.facts.engines import list_engines, load_file


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What the schemas say of a thing that one version lacks. Empty texts: it never was, or does not come back.

    `last_in` is the newest older version that has it, `removed_in` the known version after that; `added_in` is the
    oldest newer version that has it.
    """

    last_in: str = ""
    removed_in: str = ""
    added_in: str = ""

    def describe(self, engine: str) -> str:
        """In words, "" when no version has it."""
        parts = []
        if self.removed_in:
            parts.append(f"removed in {engine} {self.removed_in} (last in {self.last_in})")
        elif self.last_in:
            parts.append(f"last in {engine} {self.last_in}")
        if self.added_in:
            parts.append(f"{'back' if parts else 'added'} in {engine} {self.added_in}")
        return ", ".join(parts)

    @property
    def version(self) -> str:
        """The one version to name: where it changed."""
        return self.removed_in or self.added_in


def find_flag_change(engine: str, version: str, program: str, option: str) -> Change:
    """When `option` of a program came and went. An engine without schemas has no history."""
    return _describe(engine, version, _flag_places(engine).get((program, option), ()))


def find_program_change(engine: str, version: str, program: str) -> Change:
    """When a program (`python -m sglang.bench_one_batch`) came and went."""
    if engine not in list_engines():
        return Change()
    ranges = next((known.versions for known in load_file(engine).programs if known.name == program), ())
    return _describe(engine, version, ranges)


def find_name_change(engine: str, version: str, registry: str, name: str) -> Change:
    """When a registered name (a quantization, an environment variable) came and went."""
    if engine not in list_engines():
        return Change()
    return _describe(engine, version, load_file(engine).registries.get(registry, {}).get(name, ()))


def find_engines_with_name(registry: str, name: str, *, other_than: str) -> tuple[str, ...]:
    """The other engines of which some version has this name in a registry called the same."""
    others = (engine for engine in list_engines() if engine != other_than)
    return tuple(engine for engine in others if name in load_file(engine).registries.get(registry, {}))


def find_choice_change(engine: str, version: str, program: str, option: str, choice: str) -> Change:
    """When a flag accepted this choice, an open list counting as accepting it."""
    if engine not in list_engines():
        return Change()
    file = load_file(engine)
    places: list[int] = []
    for record in file.flags:
        if option not in record.flags:
            continue
        if record.choices >= 0 and choice not in {str(known) for known in file.choices[record.choices]}:
            continue
        for place, ranges in record.programs.items():
            if file.programs[int(place)].name == program:
                places.extend(at for first, last in ranges for at in range(first, last + 1))
    return _describe(engine, version, build_ranges(places))


@cache
def find_same_argument(engine: str, program: str, option: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What stood for the same argument in any version: (its dests, the spellings it had beside this one).

    Only spellings given together with `option`, in one version, count as the same.
    """
    if engine not in list_engines():
        return (), ()
    file = load_file(engine)
    dests: set[str] = set()
    spellings: set[str] = set()
    for record in file.flags:
        if option in record.flags and any(file.programs[int(place)].name == program for place in record.programs):
            dests.add(record.dest)
            spellings.update(record.flags)
    return tuple(sorted(dests)), tuple(sorted(spellings - {option}))


@cache
def takes_value(engine: str, program: str, option: str) -> bool:
    """Whether `option` takes a value in the newest version that has it."""
    if engine not in list_engines():
        return True
    file = load_file(engine)
    newest, takes = -1, True
    for record in file.flags:
        for place, ranges in record.programs.items():
            if option in record.flags and file.programs[int(place)].name == program and ranges[-1][1] > newest:
                newest, takes = ranges[-1][1], record.nargs != 0
    return takes


@cache
def _flag_places(engine: str) -> dict[tuple[str, str], Ranges]:
    if engine not in list_engines():
        return {}
    file = load_file(engine)
    places: dict[tuple[str, str], list[int]] = {}
    for record in file.flags:
        for place, ranges in record.programs.items():
            for option in record.flags:
                at = places.setdefault((file.programs[int(place)].name, option), [])
                at.extend(index for first, last in ranges for index in range(first, last + 1))
    return {key: build_ranges(at) for key, at in places.items()}


def _describe(engine: str, version: str, ranges: Ranges) -> Change:
    if not ranges:
        return Change()
    versions = load_file(engine).versions
    # Where a version that we have no schema of would stand.
    if version in versions:
        here = float(versions.index(version))
    else:
        key = version_key(version, engine=engine)
        if key is None:
            return Change()
        keys = [version_key(known, engine=engine) for known in versions]
        here = sum(known is not None and known < key for known in keys) - 0.5
    before = [last for _, last in ranges if last < here]
    after = [first for first, _ in ranges if first > here]
    removed = before[-1] + 1 if before else -1
    return Change(
        last_in=versions[before[-1]] if before else "",
        removed_in=versions[removed] if before and removed < len(versions) and removed <= here else "",
        added_in=versions[after[0]] if after else "",
    )

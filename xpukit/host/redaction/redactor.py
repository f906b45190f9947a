"""`Redactor`: text in, text without secrets and names out. The scrubber of every recording."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from xpukit.host.answers import IdentityAnswer
from xpukit.host.redaction import (
    encoded,
    hardware_dumps,
    headers,
    identifiers,
    key_blocks,
    named_values,
    names,
    network,
    other_spellings,
    parted_values,
    tables,
    tokens,
)
from xpukit.host.redaction.common_names import (
    is_common,
    is_distinct,
    is_distinct_domain,
    is_distinct_serial,
    is_public_uuid,
    is_word,
)
from xpukit.host.redaction.learned import LearnedSecrets
from xpukit.host.redaction.near import SHORT_CHARS, Text
from xpukit.host.redaction.pseudonyms import PseudonymMap, Render
from xpukit.host.redaction.report import RedactionReport, RuleKind
from xpukit.host.redaction.rule import MARK, Rule

# Secrets first: what is gone cannot be mistaken for a name. Blocks before all else, for they hold the rest.
RULES: tuple[Rule, ...] = (
    *key_blocks.RULES,
    *tokens.RULES,
    *headers.RULES,
    *named_values.RULES,
    *parted_values.RULES,
    *encoded.RULES,
    *hardware_dumps.RULES,
    *tables.RULES,
    *identifiers.RULES,
    *other_spellings.RULES,
    *network.RULES,
    *names.RULES,
)
# Which names are looked for in all text once they are known.
_IS_DISTINCT: dict[str, Callable[[str], bool]] = {
    "host": is_distinct,
    "user": is_distinct,
    "domain": is_distinct_domain,
    "serial": is_distinct_serial,
}
_LABEL_LIMIT = 160
# Paths, argument lists and words come again and again.
_REMEMBERED_CHARS = 400


def is_literal(kind: str, name: str) -> bool:
    """Whether a name must not stand anywhere: those that are looked for in all text once they are known."""
    return len(name) >= 6 and _IS_DISTINCT[kind](name) if kind in _IS_DISTINCT else len(name) >= 8


def list_rules() -> tuple[Rule, ...]:
    """Every rule once, by name."""
    return tuple({rule.name: rule for rule in RULES}.values())


class Redactor:
    """Knows what it replaced: the second time it is the same, and what was learned in one file goes from the next.

    `known` are the pseudonyms of earlier bundles; `without` switches rules off by name; `users` and `hosts` are names
    to look for from the start.
    """

    def __init__(
        self,
        identity: IdentityAnswer,
        *,
        known: PseudonymMap | None = None,
        without: frozenset[str] = frozenset(),
        users: Collection[str] = (),
        hosts: Collection[str] = (),
    ) -> None:
        self.map = known if known is not None else PseudonymMap()
        # What rules see: set only while a content is scrubbed, for an error name beside it is no host name.
        self.label = ""
        self._about = ""
        self._without = without
        self._hinted = tuple((rule, rule.hints) for rule in RULES if rule.name not in without)
        self._secrets = LearnedSecrets()
        self._names: dict[str, set[str]] = {kind: set() for kind in names.RENDER}
        self._counts: Counter[str] = Counter()
        self._files: dict[str, Counter[str]] = {}
        self._is_counting = True
        self._depth = 0
        # Short texts in which nothing was found, until something new is learned.
        self._harmless: set[str] = set()
        self._ordered: dict[str, list[str]] = {}
        for kind in names.RENDER:
            for name in self.map.names.get(kind, {}):
                self.learn(kind, name)
        for name in (identity.hostname, *hosts):
            self._learn_host(name)
        # Too short to be looked for in texts; as a word of a list (groups, a directory of homes) it stands for itself.
        self._shorts: dict[str, str] = {}
        for name in (identity.username, *users):
            self.learn("user", name)
            if 1 < len(name) < 4 and not is_common(name) and not is_word(name) and "user-name" not in without:
                self._shorts[name] = self.map.assign("user", name, names.RENDER["user"])

    # What callers use

    def __call__(self, text: str) -> str:
        """The text without secrets and names. Doing it again changes nothing."""
        if text in self._harmless and not self.label:
            return text
        if self._shorts and len(text) <= _REMEMBERED_CHARS:
            text = "\0".join(self._shorts.get(word, word) for word in text.split("\0"))
        given, seen = text, Text(text)
        low = seen.low if len(text) < SHORT_CHARS else None
        for rule, hints in self._hinted:
            if low is not None and hints:
                # What `rule.run` would find out as well: there are thousands of short texts, and a hundred rules.
                for hint in hints:
                    if hint in low:
                        break
                else:
                    continue
            changed = rule.run(seen, self)
            if changed is not text:
                text, seen = changed, Text(changed)
                low = seen.low if len(text) < SHORT_CHARS else None
        text = self._remove_learned(text)
        if text == given and len(text) <= _REMEMBERED_CHARS and not self.label:
            self._harmless.add(text)
        return text

    def scrub_bytes(self, data: bytes) -> bytes:
        """Bytes of any kind: what is no UTF-8 stays as it is, byte by byte."""
        if hardware_dumps.NAME not in self._without:
            data = hardware_dumps.replace_in_dump(self._about, data, hardware_dumps.stand_in_for_dump(self))
        data = encoded.replace_in_wide_text(data, self)
        says_more = identifiers.is_one_value(self._about) or network.is_version_file(self._about)
        self.label = self._about if says_more else ""
        try:
            return self(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        finally:
            self.label = ""

    def remove_late(self, text: str) -> str:
        """What was learned after this text was scrubbed: the second look at a finished recording."""
        text = self._remove_learned(text)
        for kind, known in self.map.names.items():
            if kind in names.RENDER or kind == "ipv4-net":
                continue
            for name, pseudonym in known.items():
                # Maps of older versions hold constants of specifications too.
                if len(name) >= 8 and not name.isdigit() and name in text and not is_public_uuid(name):
                    pattern = rf"(?<![A-Za-z0-9.:]){re.escape(name)}(?![A-Za-z0-9:]|[.]\d)"
                    text = re.sub(pattern, lambda _match, pseudonym=pseudonym: pseudonym, text)  # type: ignore[misc]
        return text

    def scrub_value(self, name: str, value: str) -> str:
        """The value of a setting with a name: an environment variable, a property, a field."""
        if named_values.NAME not in self._without:
            value = named_values.hide_named_value(name, value, self)
        if MARK in value:
            return self._remove_learned(value)
        # What the rules know by the name before it; the value alone is what stands behind it then.
        prefix = f"{name}="
        whole = self(prefix + value)
        return whole.removeprefix(prefix) if whole.startswith(prefix) else self(value)

    def scrub_words(self, words: Iterable[str]) -> tuple[str, ...]:
        """An argument list: a flag and its value may be two words."""
        given = tuple(words)
        scrubbed = tuple(self("\0".join(given)).split("\0")) if given else ()
        return scrubbed if len(scrubbed) == len(given) else tuple(self(word) for word in given)

    def about(self, label: str) -> None:
        """What is scrubbed from here on: the file or command, for the counts and for what its content is."""
        self._about = label

    def report(self) -> RedactionReport:
        """The counts so far; the labels themselves scrubbed."""
        kinds = {rule.name: rule for rule in list_rules()}
        counting, self._is_counting = self._is_counting, False
        files: dict[str, dict[str, int]] = {}
        for label, counts in self._files.items():
            shown = files.setdefault(self(label)[:_LABEL_LIMIT], {})
            for rule, count in counts.items():
                shown[rule] = shown.get(rule, 0) + count
        self._is_counting = counting
        # Only of rules that replaced something: two hundred that did not were more than all the rest of it.
        counted = {name: self._counts[name] for name in kinds if self._counts[name]}
        return RedactionReport(
            map_id=self.map.id,
            secrets=sum(count for name, count in counted.items() if kinds[name].removes == "secret"),
            names=sum(count for name, count in counted.items() if kinds[name].removes == "name"),
            rules=counted,
            kinds={
                name: RuleKind(removes=rule.removes, what=rule.what, off=name in self._without)
                for name, rule in kinds.items()
                if name in counted or name in self._without
            },
            files={label: dict(sorted(counts.items())) for label, counts in sorted(files.items())},
            switched_off=tuple(sorted(self._without & set(kinds))),
        )

    def leaves(self, text: str) -> bool:
        """Whether nothing that was learned is replaced in a text: what stands there is part of something else."""
        counting, self._is_counting = self._is_counting, False
        try:
            return self.remove_late(text) == text
        finally:
            self._is_counting = counting

    def learn_secrets(self, values: Iterable[str]) -> None:
        """Secrets known beforehand (of this process's environment): they go wherever they stand."""
        for value in values:
            if self._secrets.add(named_values.NAME, value):
                self._harmless.clear()

    def list_literals(self) -> frozenset[str]:
        """What was replaced, for the scan of the finished archive. It stays in memory: it is never written."""
        # A plain word that was once a name (a process's `user=version`) stands in other texts for other reasons.
        found = {
            name
            for kind, known in self.map.names.items()
            for name in known
            if not (name.isalpha() or name.isdigit() or is_public_uuid(name)) and is_literal(kind, name)
        }
        return frozenset(found - set(self.map.names.get("ipv4-net", {})) | set(self._secrets.by_text))

    # What rules use

    def hide(self, rule: str, secret: str) -> str:
        self._count(rule)
        if self._secrets.add(rule, secret):
            self._harmless.clear()
        return f"{MARK}{rule}]"

    def stand_in(self, rule: str, kind: str, name: str, render: Render, canonical: str = "") -> str:
        pseudonym = self.map.assign(kind, name, render, canonical)
        if rule and pseudonym != name:
            self._count(rule)
        return pseudonym

    def learn(self, kind: str, name: str) -> None:
        if (
            kind in self._names
            and _IS_DISTINCT[kind](name)
            and name not in self._names[kind]
            and not self.map.is_pseudonym(name)
        ):
            self._names[kind].add(name)
            self._harmless.clear()
            self._ordered.pop(kind, None)

    def finds(self, text: str) -> bool:
        # Base64 inside base64 is looked into once more; a bomb of it is not.
        if self._depth >= 3:
            return False
        counting, self._is_counting = self._is_counting, False
        label, self.label = self.label, ""
        self._depth += 1
        try:
            return self(text) != text
        finally:
            self._is_counting, self.label = counting, label
            self._depth -= 1

    def again(self, rule: str) -> None:
        self._count(rule)

    def knows(self, kind: str, name: str) -> bool:
        return self.map.find(kind, name) is not None

    # Own

    def _learn_host(self, name: str) -> None:
        host, domain = names.split_host(name)
        self.learn("host", host)
        if domain and not is_distinct(host) and not names.is_public_domain(name):
            # `server.internal` is a name although neither half is one.
            self.learn("host", name)
        if domain and not names.is_public_domain(domain):
            self.learn("domain", domain)

    def _count(self, rule: str, times: int = 1) -> None:
        if self._is_counting:
            self._counts[rule] += times
            self._files.setdefault(self._about, Counter())[rule] += times

    def _remove_learned(self, text: str) -> str:
        text, counts = self._secrets.remove_from(text)
        for rule, count in counts.items():
            self._count(rule, count)
        low = text.lower()
        for kind, rule in (("domain", "host-name"), ("host", "host-name"), ("user", "user-name"), ("serial", "serial")):
            if rule in self._without:
                continue
            if kind not in self._ordered:
                self._ordered[kind] = sorted(self._names[kind], key=lambda name: (-len(name), name))
            for name in self._ordered[kind]:
                if name.lower() not in low:
                    continue
                render = names.RENDER[kind]
                text = names.compile_name(name).sub(
                    lambda match, kind=kind, rule=rule, render=render: self.stand_in(  # type: ignore[misc]
                        rule, kind, match.group(), render
                    ),
                    text,
                )
        return text

"""A host whose /sys and /dev are real readers before umockdev, and whose everything else is the machine's own.

Commands, environment, identity and files outside /sys and /dev do not come from the computer that records, so a
recording is the same wherever it is made. Level Zero's answer comes from the real loader (record.py asks it).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import msgspec

from tests.machines.dict_host import DictHost
from xpukit.host.answers import LinkAnswer, StatAnswer, UdevAnswer
from xpukit.host.door import Host
from xpukit.host.mediated import MediatedHost, Question

A = TypeVar("A", bound=msgspec.Struct)
_MOCKED = ("/sys", "/dev")


class StagedHost(MediatedHost):
    """`inner` reads /sys, /dev and udev; `own` answers everything else."""

    def __init__(self, inner: Host, own: DictHost) -> None:
        super().__init__(inner)
        self._own = own
        self._test_bed = os.environ.get("UMOCKDEV_DIR", "")

    def mediate(self, question: Question, answer_type: type[A], ask: Callable[[], A]) -> A:
        if question[0] == "udev" or (len(question) > 1 and question[1].startswith(_MOCKED)):
            return self._unmock(question, ask())
        return self._own.mediate(question, answer_type, ask)

    def _unmock(self, question: Question, answer: A) -> A:
        """What umockdev shows differently from a machine: links below its own directory, owners of device nodes."""
        if isinstance(answer, UdevAnswer | LinkAnswer) and self._test_bed:
            text = msgspec.json.encode(answer).decode().replace(self._test_bed, "")
            return msgspec.json.decode(text, type=type(answer))
        if isinstance(answer, StatAnswer) and not answer.error and question[1].startswith("/dev/dri/"):
            kind, _, minor = question[1].removeprefix("/dev/dri/").partition("renderD")
            group = "render" if minor else "video"
            number = minor or kind.removeprefix("card")
            return msgspec.structs.replace(
                answer,
                kind="char",
                mode=0o660,
                uid=0,
                gid=992 if minor else 44,
                owner="root",
                group=group,
                rdev=f"226:{number}",
            )
        return answer

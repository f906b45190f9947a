"""A machine with planted secrets: where each stands, and what must not survive. All of them are invented."""

from __future__ import annotations

import base64

import msgspec

from tests.unit.host.seeded_texts import TEXTS
from xpukit.host.answers import (
    FileAnswer,
    FoundAnswer,
    IdentityAnswer,
    ProcessEntry,
    ProcessesAnswer,
    Ran,
    UdevAnswer,
    UdevDevice,
)
from xpukit.host.mediated import Question

IDENTITY = IdentityAnswer(hostname="gpu-rack-07.lab.acme-corp.net", username="melinda", uid=1000)
PLAIN = "pl4inVault-value"


def plant() -> list[tuple[str, Question, msgspec.Struct, tuple[str, ...]]]:
    """(kind, question, answer, what must be gone)."""
    rows: list[tuple[str, Question, msgspec.Struct, tuple[str, ...]]] = []
    for kind, text, gone in TEXTS:
        place = f"/var/log/seed/{len(rows)}.log"
        rows.append((kind, ("read", place), FileAnswer(data=text.encode()), gone))
    login = base64.b64encode(b"builder:regpw-77aa").decode()
    rows += [
        ("env answer", ("env", "HF_TOKEN"), FoundAnswer(value="plain-hub-word9"), ("plain-hub-word9",)),
        ("env answer with spaces", ("env", "DB_PASSWORD"), FoundAnswer(value="two words 4x"), ("two words 4x",)),
        (
            "process argv",
            ("processes",),
            ProcessesAnswer(
                processes=(
                    ProcessEntry(pid=7, name="vllm", username="melinda", argv=("vllm", "--api-key", "argvkey-55zz")),
                )
            ),
            ("argvkey-55zz", "melinda"),
        ),
        (
            "udev properties",
            ("udev", "block"),
            UdevAnswer(
                devices=(
                    UdevDevice(
                        sys_path="/sys/block/sda",
                        sys_name="sda",
                        subsystem="block",
                        properties={"ID_SERIAL_SHORT": "S64DNL0T12", "ID_WWN": "0x5002538f00112233"},
                    ),
                )
            ),
            ("S64DNL0T12", "5002538f00112233"),
        ),
        (
            "command of ours",
            ("run", "curl", "-u", "bob:curlpw-1x", "https://h.example/x"),
            Ran(argv=("curl", "-u", "bob:curlpw-1x", "https://h.example/x"), rc=0, out=b"ok"),
            ("curlpw-1x",),
        ),
        (
            "command settings",
            ("run", "vllm", "\0", "WANDB_API_KEY=0a1b2c3d4e5f60718293"),
            Ran(argv=("vllm",), rc=0),
            ("0a1b2c3d4e5f60718293",),
        ),
        (
            "NUL-separated environment",
            ("read", "/proc/77/environ"),
            FileAnswer(data=b"A=1\0PGPASSWORD=nul-sep-77\0B=2\0" + b"USER=petronella\0"),
            ("nul-sep-77", "petronella"),
        ),
        (
            "NUL-separated command line",
            ("read", "/proc/77/cmdline"),
            FileAnswer(data=b"python\0-m\0server\0--api-key\0nulargkey7\0--port\08000\0"),
            ("nulargkey7",),
        ),
        (
            "bytes that are no text",
            ("read", "/var/log/odd"),
            FileAnswer(data=b"\xff\xfe\x00 token=binTokenValue88 \x00\xff"),
            ("binTokenValue88",),
        ),
        (
            "large file",
            ("read", "/var/log/large"),
            FileAnswer(data=b"line of a log\n" * 9000 + b"ACCESS_TOKEN=deepBlobTok99\n"),
            ("deepBlobTok99",),
        ),
        (
            "docker config",
            ("read", "/root/.docker/config.json"),
            FileAnswer(data=msgspec.json.encode({"auths": {"registry": {"auth": login}}})),
            (login,),
        ),
        (
            "machine id",
            ("read", "/etc/machine-id"),
            FileAnswer(data=b"4c4c45440042351080540b4c04f4d313\n"[:33]),
            ("4c4c45440042351080540b4c04f4d313",),
        ),
        ("board serial", ("read", "/sys/class/dmi/id/board_serial"), FileAnswer(data=b"WQ7788ZX\n"), ("WQ7788ZX",)),
        ("host name file", ("read", "/etc/hostname"), FileAnswer(data=b"gpu-rack-07\n"), ("gpu-rack-07",)),
        (
            "learned late",
            ("read", "/var/log/early"),
            FileAnswer(data=f"request with {PLAIN} was refused\n".encode()),
            (PLAIN,),
        ),
        ("named late", ("read", "/etc/app.env"), FileAnswer(data=f"VAULT_TOKEN={PLAIN}\n".encode()), (PLAIN,)),
    ]
    return rows

"""A machine with planted secrets: where each stands, and what must not survive. All of them are invented."""

from __future__ import annotations

import base64

import msgspec

from tests.unit.host import seeded_hardware, seeded_parted, seeded_services, seeded_texts
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


def build_config_space() -> bytes:
    """A PCI configuration space: capabilities at 100h (AER) and 140h (Device Serial Number)."""
    space = bytearray(4096)
    space[:8] = bytes.fromhex("8680 0be2 0704 1000")
    space[0x100:0x104] = bytes.fromhex("01000114")
    space[0x140:0x14C] = bytes.fromhex("03000100 7e5ac3ffff211b00")
    return bytes(space)


def plant_bytes() -> list[tuple[str, Question, msgspec.Struct, tuple[str, ...]]]:
    """Answers that are no plain text; `gone` as latin-1 where they are no text at all."""
    wide = "gpu driver log\r\nHF_TOKEN=wideTok-77aa\r\n"
    vpd = b"\x82\x04\0Card\x90\x0f\0PN\x03ABCSN\x0aVPD7788XYZ\x78"
    dn = "/sys/bus/pci/devices/0000:03:00.0"
    labels = (
        b'[{"Config":{"Labels":{"io.acme.api-key":"lbl-key-5x","owner":"wilfriede@acme-corp.net"},'
        b'"Cmd":["vllm","--api-key=cmdlbl-6y"]}}]'
    )
    mounting = b"mount error: user=joe,password=stderr-pw-7 refused"
    return [
        ("UTF-16 with a mark", ("read", "/var/log/wide"), FileAnswer(data=wide.encode("utf-16")), ("wideTok-77aa",)),
        (
            "UTF-16, high byte first",
            ("read", "/var/log/wide-be"),
            FileAnswer(data=wide.replace("77aa", "88bb").encode("utf-16-be")),
            ("wideTok-88bb",),
        ),
        (
            "raw config space",
            ("read", f"{dn}/config"),
            FileAnswer(data=build_config_space()),
            (bytes.fromhex("7e5ac3ffff211b00").decode("latin-1"),),
        ),
        ("raw vital product data", ("read", f"{dn}/vpd"), FileAnswer(data=vpd), ("VPD7788XYZ",)),
        (
            "container labels and command",
            ("run", "docker", "inspect", "x"),
            Ran(argv=("docker", "inspect", "x"), rc=0, out=labels),
            ("lbl-key-5x", "wilfriede", "cmdlbl-6y"),
        ),
        (
            "password on standard error",
            ("run", "mount.cifs"),
            Ran(argv=("mount.cifs",), rc=1, err=mounting),
            ("stderr-pw-7",),
        ),
        (
            "large environment",
            ("read", "/proc/9/environ"),
            FileAnswer(data=b"PATH=/bin\0" * 9000 + b"GITHUB_PAT=nulblob-77q\0"),
            ("nulblob-77q",),
        ),
    ]


def plant() -> list[tuple[str, Question, msgspec.Struct, tuple[str, ...]]]:
    """(kind, question, answer, what must be gone)."""
    rows: list[tuple[str, Question, msgspec.Struct, tuple[str, ...]]] = []
    for kind, text, gone in (*seeded_texts.TEXTS, *seeded_parted.TEXTS, *seeded_hardware.TEXTS, *seeded_services.TEXTS):
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
        *plant_bytes(),
        (
            "learned late",
            ("read", "/var/log/early"),
            FileAnswer(data=f"request with {PLAIN} was refused\n".encode()),
            (PLAIN,),
        ),
        ("named late", ("read", "/etc/app.env"), FileAnswer(data=f"VAULT_TOKEN={PLAIN}\n".encode()), (PLAIN,)),
    ]
    return rows

"""Names that are words stay out of the search in all text; a bundle is never lost to them. What is shown has no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machines.recorded_machines import RECORDED, open_loosely
from xpukit.core.finding import Evidence, Finding
from xpukit.host.answers import IdentityAnswer
from xpukit.host.recording import RecordingHost
from xpukit.host.recording_format import ANSWERS, read_archive
from xpukit.host.redaction.common_names import is_distinct, is_distinct_domain, is_distinct_serial, is_word
from xpukit.host.redaction.mask_secrets import mask_secrets, mask_struct
from xpukit.host.redaction.post_scan import scan_bundle
from xpukit.host.redaction.redactor import Redactor
from xpukit.host.redaction.stand_ins import render_uuid

WORDS = (
    "gpu user admin x intel arc server localhost ubuntu b60 node1 card0 torch version answer key a770 max1550 gpu02 "
    "tokens summary findings python3 xe kernel enp3s0 host-1 user-12 6.14.0-1011-intel"
)
NAMES = "melinda gpu-rack-07 wilhelmine dgx-h7 j.smith zeus annegret rechner-12"


@pytest.mark.parametrize("name", WORDS.split())
def test_words_are_not_looked_for_in_all_text(name: str) -> None:
    assert not is_distinct(name)
    text = f"{name} in /sys/devices/system/node/node1 of {name}: {name}-1.2 {name.upper()}"
    assert Redactor(IdentityAnswer(hostname=name, username=name))(text) == text


@pytest.mark.parametrize("name", NAMES.split())
def test_names_are_looked_for_in_all_text(name: str) -> None:
    assert is_distinct(name)
    redactor = Redactor(IdentityAnswer(hostname="zz-unseen", username=name))
    assert name not in redactor(f"of {name}: ({name}) {name}@x {name.upper()}".lower())


def test_a_word_is_replaced_where_it_shows_that_it_is_a_name() -> None:
    redactor = Redactor(IdentityAnswer(hostname="node1", username="torch"))
    assert redactor("/home/torch/torch USER=torch torch 2.8") == "/home/user-1/torch USER=user-1 torch 2.8"
    assert redactor.scrub_value("hostname", "node1") == "host-1"
    assert redactor("Linux node1 6.14.0 /sys/devices/system/node/node1").endswith("/node/node1")


def test_a_short_user_is_replaced_as_a_word_of_a_list() -> None:
    redactor = Redactor(IdentityAnswer(hostname="h", username="bob"))
    assert redactor.scrub_words(("bob", "video")) == ("user-1", "video")
    assert redactor("thingamabob bob's") == "thingamabob bob's"


@pytest.mark.parametrize("username", ["jd", "ry", "x"])
def test_homes_of_users_with_short_names(username: str) -> None:
    redacted = Redactor(IdentityAnswer(hostname="h", username=username))(f"/home/{username}/models/x.gguf")
    assert redacted == "/home/x/models/x.gguf" if username == "x" else redacted == "/home/user-1/models/x.gguf"


def test_domains_and_serial_numbers_that_are_words() -> None:
    assert not is_distinct_domain("internal")
    assert is_distinct_domain("lab.acme-corp.net")
    assert not is_distinct_serial("123456")
    assert is_distinct_serial("S64DNL0T12")
    assert is_word("node-7")


@pytest.mark.parametrize(
    ("hostname", "username"),
    [("server", "gpu"), ("node1", "intel"), ("b60", "x"), ("tokens", "torch"), ("server.internal", "bob"),
     ("ubuntu", "version"), ("summary", "answer"), ("gpu-rack-07.lab.acme-corp.net", "melinda")],
)  # fmt: skip
def test_no_alarm_about_a_recorded_machine_whatever_it_is_called(tmp_path: Path, hostname: str, username: str) -> None:
    identity = IdentityAnswer(hostname=hostname, username=username)
    redactor = Redactor(identity)
    machine = open_loosely("b580")
    recording = RecordingHost(machine, tmp_path / "rec", scrub=redactor)
    for line in read_archive(RECORDED / "b580.tar.xz")[ANSWERS].decode().splitlines()[:400]:
        if '"read"' in line[:24]:
            recording.read(line.split('"')[5])
    recording.close()
    leaks = scan_bundle(tmp_path / "rec", identity=identity, literals=redactor.list_literals(), leaves=redactor.leaves)
    assert leaks == ()


@pytest.mark.parametrize(
    "text",
    ["ADMIN@ACME-CORP.NET", "contact joe@acme.net:", "nguid : 36344830525001230025384500000042",
     "I_MPI_THREAD_ID_KEY=vci", "icons-64x64@2.tar", "TLS-PSK implementation in OpenSSL", "https://a:b@測試?abc#foo",
     "x's password:\nnext line 12345678", "$1$9\udcbe\udc85\udc91\udcc7#b\udcb0]\x00mX", "D@\u03e9.nfu",
     "--prompt-root-password\nType=oneshot7", "-a root@important.example.com:/ ."],
)  # fmt: skip
def test_what_once_cost_a_bundle_without_reason(tmp_path: Path, text: str) -> None:
    redacted = Redactor(IdentityAnswer(hostname="h", username="root")).scrub_bytes(
        text.encode("utf-8", "surrogateescape")
    )
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "x.log").write_bytes(redacted)
    assert scan_bundle(tmp_path, identity=IdentityAnswer(hostname="h", username="root")) == ()


def test_what_is_shown_has_names_and_no_secret() -> None:
    text = "vllm serve m --api-key abc123XYZq on melinda@10.1.2.3 https_proxy=http://joe:pr0xy-pw@gw.example"
    shown = mask_secrets(text)
    assert "abc123XYZq" not in shown
    assert "pr0xy-pw" not in shown
    assert "melinda@10.1.2.3" in shown


def test_a_finding_is_masked_by_the_name_beside_its_value() -> None:
    finding = Finding(
        id="XPK-X",
        severity="info",
        summary="container a",
        evidence=(
            Evidence(source="container a: HF_TOKEN", value="plain-word9"),
            Evidence(source="command", value="serve --hf-token tok-77-aa"),
            Evidence(source="/sys/class/drm/card0", value="8086:e20b 25.18.33578.6"),
        ),
    )
    shown = mask_struct(finding)
    assert [one.value for one in shown.evidence] == [
        "[REDACTED:named-value]",
        "serve --hf-token [REDACTED:named-value]",
        "8086:e20b 25.18.33578.6",
    ]


@pytest.mark.parametrize(
    ("label", "stays"),
    [
        ("read /sys/devices/pci0000:15/0000:18:00.0/lb_fan_control_version", True),
        ("read /sys/class/nvme/nvme0/firmware_rev", True),
        ("read /etc/hosts.version.d/server", False),
        ("run cat lb_fan_control_version", False),
    ],
)
def test_a_file_that_holds_a_version_holds_no_address(label: str, stays: bool) -> None:
    redactor = Redactor(IdentityAnswer(hostname="h", username="x"))
    redactor.about(label)
    assert (redactor.scrub_bytes(b"203.0.0.0\n") == b"203.0.0.0\n") == stays


def test_constants_of_specifications_stay(tmp_path: Path) -> None:
    """A bundle of another machine is asked for the file by this very name."""
    secure_boot = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    text = f"{secure_boot} PARTTYPE=C12A7328-F81F-11D2-BA4B-00A0C93EC93B UUID=6b9d3c1e-52aa-4bb1-9f6e-2f0c8a1d7e55"
    redactor = Redactor(IdentityAnswer(hostname="h", username="u"))
    # A map of an older version has a pseudonym for it.
    redactor.stand_in("uuid", "uuid", "8be4df61-93ca-11d2-aa0d-00e098032b8c", render_uuid)
    redacted = redactor.remove_late(redactor(text))
    assert secure_boot in redacted
    assert "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" in redacted
    assert "6b9d3c1e" not in redacted
    (tmp_path / "a.txt").write_text(redacted)
    assert not scan_bundle(tmp_path, identity=IdentityAnswer(), literals=redactor.list_literals())

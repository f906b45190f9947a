"""Serial numbers, UUIDs, machine ids and world-wide names."""

from __future__ import annotations

import re

from xpukit.host.redaction.common_names import is_public_uuid
from xpukit.host.redaction.rule import MARK, Rule, Scene, build_name_rule, replace_group
from xpukit.host.redaction.stand_ins import render_hex, render_serial, render_uuid, render_volume

_NO_SERIAL = re.compile(
    r"(?i)unknown|not|none|n/?a|null|no|to|default|system|chassis|base|o\.?e\.?m\.?|empty"
    r"|invalid|unspecified|specified|available|applicable|"
    r"supported|asset|number|string|tag|serial|0+|[x*.\-]+|(?:0?1?2345678\d*)|0x0+|true"
    r"|false|fill(?:ed)?|by|sn0+\d*|byo|dimm\w*|virtual|"
    r"ttys\w*|tty\w*|usb\d*|ata\d*|hda\w*|sd[a-z]+|device|port|console|driver|log|bus|core"
    r"|io|uart\w*|loopback|enabled|disabled"
)


def is_serial(text: str) -> bool:
    """Whether a text can be a serial number: a placeholder of a careless maker and a word are none."""
    return (
        len(text) >= 4
        and any(c.isdigit() for c in text)
        and not _NO_SERIAL.fullmatch(text)
        and MARK not in text
        and not re.fullmatch(
            r"\d+(?:\.\d+)+|\d{1,5}|0x[0-9a-fA-F]{1,8}|[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.\d", text
        )
    )


# An Intel GPU's UUID is its PCI ids and address and says nothing about the owner (compute-runtime, DeviceUuid):
# tools print its bytes forwards, backwards or as decimal numbers, and they are joined by them.
def is_intel_gpu_uuid(text: str) -> bool:
    """Vendor 8086, device, revision, domain, bus, device, function, four zero bytes, sub-device; either direction."""
    try:
        raw = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return False
    for data in (raw, raw[::-1]):
        if data[:2] == b"\x86\x80" and not any(data[11:15]) and data[9] < 32 and data[10] < 8:
            return True
    return False


def _is_private_uuid(text: str) -> bool:
    digits = text.replace("-", "").lower()
    if is_public_uuid(text) or is_intel_gpu_uuid(text):
        return False
    return len(set(digits)) > 1 and not digits.startswith("cafe00000000400080")


def _spell_uuid(text: str) -> str:
    return text.replace("-", "").lower()


_UUID = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
_SERIAL_WORDS = (
    r"(?:(?i:serial[ _\-]?(?:number|num|no\.?|short)?|(?<![A-Za-z])s/?n|asset[ _\-]?tag"
    r"|part[ _\-]serial|service[ _\-]tag|"
    r"ID_SERIAL_SHORT|ID_SCSI_SERIAL|unit serial number|board_?serial|product_?serial|chassis_?serial"
    r"|drive_?serial|inventory[ _]number|UFS_SERIAL))"
)

# read PATH -> the whole content is one value of this kind
_FILES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?:^|[\s/])(?:machine-id|dbus/machine-id|boot_id|product_uuid)$"), "uuid"),
    (re.compile(r"/(?:\w+_serial|serial|serial_number|\w*asset_tag|vpd_pg80)$"), "serial"),
    (re.compile(r"/(?:eui|nguid|wwid|wwn|port_name|node_name|node_guid|sys_image_guid)$"), "hex"),
    (re.compile(r"(?:/etc/hostname|/proc/sys/kernel/hostname)$"), "host"),
)
_HEX_RUN = re.compile(
    r"(?<![0-9A-Za-z])(?:0x)?[0-9A-Fa-f]{16,32}(?![0-9A-Za-z])|(?:[0-9A-Fa-f]{2} ){7,15}[0-9A-Fa-f]{2}"
)


def is_one_value(label: str) -> bool:
    """Whether the content of this file is one name and nothing else."""
    return any(pattern.search(label) for pattern, _ in _FILES)


def _replace_whole_file(text: str, scene: Scene) -> str:
    kind = next((kind for pattern, kind in _FILES if pattern.search(scene.label)), None)
    value = text.strip("\0 \t\r\n")
    if kind is None or not value or len(value) > 256:
        return text
    if kind == "uuid" and re.fullmatch(rf"{_UUID}|[0-9A-Fa-f]{{32}}", value) and _is_private_uuid(value):
        return text.replace(value, scene.stand_in("uuid", "uuid", value, render_uuid, _spell_uuid(value)))
    if kind == "serial" and re.fullmatch(r"[A-Za-z0-9._\-+]{4,64}", value) and is_serial(value):
        scene.learn("serial", value)
        return text.replace(value, scene.stand_in("serial", "serial", value, render_serial))
    if kind == "hex":
        return _HEX_RUN.sub(
            lambda match: scene.stand_in("wwn", "wwn", match.group(), render_hex, _spell_hex(match.group())), text
        )
    if (
        kind == "host"
        and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.\-]{0,252}", value)
        and value not in ("read", "stat", "list")
    ):
        from xpukit.host.redaction.names import replace_host

        return text.replace(value, replace_host("host-name", value, scene))
    return text


def _spell_hex(text: str) -> str:
    return re.sub(r"^0x|[^0-9A-Fa-f]", "", text).lower()


def _replace_serials(text: str, scene: Scene) -> str:
    def replace(match: re.Match[str]) -> str:
        found = match["s"]
        if not is_serial(found):
            return match.group()
        pseudonym = scene.stand_in("serial", "serial", found, render_serial)
        if len(found) >= 6:
            scene.learn("serial", found)
        return replace_group(match, "s", pseudonym)

    return _SERIAL.sub(replace, text)


_SERIAL = re.compile(
    rf"(?:(?<![A-Za-z])|(?<=[a-z])(?=[SA])){_SERIAL_WORDS}(?:[ \t]{{0,3}}\([^)\n]{{0,20}}\))?\\*[\"']?[ \t]*[:="
    rf"|#][ \t|]*\\*[\"']?(?P<s>[A-Za-z0-9][A-Za-z0-9._\-+]{{2,62}}[A-Za-z0-9])"
)

RULES: tuple[Rule, ...] = (
    Rule(
        name="serial",
        removes="name",
        what="serial numbers and asset tags",
        hints=(),
        apply=_replace_whole_file,
    ),
    Rule(
        name="serial",
        removes="name",
        what="serial numbers and asset tags",
        hints=("serial", "asset", "service tag", "service-tag", "service_tag", "inventory"),
        apply=_replace_serials,
    ),
    Rule(
        name="serial",
        removes="name",
        what="serial numbers and asset tags",
        hints=("sn", "s/n"),
        probe=re.compile(r"[sS]/?[nN](?=[ \t:=|#(\"'\\])"),
        apply=_replace_serials,
    ),
    build_name_rule(
        "serial",
        "serial numbers and asset tags",
        # lsusb; of a host controller it is the PCI address.
        r"iSerial +\d+ +(?P<s>[A-Za-z0-9._\-]{4,62})(?!\S)",
        kind="serial",
        render=render_serial,
        hints=("iserial",),
        check=is_serial,
        learn=True,
    ),
    build_name_rule(
        "serial",
        "serial numbers and asset tags",
        r"Device Serial Number (?P<s>(?:[0-9A-Fa-f]{2}-){7}[0-9A-Fa-f]{2})",
        kind="serial",
        render=render_serial,
        hints=("device serial number",),
        check=lambda text: len(set(text.split("-"))) > 1,
        learn=True,
    ),
    build_name_rule(
        "serial",
        "serial numbers and asset tags",
        r"(?<![A-Za-z0-9])(?:ata|nvme|scsi(?:-S)?|usb|virtio|mmc|ieee1394)-[^\s/\"'\\]*?[_\-](?P<s>[A-Za-z0-9]{6,4"
        r"0})(?=(?:[_\-](?:part)?\d+|-0:0)*(?:-part\d+)?(?![A-Za-z0-9_\-]))",
        kind="serial",
        render=render_serial,
        hints=("ata-", "nvme-", "scsi-", "usb-", "virtio-", "mmc-"),
        check=lambda text: (
            is_serial(text) and sum(c.isdigit() for c in text) >= 3 and not text.lower().startswith("eui")
        ),
        learn=True,
    ),
    build_name_rule(
        "uuid",
        "UUIDs of machines, disks and partitions; machine and boot ids",
        rf"(?<![0-9A-Za-z])(?P<s>{_UUID})(?![0-9A-Za-z])",
        kind="uuid",
        render=render_uuid,
        probe=r"-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-",
        check=_is_private_uuid,
        canonical=_spell_uuid,
    ),
    build_name_rule(
        "uuid",
        "UUIDs of machines, disks and partitions; machine and boot ids",
        r"(?i:machine[ _\-]?id|boot[ _\-]?id|_BOOT_ID|uuid|invocation_?id|nguid|installation_?id"
        r"|device[ _]?id)\\*[\"']?\s*[:=]\s*\\*[\"']?(?P<s>[0-9A-Fa-f]{32})(?![0-9A-Za-z])",
        kind="uuid",
        render=render_uuid,
        hints=("machine", "boot", "uuid", "invocation", "nguid", "installation", "device id", "device_id", "deviceid"),
        check=_is_private_uuid,
        canonical=_spell_uuid,
    ),
    build_name_rule(
        "uuid",
        "UUIDs of machines, disks and partitions; machine and boot ids",
        r"(?:/(?:var/log|run/log)/journal/|machine-id )(?P<s>[0-9a-f]{32})(?![0-9A-Za-z])",
        kind="uuid",
        render=render_uuid,
        hints=("/journal/", "machine-id "),
        check=_is_private_uuid,
        canonical=_spell_uuid,
    ),
    build_name_rule(
        "uuid",
        "UUIDs of file systems and partition tables",
        r"(?:PARTUUID|PTUUID|UUID|ID_FS_UUID(?:_ENC)?|ID_PART_\w+UUID)[=:]\s*\\*[\"']?(?P<s>[0-9A-Fa-f]{4}-[0-9A-F"
        r"a-f]{4}|[0-9A-Fa-f]{8}-[0-9A-Fa-f]{2}|[0-9A-Fa-f]{8}|[0-9A-Fa-f]{16})(?![0-9A-Za-z\-])",
        kind="fs-uuid",
        render=render_hex,
        hints=("uuid",),
        canonical=_spell_hex,
    ),
    build_name_rule(
        "uuid",
        "UUIDs of file systems and partition tables",
        r"by-(?:uuid|partuuid)/(?P<s>[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}|[0-9A-Fa-f]{8}-[0-9A-Fa-f]{2}"
        r"|[0-9A-Fa-f]{16})(?![0-9A-Za-z\-])",
        kind="fs-uuid",
        render=render_hex,
        hints=("by-uuid", "by-partuuid"),
        canonical=_spell_hex,
    ),
    build_name_rule(
        "uuid",
        "UUIDs of volumes of LVM",
        r"(?<![\w\-])(?P<s>[A-Za-z0-9]{6}(?:-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6})(?![\w\-])",
        kind="lvm-uuid",
        render=render_volume,
        probe=r"-[A-Za-z0-9]{4}-[A-Za-z0-9]{4}-[A-Za-z0-9]{4}-[A-Za-z0-9]{4}-",
        check=lambda text: any(c.isdigit() for c in text),
    ),
    build_name_rule(
        "serial",
        "serial numbers and asset tags",
        r"(?i:nqn\.\d{4}[.\-]\d\d\.(?:\w+\.)+nvmexpress:(?!uuid:)[0-9a-f]{8})(?P<s>[A-Za-z0-9]{8,20})",
        kind="serial",
        render=render_serial,
        hints=("nvmexpress:",),
        learn=True,
    ),
    build_name_rule(
        "wwn",
        "world-wide names and EUIs of disks and adapters",
        r"(?i:wwn-|wwn\w*[\"']?\s*[:=]\s*[\"']?|naa\.|eui\.|nvme\.|(?:dm-uuid-mpath-|scsi-"
        r"|mpath-)(?=[0-9a-f]{17})|id_wwn\w*=|nguid\s*[:=]\s*|eui64\s*[:=]\s*|wwid[\"']?\s*[:=]\s*[\"']?"
        r"|lu wwn device id:\s*|port_name[\"']?\s*[:=]\s*)"
        r"(?P<s>(?:0x)?[0-9A-Fa-f]{16,33}|[0-9A-Fa-f] [0-9A-Fa-f]{6} [0-9A-Fa-f]{9})(?![0-9A-Za-z])",
        kind="wwn",
        render=render_hex,
        hints=("wwn", "naa.", "eui", "nvme.", "scsi-", "mpath", "nguid", "wwid", "port_name"),
        check=lambda text: bool(text.replace("0x", "").strip("0 ")),
        canonical=_spell_hex,
    ),
)

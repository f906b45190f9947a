"""How a recording lies on disk: `manifest.json`, `answers.jsonl`, and `blobs/` for large answers.

One line of answers.jsonl is `{"question": [...], "answer": {...}}`. Bytes are written as text where they are UTF-8,
else as {"base64": ...}; above 64 KiB as {"blob": name, "encoding": ...}. A question asked again and answered
differently has several lines, in order. A recording is a directory or a .tar, .tar.gz, .tar.xz or .tar.zst of one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, TypeVar, cast

import msgspec

from xpukit.core.errors import BadRecordingError
from xpukit.core.json_document import BAD_JSON

FORMAT = "xpukit.recording/1"
FORMAT_FAMILY = "xpukit.recording/"
MANIFEST = "manifest.json"
ANSWERS = "answers.jsonl"
BLOBS = "blobs"
BLOB_FROM_BYTES = 64 << 10
# A hostile or damaged archive must not fill memory: no recording of a machine comes near this.
_UNPACKED_LIMIT_BYTES = 2 << 30
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

A = TypeVar("A", bound=msgspec.Struct)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Who made the recording, when and of what.

    `covers` are the commands whose questions it holds: only for them is an unrecorded question a defect.
    `names_map` is the id of the map, kept on the host, that can put the names back ("" where nothing was replaced).
    """

    format: str
    xpukit_version: str
    created: str
    command: tuple[str, ...] = ()
    host: str = ""
    complete: bool = False
    covers: tuple[str, ...] = ()
    names_map: str = ""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One question and its answer, the answer not yet typed."""

    question: tuple[str, ...]
    answer: dict[str, Any]


def pack_answer(
    answer: msgspec.Struct,
    scrub: Callable[[str], str],
    store_blob: Callable[[str, bytes], None],
    question: tuple[str, ...] = (),
) -> dict[str, Any]:
    """A struct as JSON-ready values, scrubbed, without fields that have their default."""
    packed: dict[str, Any] = {}
    for field in _list_fields(type(answer)):
        value = getattr(answer, field.name)
        if field.default is not msgspec.NODEFAULT and value == field.default:
            continue
        if isinstance(value, bytes):
            packed[field.name] = pack_bytes(scrub_bytes(value, scrub), store_blob)
        elif question[:1] == ("env",) and field.name == "value" and isinstance(value, str):
            packed[field.name] = scrub_named(question[1], value, scrub)
        else:
            packed[field.name] = scrub_value(msgspec.to_builtins(value), scrub, field.name)
    return packed


def pack_bytes(data: bytes, store_blob: Callable[[str, bytes], None]) -> str | dict[str, str]:
    """Bytes as a recording writes them: text, base64, or the name of a blob."""
    if len(data) > BLOB_FROM_BYTES:
        name = name_blob(data)
        store_blob(name, data)
        return {"blob": name}
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def name_blob(content: bytes) -> str:
    """A blob is named by what it holds."""
    return hashlib.sha256(content).hexdigest()[:32]


def scrub_bytes(data: bytes, scrub: Callable[[str], str]) -> bytes:
    """All bytes are looked at, also those with NULs (an environment); what is no UTF-8 stays byte by byte."""
    own = getattr(scrub, "scrub_bytes", None)
    if own is not None:
        scrubbed: bytes = own(data)
        return scrubbed
    return scrub(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def scrub_words(words: Sequence[str], scrub: Callable[[str], str]) -> list[str]:
    """An argument list: a flag and its value may be two words, so it is scrubbed as a whole."""
    if not words:
        return []
    scrubbed = scrub("\0".join(words)).split("\0")
    return scrubbed if len(scrubbed) == len(words) else [scrub(word) for word in words]


def scrub_named(name: str, value: str, scrub: Callable[[str], str]) -> str:
    """A value that has a name: the name may say that it is secret."""
    own = getattr(scrub, "scrub_value", None)
    return str(own(name, value)) if own is not None else scrub(value)


def scrub_value(value: Any, scrub: Callable[[str], str], name: str = "") -> Any:
    """JSON-ready values, scrubbed; `name` is the field they stand in."""
    if isinstance(value, str):
        # File names and arguments may hold any bytes; a recording is UTF-8.
        printable = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return scrub_named(name, printable, scrub) if name else scrub(printable)
    if isinstance(value, list | tuple):
        if value and all(isinstance(item, str) for item in value):
            return scrub_words(
                [item.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for item in value], scrub
            )
        return [scrub_value(item, scrub) for item in value]
    if isinstance(value, dict):
        return {key: scrub_value(item, scrub, str(key)) for key, item in value.items()}
    return value


@cache
def _list_fields(answer_type: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Asked for each of a thousand answers, and msgspec reads the annotations anew each time."""
    return msgspec.structs.fields(answer_type)


@cache
def _list_byte_fields(answer_type: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.name for field in _list_fields(answer_type) if field.type is bytes)


def unpack_answer(packed: dict[str, Any], answer_type: type[A], load_blob: Callable[[str], bytes]) -> A:
    """The typed answer. Fields this version does not know are passed over. Raises BadRecordingError."""
    byte_fields = _list_byte_fields(answer_type)
    plain = {name: _unpack_bytes(value, load_blob) if name in byte_fields else value for name, value in packed.items()}
    try:
        return msgspec.convert(plain, answer_type, builtin_types=(bytes,))
    except msgspec.ValidationError as err:
        raise BadRecordingError(f"an answer does not fit {answer_type.__name__}: {err}") from err


def _unpack_bytes(value: object, load_blob: Callable[[str], bytes]) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        if isinstance(value.get("blob"), str):
            return load_blob(value["blob"])
        if isinstance(value.get("base64"), str):
            try:
                return base64.b64decode(value["base64"], validate=True)
            except binascii.Error as err:
                raise BadRecordingError(f"an answer holds damaged base64: {err}") from err
    raise BadRecordingError(f"an answer holds {type(value).__name__} where text or bytes belong")


class RecordingFiles:
    """The files of a recording, read from a directory or an archive held in memory."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self._members: dict[str, bytes] | None = None
        if not source.exists():
            raise BadRecordingError(
                f"{source}: no such recording", hint="give a directory or archive made with --record or sysinfo"
            )
        if not source.is_dir():
            self._members = read_archive(source)

    def load(self, name: str) -> bytes | None:
        """The bytes of a file of the recording, None when it is not there."""
        if self._members is not None:
            return self._members.get(name)
        try:
            return (self.source / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as err:
            raise BadRecordingError(f"{self.source / name}: {err.strerror}") from err


def read_archive(path: Path) -> dict[str, bytes]:
    """All regular files of a tar archive by their path below its single top folder (if it has one)."""
    try:
        raw = path.read_bytes()
        if raw[:4] == _ZSTD_MAGIC:
            import zstandard

            with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)) as reader:
                members = _read_members(path, cast(IO[bytes], reader), "r|")
                # To the frame's end, where its checksum stands.
                left = _UNPACKED_LIMIT_BYTES
                while left > 0 and (rest := len(reader.read(1 << 20))):
                    left -= rest
        else:
            members = _read_members(path, io.BytesIO(raw), "r:*")
    except BadRecordingError:
        raise
    except Exception as err:  # tarfile, lzma, zlib and zstandard each have their own for damaged input
        # tarfile says in several lines what each of its ways to open it found.
        cause = str(err).partition("\n")[0].rstrip(":")
        raise BadRecordingError(
            f"{path}: not a readable recording archive ({type(err).__name__}: {cause})",
            hint="it may be damaged or cut short in transfer: compare its size with the original",
        ) from err
    manifests = [name for name in members if PurePosixPath(name).name == MANIFEST]
    if manifests and MANIFEST not in members:
        top = str(PurePosixPath(min(manifests, key=len)).parent) + "/"
        members = {name.removeprefix(top): data for name, data in members.items() if name.startswith(top)}
    return members


def _read_members(path: Path, stream: IO[bytes], mode: Literal["r|", "r:*"]) -> dict[str, bytes]:
    """What a member says of its size is believed before it is read: a small archive cannot fill memory."""
    members: dict[str, bytes] = {}
    total = 0
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for member in archive:
            total += member.size
            if total > _UNPACKED_LIMIT_BYTES:
                raise BadRecordingError(f"{path}: unpacks to more than {_UNPACKED_LIMIT_BYTES >> 20} MiB")
            taken = archive.extractfile(member) if member.isfile() else None
            if taken is not None:
                members[str(PurePosixPath(member.name))] = taken.read()
    return members


def read_manifest(files: RecordingFiles) -> Manifest:
    """The manifest. Raises BadRecordingError for another format or a newer one than ours."""
    raw = files.load(MANIFEST)
    if raw is None:
        raise BadRecordingError(
            f"{files.source}: not an xpukit recording (no {MANIFEST})",
            hint="give a directory or archive made with --record or sysinfo",
        )
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except BAD_JSON as err:
        raise BadRecordingError(f"{files.source}: its {MANIFEST} is damaged: {err}") from err
    if manifest.format != FORMAT:
        if manifest.format.startswith(FORMAT_FAMILY):
            raise BadRecordingError(
                f"{files.source}: format {manifest.format}, this xpukit reads {FORMAT}",
                hint=f"it was made by xpukit {manifest.xpukit_version}: use that version or a newer one",
            )
        raise BadRecordingError(f"{files.source}: not an xpukit recording (format {manifest.format!r})")
    return manifest


def read_lines(files: RecordingFiles) -> tuple[dict[tuple[str, ...], list[dict[str, Any]]], int]:
    """All answers by question, and the number of lines that could not be read (a cut or damaged end)."""
    raw = files.load(ANSWERS)
    if raw is None:
        raise BadRecordingError(f"{files.source}: its {ANSWERS} is missing")
    answers: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    damaged = 0
    decoder = msgspec.json.Decoder(Line)
    for raw_line in raw.split(b"\n"):
        if not raw_line.strip():
            continue
        try:
            line = decoder.decode(raw_line)
        except BAD_JSON:
            damaged += 1
            continue
        if not line.question:
            damaged += 1
            continue
        answers.setdefault(line.question, []).append(line.answer)
    return answers, damaged

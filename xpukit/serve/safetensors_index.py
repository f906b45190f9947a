"""Sizes of a checkpoint from its safetensors index and headers, without loading a weight.

A safetensors file begins with the length of its header (8 bytes, little-endian), then the header: JSON that names each
tensor's dtype, shape and place. Format: https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec

from xpukit.core.errors import UsageError
from xpukit.core.json_document import BAD_JSON
from xpukit.host.door import Host
from xpukit.serve.model_types import Stored, Tensor

INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
# At most 99,999 of them: the format's own numbers have five digits.
_NUMBERED = re.compile(r"(?P<stem>.*?)(?P<number>\d{1,5})-of-(?P<count>\d{1,5})\.safetensors")
_CONSOLIDATED = "consolidated"
_INDEX_LIMIT_BYTES = 64 << 20
_HEADER_LIMIT_BYTES = 100 << 20  # the format's own limit
_DTYPE_BYTES = {
    "F64": 8.0, "I64": 8.0, "U64": 8.0, "F32": 4.0, "I32": 4.0, "U32": 4.0, "F16": 2.0, "BF16": 2.0, "I16": 2.0,
    "U16": 2.0, "F8_E4M3": 1.0, "F8_E5M2": 1.0, "F8_E8M0": 1.0, "I8": 1.0, "U8": 1.0, "BOOL": 1.0, "F4": 0.5,
}  # fmt: skip
# The first pattern that is found in a tensor's name decides its part; the names are those of weights.list_parts.
_PARTS = (
    (re.compile(r"(^|\.)(talker|token2wav|code2wav)\."), ""),  # not served by the engines
    (re.compile(r"(^|\.)(mtp|nextn)\."), "mtp"),
    (re.compile(r"(^|\.)(visual|vision_\w+|vit|vpm|sam_model|mm_projector|mlp1)\."), "vision tower"),
    (re.compile(r"(^|\.)(audio_tower|audio_encoder|apm)\."), "audio tower"),
    (re.compile(r"(^|\.)encoder\.layers\.\d+\.(self_attn|fc[12])"), "encoder"),
    (re.compile(r"(^|\.)lm_head\.|output_layer\.weight$"), "head"),
    (re.compile(r"embed_positions|position_embeddings|wpe\."), "positions"),
    (re.compile(r"embed_tokens|word_embeddings|wte\.|tok_embeddings|embeddings\.token"), "embedding"),
    (re.compile(r"shared_expert"), "shared experts"),
    (re.compile(r"\.experts\."), "experts"),
    (re.compile(r"\.(mlp|block_sparse_moe|feed_forward)\.(gate|router)\.|e_score_correction"), "router"),
    (re.compile(r"linear_attn\.|\.mixer\.|\.mamba\."), "state layers"),
    (re.compile(r"q_a_proj|kv_a_proj|fused_qkv_a"), "latent projections"),
    (re.compile(r"\.(k_proj|v_proj|key|value)\."), "key-value projections"),
    (re.compile(r"norm|\.ln_|layernorm|LayerNorm"), "norms"),
    (re.compile(r"attn|attention"), "attention"),
    (re.compile(r"mlp|feed_forward|ffn|fc[12]|intermediate|\.output\."), "mlp"),
)  # fmt: skip


def read_checkpoint(host: Host, directory: str) -> Stored | None:
    """What lies in a model directory; None where there is no safetensors file.

    Raises UsageError for an index or header that cannot be right: an engine would fail on it later and less clearly.
    """
    listing = host.list(directory)
    shards = [name for name in listing.names if name.endswith(".safetensors")]
    index = f"{directory}/{INDEX_FILE}"
    if INDEX_FILE in listing.names:
        return _read_sharded(host, directory, index, set(shards))
    if not shards:
        return None
    wanted, missing = _choose_files(shards)
    return _join(host, directory, wanted, missing=missing, source=f"{directory}/{(wanted or shards)[0]}", total=0)


def _choose_files(names: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """Without an index: the files that are read, and by their numbers those that are missing.

    Mistral's consolidated files hold the same weights once more.
    """
    if SINGLE_FILE in names:
        return [SINGLE_FILE], ()
    numbered = [(name, match) for name in names if (match := _NUMBERED.fullmatch(name))]
    if not numbered:
        once = [name for name in names if not name.startswith(_CONSOLIDATED)]
        return sorted(once or names), ()
    _, match = next((one for one in numbered if not one[0].startswith(_CONSOLIDATED)), numbered[0])
    stem, width, count = match["stem"], len(match["number"]), int(match["count"])
    files = [f"{stem}{number:0{width}}-of-{match['count']}.safetensors" for number in range(1, count + 1)]
    return [name for name in files if name in names], tuple(name for name in files if name not in names)


def _read_sharded(host: Host, directory: str, index: str, there: set[str]) -> Stored:
    document = _decode(host.read(index, limit_bytes=_INDEX_LIMIT_BYTES).data, index)
    weights = document.get("weight_map")
    if not isinstance(weights, dict) or not weights:
        raise UsageError(f"{index}: it has no weight_map", hint="copy the model again: the index is damaged")
    files = sorted({name for name in weights.values() if isinstance(name, str)})
    metadata = document.get("metadata")
    size = metadata.get("total_size") if isinstance(metadata, dict) else None
    total = size if isinstance(size, int) and size > 0 else 0
    missing = tuple(name for name in files if name not in there)
    stored = _join(host, directory, [name for name in files if name in there], missing, index, total)
    if stored.tensors == 0:
        return msgspec.structs.replace(stored, tensors=len(weights))
    return stored


def _join(host: Host, directory: str, files: list[str], missing: tuple[str, ...], source: str, total: int) -> Stored:
    parts: Counter[str] = Counter()
    dtypes: Counter[str] = Counter()
    held = count = largest = 0
    seen: set[str] = set()
    for name in files:
        path = f"{directory}/{name}"
        tensors = read_header(host, path)
        largest = max(largest, host.stat(path).size_bytes, sum(tensor.bytes for tensor in tensors))
        for tensor in tensors:
            if tensor.name in seen:  # a tensor that two files hold is loaded once
                continue
            seen.add(tensor.name)
            count += 1
            held += tensor.bytes
            dtypes[tensor.dtype] += tensor.bytes
            part = classify_tensor(tensor.name)
            if part:
                parts[part] += tensor.bytes
    complete = bool(files) and not missing
    return Stored(
        total_bytes=held if complete else max(total, held),
        files=len(files) + len(missing),
        tensors=count,
        complete=complete,
        source=source,
        largest_file_bytes=largest,
        parts=dict(parts) if complete else {},
        dtypes=dict(dtypes),
        missing=missing,
    )


def read_header(host: Host, path: str) -> tuple[Tensor, ...]:
    """The tensors of a file, by its header. Raises UsageError when it is no safetensors file."""
    start = host.read(path, limit_bytes=8)
    if not start.ok:
        raise UsageError(f"{path}: cannot be read ({start.error})", hint="check the path and its permissions")
    if len(start.data) < 8:
        raise UsageError(f"{path}: not a safetensors file, it has {len(start.data)} bytes", hint="copy it again")
    length = int.from_bytes(start.data[:8], "little")
    if not 2 <= length <= _HEADER_LIMIT_BYTES:
        hint = "it may be a Git LFS pointer: fetch the file itself" if start.data.startswith(b"version ") else ""
        raise UsageError(f"{path}: not a safetensors file (a header of {length} bytes)", hint=hint or "copy it again")
    data = host.read(path, limit_bytes=8 + length, timeout_s=10.0).data
    if len(data) < 8 + length:
        raise UsageError(f"{path}: it ends inside its header", hint="the download was cut off: copy it again")
    header = _decode(data[8 : 8 + length], path)
    tensors = tuple(
        tensor for name, entry in header.items() if name != "__metadata__" and (tensor := _read_tensor(name, entry))
    )
    there, wanted = host.stat(path).size_bytes, 8 + length + sum(tensor.bytes for tensor in tensors)
    if 0 < there < wanted:
        raise UsageError(
            f"{path}: {there:,} of {wanted:,} bytes are there", hint="the download was cut off: copy it again"
        )
    return tensors


def _read_tensor(name: str, entry: Any) -> Tensor | None:
    if not isinstance(entry, dict):
        return None
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or not isinstance(shape, list):
        return None
    sizes = tuple(size for size in shape if isinstance(size, int) and size >= 0)
    tensor = Tensor(name=name, dtype=dtype, shape=sizes, bytes=0)
    held = int(tensor.elements * _DTYPE_BYTES.get(dtype, 2.0))
    if isinstance(offsets, list) and len(offsets) == 2 and all(isinstance(place, int) for place in offsets):
        held = max(0, offsets[1] - offsets[0])
    return msgspec.structs.replace(tensor, bytes=held)


def classify_tensor(name: str) -> str:
    """Which part of the model a tensor belongs to; "" for what the engines do not load, "other" for the rest."""
    return next((part for pattern, part in _PARTS if pattern.search(name)), "other")


def _decode(data: bytes, path: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(data)
    except BAD_JSON as err:
        raise UsageError(f"{path}: not valid JSON ({err})", hint="the file is damaged: copy it again") from err
    if not isinstance(found, dict):
        raise UsageError(f"{path}: not a JSON object", hint="the file is damaged: copy it again")
    return found

"""Checkpoints sized from their headers, and damaged ones refused with a reason."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.serve.model_files import list_llama_tensors, write_directory, write_safetensors
from xpukit.core.errors import UsageError
from xpukit.host.live import LiveHost
from xpukit.serve.safetensors_index import INDEX_FILE, classify_tensor, read_checkpoint, read_header


def test_sizes_of_a_sharded_checkpoint(tmp_path: Path) -> None:
    total = write_directory(tmp_path)
    stored = read_checkpoint(LiveHost(), str(tmp_path))
    assert stored is not None
    assert stored.complete
    assert stored.total_bytes == total == sum(stored.parts.values()) == sum(stored.dtypes.values())
    assert stored.tensors == len(list_llama_tensors())
    assert stored.parts["embedding"] == stored.parts["head"] == 1024 * 256 * 2
    assert stored.parts["key-value projections"] == 4 * 2 * 64 * 256 * 2
    assert set(stored.dtypes) == {"BF16"}


def test_a_single_file(tmp_path: Path) -> None:
    total = write_safetensors(tmp_path / "model.safetensors", list_llama_tensors())
    stored = read_checkpoint(LiveHost(), str(tmp_path))
    assert stored is not None
    assert (stored.total_bytes, stored.files, stored.complete) == (total, 1, True)


def test_a_missing_shard_is_named_and_the_index_gives_the_size(tmp_path: Path) -> None:
    total = write_directory(tmp_path, shards=3)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    stored = read_checkpoint(LiveHost(), str(tmp_path))
    assert stored is not None
    assert stored.missing == ("model-00002-of-00003.safetensors",)
    assert (stored.total_bytes, stored.complete, stored.parts) == (total, False, {})


def test_a_file_that_was_cut_off_behind_its_header_is_told(tmp_path: Path) -> None:
    total = write_safetensors(tmp_path / "model.safetensors", list_llama_tensors())
    size = (tmp_path / "model.safetensors").stat().st_size
    assert size > total
    os.truncate(tmp_path / "model.safetensors", size - 1)
    with pytest.raises(UsageError, match=f"{size - 1:,} of {size:,} bytes are there"):
        read_checkpoint(LiveHost(), str(tmp_path))


def test_without_an_index_the_numbers_say_which_files_there_are(tmp_path: Path) -> None:
    tensors = list(list_llama_tensors().items())
    sizes = [
        write_safetensors(tmp_path / f"model-0000{number}-of-00002.safetensors", dict(tensors[number::2]))
        for number in (1, 2)
    ]
    write_safetensors(tmp_path / "consolidated.safetensors", dict(tensors))  # the same weights once more
    stored = read_checkpoint(LiveHost(), str(tmp_path))
    assert stored is not None
    assert (stored.total_bytes, stored.files, stored.complete) == (sum(sizes), 2, True)
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    stored = read_checkpoint(LiveHost(), str(tmp_path))
    assert stored is not None
    assert (stored.missing, stored.complete) == (("model-00001-of-00002.safetensors",), False)


def test_consolidated_files_count_where_there_are_no_others(tmp_path: Path) -> None:
    total = write_safetensors(tmp_path / "consolidated.safetensors", list_llama_tensors())
    stored = read_checkpoint(LiveHost(), str(tmp_path))
    assert stored is not None
    assert (stored.total_bytes, stored.files) == (total, 1)


def test_a_tensor_in_two_files_counts_once(tmp_path: Path) -> None:
    total = write_safetensors(tmp_path / "a.safetensors", list_llama_tensors())
    write_safetensors(tmp_path / "b.safetensors", list_llama_tensors())
    stored = read_checkpoint(LiveHost(), str(tmp_path))
    assert stored is not None
    assert (stored.total_bytes, stored.tensors) == (total, len(list_llama_tensors()))


def test_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    assert read_checkpoint(LiveHost(), str(tmp_path)) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no weight_map|JSON"),
        (b"{", "JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "no weight_map"),
        (b'{"weight_map": {}}', "no weight_map"),
        (b"\xff\xfe\x00", "JSON"),
    ],
)
def test_a_corrupt_index(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / INDEX_FILE).write_bytes(content)
    with pytest.raises(UsageError, match=said) as caught:
        read_checkpoint(LiveHost(), str(tmp_path))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has 0 bytes"),
        (b"abc", "has 3 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not a safetensors file"),
        (struct.pack("<Q", 1 << 40) + b"{}", "a header of"),
        (struct.pack("<Q", 500) + b"{}", "ends inside its header"),
        (struct.pack("<Q", 4) + b"{x:}", "JSON"),
    ],
)
def test_a_corrupt_header(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read_header(LiveHost(), str(path))


def test_a_git_lfs_pointer_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(UsageError) as caught:
        read_header(LiveHost(), str(path))
    assert "LFS" in caught.value.hint


def test_odd_entries_of_a_header_are_left_out(tmp_path: Path) -> None:
    header = {"a": 1, "b": {"dtype": "BF16"}, "c": {"dtype": "F8_E4M3", "shape": [4, 4]}}
    data = json.dumps(header).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(data)) + data + bytes(16))
    (tensor,) = read_header(LiveHost(), str(path))
    assert (tensor.name, tensor.bytes, tensor.elements) == ("c", 16, 16)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.embed_tokens.weight", "embedding"),
        ("lm_head.weight", "head"),
        ("model.layers.0.self_attn.q_proj.weight", "attention"),
        ("model.layers.0.self_attn.v_proj.weight", "key-value projections"),
        ("model.layers.0.self_attn.kv_a_proj_with_mqa.weight", "latent projections"),
        ("model.layers.0.self_attn.q_norm.weight", "norms"),
        ("model.layers.0.mlp.down_proj.weight", "mlp"),
        ("model.layers.0.mlp.gate.weight", "router"),
        ("model.layers.0.mlp.gate_proj.weight", "mlp"),
        ("model.layers.9.mlp.experts.17.up_proj.weight", "experts"),
        ("model.layers.9.mlp.shared_experts.up_proj.weight", "shared experts"),
        ("model.layers.0.linear_attn.in_proj_qkvz.weight", "state layers"),
        ("visual.blocks.0.attn.qkv.weight", "vision tower"),
        ("model.vision_tower.encoder.layers.0.self_attn.q_proj.weight", "vision tower"),
        ("thinker.audio_tower.layers.0.fc1.weight", "audio tower"),
        ("talker.model.layers.0.mlp.down_proj.weight", ""),
        ("mtp.layers.0.mlp.experts.0.up_proj.weight", "mtp"),
        ("model.encoder.layers.0.fc1.weight", "encoder"),
        ("something_else", "other"),
    ],
)
def test_parts(name: str, part: str) -> None:
    assert classify_tensor(name) == part


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.safetensors"
    path.write_bytes(data)
    with contextlib.suppress(UsageError):
        assert read_header(LiveHost(), str(path)) == ()

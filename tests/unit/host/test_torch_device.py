"""Which of torch's devices is which target, without torch: a written module stands for what torch would show."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from xpukit.core.measurement import Target
from xpukit.host.native import torch_device
from xpukit.host.native.torch_device import Backend, TorchError, explain_refusal, open_torch_devices


def make_target(index: int, tile: int | None = None) -> Target:
    label = f"gpu{index}" if tile is None else f"gpu{index}/tile{tile}"
    return Target(label=label, kind="gpu", name="a GPU", level_zero_index=index, tile=tile)


def make_namespace(devices: int, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(
        is_available=lambda: devices > 0,
        device_count=lambda: devices,
        synchronize=lambda index: None,
        get_device_name=lambda index: f"card {index} ",
        **more,
    )


def make_torch(kind: str = "xpu", devices: int = 1, *, agnostic: bool = True, **more: Any) -> SimpleNamespace:
    """A torch with one kind of accelerator; `agnostic`: with torch.accelerator, which came with 2.6."""
    namespace = make_namespace(devices, **more)
    parts: dict[str, Any] = {kind: namespace}
    if agnostic:
        current = SimpleNamespace(type=kind)
        parts["accelerator"] = SimpleNamespace(**vars(namespace), current_accelerator=lambda: current)
    version = SimpleNamespace(xpu="20250302" if kind == "xpu" else None, cuda=None, hip=None)
    return SimpleNamespace(__version__="2.13.0", version=version, device=lambda kind, index: f"{kind}:{index}", **parts)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XPUKIT_DEVICE", "gpu")

    def install(torch: SimpleNamespace) -> None:
        monkeypatch.setattr(torch_device, "load_torch", lambda: torch)

    return install


@pytest.mark.parametrize("agnostic", [True, False])
def test_targets_are_counted_as_level_zero_counts_what_the_mask_leaves(use: Any, agnostic: bool) -> None:
    use(make_torch(devices=3, agnostic=agnostic))
    devices = open_torch_devices([make_target(5), make_target(1, 1), make_target(1, 0)])
    assert [(device.label, device.device) for device in devices] == [
        ("gpu5", "xpu:2"),
        ("gpu1/tile1", "xpu:1"),
        ("gpu1/tile0", "xpu:0"),
    ]


@pytest.mark.parametrize("shown", [1, 3])
def test_another_number_of_devices_is_refused(use: Any, shown: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZE_AFFINITY_MASK", "0,1")
    use(make_torch(devices=shown))
    with pytest.raises(TorchError, match=rf"shows {shown} devices, 2 are to be measured \(ZE_AFFINITY_MASK=0,1 "):
        open_torch_devices([make_target(0), make_target(1)])


def test_cuda_knows_no_mask_of_level_zero(use: Any) -> None:
    use(make_torch("cuda", devices=4))
    (device,) = open_torch_devices([make_target(0)])
    assert device.device == "cuda:0"


def test_a_torch_without_devices_says_what_it_was_built_for(use: Any) -> None:
    use(make_torch(devices=0))
    with pytest.raises(TorchError, match=r"PyTorch 2\.13\.0 shows no device to this worker \(built for xpu\)"):
        Backend()
    use(make_torch("cuda", devices=0, agnostic=False))
    with pytest.raises(TorchError, match="built for the CPU alone"):
        Backend()


def test_what_torch_says_of_a_device_is_asked_of_its_own_namespace(use: Any) -> None:
    asked: list[tuple[int, int]] = []

    def can_access(first: int, second: int) -> bool:
        asked.append((first, second))
        return second == 0

    properties = SimpleNamespace(has_fp64=False, last_level_cache_size=18 << 20)
    use(make_torch(devices=2, can_device_access_peer=can_access, get_device_properties=lambda index: properties))
    first, second = open_torch_devices([make_target(0), make_target(1)])
    assert (second.can_access(first), first.can_access(second)) == (True, False)
    assert asked == [(1, 0), (0, 1)]
    assert first.cache_bytes == 18 << 20
    assert not first.backend.has_fp64(0)
    assert first.backend.describe(1) == "PyTorch 2.13.0 on xpu:1, card 1"


def test_a_torch_that_cannot_say_who_reaches_whom_is_no_refusal(use: Any) -> None:
    use(make_torch(devices=2))
    first, second = open_torch_devices([make_target(0), make_target(1)])
    with pytest.raises(TorchError, match="cannot say whether devices reach each other"):
        first.can_access(second)


def test_what_torch_refuses_is_told_in_its_first_line() -> None:
    assert explain_refusal(RuntimeError("self.size(0) needs to be greater than 16\nException raised from x")) == (
        "self.size(0) needs to be greater than 16"
    )
    assert explain_refusal(NotImplementedError()) == "NotImplementedError"
    assert len(explain_refusal(RuntimeError("x" * 5000))) == 300

"""An image's needs against recorded hosts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.machines.recorded_machines import read_machine
from xpukit.core.errors import ExternalError
from xpukit.core.machine import Machine, OtherDevice
from xpukit.facts.recipes import HostNeeds
from xpukit.images.compat import judge_compatibility, require_compatible

B60 = HostNeeds(min_kernel="6.14", drivers=("xe",), min_guc="70.44", families=("Battlemage",), min_level_zero="1.20")


def judge(name: str, needs: HostNeeds = B60, **changes: Any) -> Any:
    return judge_compatibility(needs, msgspec.structs.replace(read_machine(name), **changes))


def test_the_right_host_passes_with_every_need_named() -> None:
    found = judge("b60x4_bmc")
    assert found.verdict == "pass"
    assert {row.need.partition(" of ")[0] for row in found.rows} == {
        "GPU", "family", "driver", "GuC", "kernel", "Level Zero loader",
    }  # fmt: skip
    assert sum(row.need.startswith("driver of") for row in found.rows) == 4


@pytest.mark.parametrize(
    ("name", "needs", "said"),
    [
        ("b60x4_bmc", {"min_kernel": "6.17"}, "kernel: 6.14.0-1006-intel is older than 6.17"),
        ("b60x4_bmc", {"min_guc": "70.55"}, "GuC 70.49.4 is older than 70.55"),
        ("b60x4_bmc", {"min_level_zero": "1.99"}, "is older than 1.99"),
        ("b60x4_bmc", {"min_level_zero": "27.01"}, "Level Zero GPU driver: 26.22.38646.4"),
        ("b60x4_bmc", {"families": ("Alchemist",)}, "the image is for Alchemist"),
        ("b60x4_bmc", {"vendor": "nvidia"}, "no NVIDIA GPU"),
        ("max1550", {}, "bound to i915, not to xe"),
        ("unbound", {}, "no driver is bound"),
    ],
)
def test_what_is_missing_refuses_with_the_reason(name: str, needs: dict[str, Any], said: str) -> None:
    found = judge(name, msgspec.structs.replace(B60, **needs))
    assert found.verdict == "refused"
    assert said in " ".join(found.reasons)


def test_a_host_without_gpus_is_refused() -> None:
    assert judge("b60x4_bmc", devices=()).reasons == ("GPU: there is no Intel GPU here",)


def test_what_is_not_known_is_said_not_assumed() -> None:
    silent = tuple(msgspec.structs.replace(device, firmware=()) for device in read_machine("b60x4_bmc").devices)
    found = judge("b60x4_bmc", devices=silent, software=())
    assert found.verdict == "unknown"
    assert {row.need.partition(" of ")[0] for row in found.rows if row.verdict == "unknown"} == {
        "GuC", "kernel", "Level Zero loader",
    }  # fmt: skip
    unknown = judge("unknown_id", HostNeeds(families=("Battlemage",)))
    assert unknown.verdict in ("unknown", "refused")


def test_only_the_chosen_gpus_count() -> None:
    machine = read_machine("a770")
    needs = HostNeeds(families=("DG2",), drivers=("i915",))
    assert judge_compatibility(needs, machine).verdict == "refused"  # the integrated one is no DG2
    assert judge_compatibility(needs, machine, bdfs=["0000:03:00.0"]).verdict == "pass"


def test_an_image_for_any_machine_passes_anywhere() -> None:
    found = judge_compatibility(HostNeeds(vendor="any"), Machine())
    assert found.verdict == "pass"


def test_nvidia_images_look_for_nvidia() -> None:
    card = OtherDevice(bdf="0000:01:00.0", vendor_id="10de", device_id="2330", pci_class="030200", kind="display")
    assert judge_compatibility(HostNeeds(vendor="nvidia"), Machine(others=(card,))).verdict == "pass"


def test_force_goes_on() -> None:
    refused = judge("max1550")
    with pytest.raises(ExternalError, match=r"is not for this host: .*i915") as caught:
        require_compatible("x:1", refused, force=False)
    assert "--force" in caught.value.hint
    require_compatible("x:1", refused, force=True)
    require_compatible("x:1", judge("b60x4_bmc"), force=False)

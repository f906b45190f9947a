from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.machines.umockdev_builder import ACS_LINUX, Speed, build_config
from xpukit.probe.config_space import (
    ACS_REDIRECTS,
    list_capabilities,
    list_extended,
    read_acs,
    read_port_type,
    read_resizable_bars,
)


def make_bridge(acs: tuple[int, int] | None = (0x5F, ACS_LINUX), port_type: str = "downstream") -> bytes:
    return build_config(
        vendor="1000",
        device="c030",
        class_code="060400",
        bridge=True,
        port_type=port_type,
        acs=acs,
        max_link=Speed(5, 16),
    )


def test_capabilities_in_order() -> None:
    assert list_capabilities(make_bridge()) == ((0x01, 0x40), (0x10, 0x70))
    assert list_extended(make_bridge()) == ((0x0001, 0x100), (0x000D, 0x148))


def test_port_types() -> None:
    for kind in ("root-port", "upstream", "downstream", "endpoint"):
        assert read_port_type(make_bridge(port_type=kind)) == kind


def test_acs_names_what_is_on() -> None:
    acs = read_acs(make_bridge())
    assert acs is not None
    assert acs.enabled == ("SourceValidation", "RequestRedirect", "CompletionRedirect", "UpstreamForwarding")
    assert ACS_REDIRECTS & set(acs.enabled)
    assert read_acs(make_bridge(acs=None)) is None


def test_an_ordinary_user_sees_no_capability() -> None:
    config = make_bridge()[:64]
    assert list_capabilities(config) == ()
    assert read_port_type(config) == ""
    assert read_acs(config) is None


def test_a_loop_ends() -> None:
    config = bytearray(make_bridge())
    config[0x71] = 0x40
    assert list_capabilities(bytes(config)) == ((0x01, 0x40), (0x10, 0x70))
    config[0x148:0x14C] = (0x000D | 1 << 16 | 0x100 << 20).to_bytes(4, "little")
    assert len(list_extended(bytes(config))) == 2


def test_a_device_that_fell_off_the_bus_has_nothing() -> None:
    gone = b"\xff" * 4096
    assert list_capabilities(gone) == ()
    assert list_extended(gone) == ()
    assert read_port_type(gone) == ""


def test_resizable_bars() -> None:
    config = bytearray(make_bridge(acs=None))
    config[0x100:0x104] = (0x0015 | 1 << 16).to_bytes(4, "little")
    config[0x104:0x108] = (0xFF00 << 4).to_bytes(4, "little")
    config[0x108:0x10C] = (2 | 1 << 5 | 15 << 8).to_bytes(4, "little")
    (bar,) = read_resizable_bars(bytes(config))
    assert (bar.index, bar.size_bytes) == (2, 32 << 30)
    assert bar.possible_bytes == tuple(1 << 28 + step for step in range(8))


@given(st.binary(max_size=4096))
def test_garbage_never_raises_and_walks_end(config: bytes) -> None:
    capabilities, extended = list_capabilities(config), list_extended(config)
    assert len({offset for _, offset in capabilities}) == len(capabilities)
    assert all(64 <= offset < 256 for _, offset in capabilities)
    assert len({offset for _, offset in extended}) == len(extended)
    assert all(256 <= offset < len(config) for _, offset in extended)
    read_port_type(config)
    read_acs(config)
    read_resizable_bars(config)


@given(st.binary(min_size=64, max_size=64), st.integers(0, 1023))
def test_a_damaged_pointer_never_raises(noise: bytes, start: int) -> None:
    config = bytearray(make_bridge())
    config[start : start + 64] = noise
    config[6] |= 0x10
    whole = bytes(config[:4096])
    assert len(list_capabilities(whole)) <= 48
    assert len(list_extended(whole)) <= 960
    read_acs(whole)
    read_resizable_bars(whole)

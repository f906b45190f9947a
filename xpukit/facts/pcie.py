"""What a PCIe link carries: line rate after line coding."""

from __future__ import annotations

# Payload share of the line code: 8b/10b up to 5 GT/s, 128b/130b up to 32, 242 of 256 bytes of a 64 GT/s flit
# (PCI Express Base Specification 6.0, 4.2).
_CODE = ((5.0, 8 / 10), (32.0, 128 / 130), (64.0, 242 / 256))


def compute_line_rate_gbps(speed_gts: float, width: int) -> float:
    """Bandwidth of one direction in 1e9 bytes/s; 32 GT/s x8 is 31.5."""
    share = next((share for limit, share in _CODE if speed_gts <= limit), _CODE[-1][1])
    return round(speed_gts * width * share / 8, 3)

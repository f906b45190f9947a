"""A made machine: two Arc Pro B60 behind their card's switch, a BMC as card0, and everything else a collector asks."""

from __future__ import annotations

ROOTS = ("0000:15:01.0", "0000:37:01.0")
CHAINS = {
    "0000:18:00.0": ("0000:15:01.0", "0000:16:00.0", "0000:17:01.0"),
    "0000:3a:00.0": ("0000:37:01.0", "0000:38:00.0", "0000:39:01.0"),
}
BMC = "0000:03:00.0"
_PCI = "/sys/bus/pci/devices"


def make_pci(driver: str = "xe") -> tuple[dict[str, str | bytes], dict[str, str]]:
    """(files, links) of /sys for both GPUs with the bridges above, and the BMC."""
    files: dict[str, str | bytes] = {}
    links: dict[str, str] = {}
    for number, (gpu, above) in enumerate(CHAINS.items(), start=1):
        place = f"/sys/devices/pci{above[0][:7]}:00"
        for bdf in (*above, gpu):
            place = f"{place}/{bdf}"
            links[f"{_PCI}/{bdf}"] = place
            kind = "30000\nPCI_ID=8086:E211\nDRIVER=" + driver if bdf == gpu else "60400\nPCI_ID=8086:E2FF"
            files[f"{place}/uevent"] = f"PCI_CLASS={kind}\nPCI_SLOT_NAME={bdf}\n"
            files[f"{place}/config"] = b"\x86\x80" + bytes(4094)
            files[f"{place}/current_link_speed"] = "32.0 GT/s PCIe\n"
            files[f"{place}/aer_dev_correctable"] = "RxErr 0\n"
            files[f"{place}/resource0"] = "device memory: never read\n"
            files[f"{place}/rom"] = "never read\n"
            files[f"{place}/vpd"] = "never read\n"
            files[f"{place}/remove"] = "never touched\n"
            links[f"{place}/iommu_group"] = f"../../../kernel/iommu_groups/{40 + number}"
        files[f"{place}/tile0/gt0/freq0/act_freq"] = "1900\n"
        files[f"{place}/tile0/gt0/freq0/throttle/reason_pl1"] = "1\n"
        files[f"{place}/hwmon/hwmon{number}/power1_cap"] = "200000000\n"
        files[f"{place}/drm/card{number}/dev"] = f"226:{number}\n"
        files[f"{place}/drm/card{number}/gt/gt0/rps_act_freq_mhz"] = "2400\n"
        links[f"/sys/class/drm/card{number}"] = f"{place}/drm/card{number}"
        files[f"/sys/kernel/iommu_groups/{40 + number}/type"] = "DMA\n"
        links[f"/sys/kernel/iommu_groups/{40 + number}/devices/{gpu}"] = place
    place = f"/sys/devices/pci0000:00/{BMC}"
    links[f"{_PCI}/{BMC}"] = place
    files[f"{place}/uevent"] = "PCI_CLASS=30000\nPCI_ID=1A03:2000\nDRIVER=ast\n"
    files[f"{place}/drm/card0/dev"] = "226:0\n"
    links["/sys/class/drm/card0"] = f"{place}/drm/card0"
    return files, links


def make_debugfs(*, tiles: bool) -> dict[str, str]:
    """debugfs of both GPUs, with files that act when they are opened."""
    files: dict[str, str] = {}
    for number, gpu in enumerate(CHAINS, start=1):
        for name in (gpu, str(number)):
            base = f"/sys/kernel/debug/dri/{name}"
            files[f"{base}/name"] = f"xe dev={gpu}\n"
            files[f"{base}/vram0_mm"] = "size: 1\n"
            files[f"{base}/forcewake_all"] = ""
            files[f"{base}/i915_gpu_info"] = ""
            gt = f"{base}/tile0/gt0" if tiles else f"{base}/gt0"
            files |= {f"{gt}/uc/guc_info": "GuC firmware: xe/bmg_guc_70.bin\n", f"{gt}/uc/guc_log": "big\n"}
            files |= {f"{gt}/force_reset": "", f"{gt}/force_reset_sync": "", f"{gt}/topology": "dss mask\n"}
            files |= {f"{gt}/hw_engines": "rcs0\n"}
    return files

"""Steps of `xpukit install`, one file each (`STEP = Step(...)`); found by directory scan."""

"""Prometheus metrics of the GPUs: read from sysfs, hwmon and fdinfo at each scrape, from slower sources beside it."""

"""One file per benchmark, each with a `BENCHMARK`; found by directory scan (evaluate/registry.py)."""

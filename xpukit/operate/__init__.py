"""Operating what serves: benchmarks, readiness, balance, watching, many nodes."""

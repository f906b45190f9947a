"""Only a version: what imports vllm in a stub image must not take it for the engine."""

__version__ = "stub"

"""xpukit: from a bare Intel XPU server to a verified, tuned LLM endpoint."""

__version__ = "0.1.0"

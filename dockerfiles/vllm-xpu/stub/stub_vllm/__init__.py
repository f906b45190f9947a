"""A stub in vLLM's place."""

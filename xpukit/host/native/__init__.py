"""Bindings to the embedded engine's libraries. Used inside worker processes only; each imports lazily."""

"""Facts: data files with schema, source and date, and their typed loaders. Nothing here looks at a machine."""

"""What a recording leaves out, and how: secrets for good, names for pseudonyms (docs/redaction.md)."""

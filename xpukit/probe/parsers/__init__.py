"""Pure readers of what other programs print: bytes in, values and notes out, never an exception."""

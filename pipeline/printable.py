"""Text from outside, as any terminal and any Redis takes it."""

import os
from pathlib import Path


def printable(text: Path | str) -> str:
    """With what is no text, ends a line or steers a terminal escaped."""
    decoded = os.fsencode(text).decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in decoded)

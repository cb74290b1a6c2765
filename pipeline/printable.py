"""Text from outside, as any terminal and any Redis takes it."""

from pathlib import Path


def printable(text: Path | str) -> str:
    """With what is no text, ends a line or steers a terminal escaped."""
    return "".join(c if c.isprintable() else _escaped(c) for c in str(text))


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name that is no text (PEP 383)
        return f"\\x{ord(character) - 0xDC00:x}"
    return character.encode("unicode_escape").decode()

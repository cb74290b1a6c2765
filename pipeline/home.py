"""Paths as people write them, with a ``~`` for somebody's home."""

from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.printable import printable


def absolute(path: Path) -> Path:
    """From the root on: ~/x -> /home/me/x.

    Raises:
        ConfigError: nobody has that name, or ``HOME`` isn't set and this user has no entry.
    """
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        # a lone ~word in the place of a password's file may be the password
        named = printable(path) if len(path.parts) > 1 else "a path that begins with ~"
        raise ConfigError(
            f"{named}: there is no home for its ~; write the path from / on, or set HOME"
        ) from None

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
        raise ConfigError(
            f"{printable(path)}: there is no home for its ~; write the path from / on, or set HOME"
        ) from None

"""Where the real footage is: fetched by ``make footage``, never committed."""

from pathlib import Path

FOLDER = Path(__file__).parent.parent / ".footage"


def clip(name: str) -> Path:
    """A clip of deploy/footage.py; its absence is a failure, not a reason to skip."""
    path = FOLDER / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run: make footage")
    return path

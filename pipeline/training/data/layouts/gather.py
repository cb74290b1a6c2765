"""From the rows of a layout to its examples: is the label one, and is the file there?"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import DataError
from pipeline.source.files import VIDEO_SUFFIXES
from pipeline.training.data.examples import Example


@dataclass(slots=True)
class Gathered:
    """What one split of a layout holds."""

    labels: tuple[str, ...]
    examples: list[Example] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    wanted: str = ""
    """The first path that was looked for in vain."""

    def add(self, example: Example) -> None:
        """Take an example, or count it as missing."""
        if example.path.exists():
            self.examples.append(example)
            return
        self.wanted = self.wanted or str(example.path)
        self.missing.append(example.key)


def key_of(path: Path, root: Path) -> str:
    """The path as reports name it: below the root where it is, else whole."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def label_index(labels: Mapping[str, int], text: str, *, where: str) -> int:
    """The index of a label.

    Raises:
        DataError: it is none; ``where`` names file and line.
    """
    try:
        return labels[text]
    except KeyError:
        raise DataError(f"{where}: {text!r} is none of the {len(labels)} labels") from None


def numbered(labels: Sequence[str]) -> dict[str, int]:
    """Label -> index."""
    return {label: place for place, label in enumerate(labels)}


def first_there(candidates: Sequence[Path]) -> Path | None:
    """The first of these paths that exists."""
    return next((path for path in candidates if path.exists()), None)


def need_file(candidates: Sequence[Path], *, what: str) -> Path:
    """The first of these paths that exists.

    Raises:
        DataError: none does.
    """
    found = first_there(candidates)
    if found is None:
        names = ", ".join(dict.fromkeys(path.name for path in candidates))
        raise DataError(f"{candidates[0].parent}: holds no {what}; looked for {names}")
    return found


def videos_below(folder: Path) -> dict[str, Path]:
    """Every video below a folder by its name without suffix.

    Raises:
        DataError: the folder can't be listed.
    """
    found: dict[str, Path] = {}
    for place, folders, files in os.walk(folder, onerror=_refuse):
        folders.sort()
        for name in sorted(files):
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 - hundreds of thousands of names
            if suffix.lower() in VIDEO_SUFFIXES:
                found.setdefault(stem, Path(place, name))
    return found


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: can't be listed: {error.strerror}")

"""Which label a clip has when it is seen in a mirror, or played backwards.

"Pushing something from left to right" in a mirror is "Pushing something from right to left": a
flip that leaves the label alone teaches the network to confuse the two.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import DataError
from pipeline.training.data.tables import read_json

Flips = Mapping[str, str | None]

_SIDE = re.compile(
    r"(?<![a-z])(left|right|clockwise|anticlockwise|counter-?clockwise)(?![a-z])", re.IGNORECASE
)
_AGAINST_THE_CLOCK = ("anticlockwise", "counterclockwise", "counter-clockwise")


def mirrored_texts(label: str) -> tuple[str, ...]:
    """What the label may be called in a mirror: "from left to right" -> "from right to left".

    Clockwise has several opposites, so there are several answers.
    """
    return tuple(_exchanged(label, against) for against in _AGAINST_THE_CLOCK)


def _exchanged(label: str, against: str) -> str:
    others = {"left": "right", "right": "left", "clockwise": against}

    def other(word: re.Match[str]) -> str:
        text = others.get(word[0].lower(), "clockwise")
        return text.capitalize() if word[0][0].isupper() else text

    return _SIDE.sub(other, label)


def mirror_by_text(labels: Sequence[str]) -> tuple[int | None, ...]:
    """Per label, its index in a mirror; None where no text it may have there is a label."""
    index = {label: place for place, label in enumerate(labels)}
    return tuple(
        next((index[text] for text in mirrored_texts(label) if text in index), None)
        for label in labels
    )


def flip_by_map(labels: Sequence[str], flips: Flips, *, where: str) -> tuple[int | None, ...]:
    """Per label, its index after the flip, by a map in which absent labels keep their own.

    Raises:
        DataError: the map names something that is no label.
    """
    index = {label: place for place, label in enumerate(labels)}
    for name in [*flips, *(label for label in flips.values() if label is not None)]:
        if name not in index:
            raise DataError(f"{where}: names {name!r}, which is none of the {len(labels)} labels")
    after = [flips.get(label, label) for label in labels]
    return tuple(None if label is None else index[label] for label in after)


def flips_of(
    labels: Sequence[str],
    *,
    root: Path,
    mirror: Flips | None,
    reverse: Flips | None,
) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """Mirror and reverse: as the config says, else as ``labels.json`` says, else by default.

    Raises:
        DataError: ``labels.json`` can't be read, or a map names something that is no label.
    """
    path = root / "labels.json"
    said_mirror, said_reverse = _said(path) if path.is_file() else (None, None)
    mirrored = mirror_by_text(labels)
    if mirror is not None:
        mirrored = flip_by_map(labels, mirror, where="data.mirror")
    elif said_mirror is not None:
        mirrored = flip_by_map(labels, said_mirror, where=f"{path}, mirror")
    reversed_: tuple[int | None, ...] = (None,) * len(labels)
    if reverse is not None:
        reversed_ = flip_by_map(labels, reverse, where="data.reverse")
    elif said_reverse is not None:
        reversed_ = flip_by_map(labels, said_reverse, where=f"{path}, reverse")
    return mirrored, reversed_


def _said(path: Path) -> tuple[Flips | None, Flips | None]:
    document = read_json(path)
    if not isinstance(document, dict):
        return None, None  # another program's file of the same name
    mirror, reverse = (document.get(name) for name in ("mirror", "reverse"))
    return _checked(mirror, f"{path}: mirror"), _checked(reverse, f"{path}: reverse")


def _checked(flips: object, where: str) -> Flips | None:
    if flips is None:
        return None
    if not isinstance(flips, dict):
        raise DataError(f"{where} must map labels to labels, got a {type(flips).__name__}")
    if not all(after is None or isinstance(after, str) for after in flips.values()):
        raise DataError(f"{where} must map each label to a label or to null")
    return flips

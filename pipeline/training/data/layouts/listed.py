"""The list files of the published code: ``path start end label`` or ``path label`` per line.

Separated by a space, a semicolon, a comma or a tab. The path is a video or a folder of frames;
start and end are numbers of frames, from 1, both inclusive; the label is a number from 0.
"""

import re
from pathlib import Path

from pipeline.errors import DataError
from pipeline.training.data.config import DataConfig
from pipeline.training.data.examples import Example
from pipeline.training.data.layouts.gather import Gathered, key_of
from pipeline.training.data.tables import read_labels, read_lines

_GAP = r"\s*[;,\t ]\s*"
_LINE = re.compile(
    rf"(?P<path>.+?)(?:{_GAP}(?P<first>\d+){_GAP}(?P<last>\d+))?{_GAP}(?P<label>-?\d+)"
)


def read_list(config: DataConfig, split: str) -> Gathered:
    """Examples of a split.

    Raises:
        DataError: no list of the split; a line with a missing file, a label out of range, or one
            that can't be understood.
    """
    root = config.root
    if split not in config.lists:
        raise DataError(
            f"data.lists names no list file for the split {split!r}; it names "
            f"{', '.join(config.lists) or 'none'}"
        )
    path = root / config.lists[split]
    labels = read_labels(root / config.labels) if config.labels else None
    folder = root / config.videos if config.videos else root
    examples = [
        _example(line, folder, root, labels, where=f"{path}, line {number}")
        for number, line in read_lines(path)
    ]
    if labels is None:
        labels = _counted(config)
    return Gathered(labels, examples)


def _counted(config: DataConfig) -> tuple[str, ...]:
    """Without names, as many labels as the lists of all splits use."""
    highest = -1
    for path in config.lists.values():
        for _, line in read_lines(config.root / path):
            parts = _LINE.fullmatch(line)
            highest = max(highest, int(parts["label"]) if parts else -1)
    return tuple(f"class_{number}" for number in range(highest + 1))


def _example(
    line: str, folder: Path, root: Path, labels: tuple[str, ...] | None, *, where: str
) -> Example:
    parts = _LINE.fullmatch(line)
    if parts is None:
        raise DataError(f"{where}: want 'path start end label' or 'path label', got {line!r:.80}")
    label = int(parts["label"])
    if label < 0 or (labels is not None and label >= len(labels)):
        highest = "" if labels is None else f" to {len(labels) - 1}"
        raise DataError(f"{where}: label {label} is out of range; labels go from 0{highest}")
    path = folder / parts["path"]
    if not path.exists():
        raise DataError(f"{where}: no such file or folder: {path}")
    if parts["first"] is None:
        return Example(path=path, label=label, key=key_of(path, root))
    first, last = max(1, int(parts["first"])), int(parts["last"])
    if last < first:
        raise DataError(f"{where}: the span from {first} to {last} is empty")
    key = f"{key_of(path, root)}:{first}-{last}"
    return Example(path=path, label=label, key=key, first_frame=first, last_frame=last)

"""Moments in Time: CSV files of paths, and clips of three seconds in a folder per label.

moments_categories.txt     clapping,0
trainingSet.csv            clapping/yt-_0aB.mp4,clapping,4,1
training/clapping/yt-_0aB.mp4
"""

from pipeline.errors import DataError
from pipeline.training.data.config import DataConfig
from pipeline.training.data.examples import Example
from pipeline.training.data.layouts.gather import (
    Gathered,
    first_there,
    key_of,
    label_index,
    need_file,
    numbered,
)
from pipeline.training.data.tables import read_csv, read_labels, unique

CATEGORIES = "moments_categories.txt"
FOLDERS = {"train": "training"}


def read_moments(config: DataConfig, split: str) -> Gathered:
    """Examples of a split.

    Raises:
        DataError: no list of the split, or a line of it that can't be understood.
    """
    root = config.root
    name = FOLDERS.get(split, split)
    path = need_file([root / f"{name}Set.csv", root / f"{split}.csv"], what=f"list of {split!r}")
    labels = _labels(config)
    index = numbered(labels)
    folder = root / config.videos if config.videos else first_there([root / name]) or root
    gathered = Gathered(labels)
    for number, row in read_csv(path):
        where = f"{path}, line {number}"
        if len(row) < 2:
            raise DataError(f"{where}: want path,label,…, got {len(row)} columns")
        clip = folder / row[0]
        label = label_index(index, row[1], where=where)
        gathered.add(Example(path=clip, label=label, key=key_of(clip, root)))
    return gathered


def _labels(config: DataConfig) -> tuple[str, ...]:
    """In the order of their numbers."""
    if config.labels is not None:
        return read_labels(config.root / config.labels)
    path = config.root / CATEGORIES
    numbers: dict[int, str] = {}
    for line, row in read_csv(path):
        if len(row) < 2 or not row[-1].isdecimal() or int(row[-1]) in numbers:
            raise DataError(f"{path}, line {line}: want label,number with a number of its own")
        numbers[int(row[-1])] = ",".join(row[:-1])
    if sorted(numbers) != list(range(len(numbers))):
        raise DataError(f"{path}: its numbers must be 0 to {len(numbers) - 1}, each once")
    return unique(tuple(numbers[n] for n in sorted(numbers)), where=str(path))

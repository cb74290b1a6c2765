"""Kinetics: CSV files of ids and spans, and clips cut from YouTube.

    train.csv      label,youtube_id,time_start,time_end,split
    train/abseiling/0347ZoDXyP0_000095_000105.mp4      with or without the folder of the label

A whole video, ``0347ZoDXyP0.mp4``, will do: then the span is read from it.

Videos that have left YouTube are the rule: a clip that isn't there is counted, not an error.
"""

import math
from pathlib import Path

from pipeline.errors import DataError
from pipeline.training.data.config import DataConfig
from pipeline.training.data.examples import Example
from pipeline.training.data.layouts.gather import (
    Gathered,
    key_of,
    label_index,
    numbered,
    videos_below,
)
from pipeline.training.data.tables import read_csv, read_labels, read_table

ALIASES = {"validation": ("validation", "validate", "val"), "train": ("train", "training")}
COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def read_kinetics(config: DataConfig, split: str) -> Gathered:
    """Examples of a split.

    Raises:
        DataError: no list of the split, or a line of it that can't be understood.
    """
    root = config.root
    path = _list_of(root, split)
    labels = _labels(config)
    index = numbered(labels)
    folder = root / config.videos if config.videos else root
    there = videos_below(folder)
    gathered = Gathered(labels)
    for number, row in read_table(path, COLUMNS):
        where = f"{path}, line {number}"
        label = label_index(index, row["label"], where=where)
        span_s = _span_s(row, where=where)
        name = "{}_{:06.0f}_{:06.0f}".format(row["youtube_id"], *span_s)
        whole = there.get(row["youtube_id"])
        if whole is not None and name not in there:
            gathered.add(_part(whole, span_s, label, key=f"{key_of(whole, root)}:{name}"))
            continue
        clip = there.get(name, folder / split / f"{name}.mp4")
        gathered.add(Example(path=clip, label=label, key=key_of(clip, root)))
    return gathered


def _part(whole: Path, span_s: tuple[float, float], label: int, *, key: str) -> Example:
    start_s, end_s = span_s
    return Example(path=whole, label=label, key=key, start_s=start_s, end_s=end_s)


def kinetics_lists(root: Path) -> list[Path]:
    """CSV files whose header is that of Kinetics."""
    return [path for path in sorted([*root.glob("*.csv"), *root.glob("*/*.csv")]) if _ours(path)]


def _ours(path: Path) -> bool:
    try:
        _, header = next(read_csv(path), (0, []))
    except DataError:
        return False
    return {"label", "youtube_id"} <= set(header)


def _list_of(root: Path, split: str) -> Path:
    lists = kinetics_lists(root)
    for name in ALIASES.get(split, (split,)):
        for path in lists:
            if name in path.stem.replace("-", "_").split("_"):
                return path
    raise DataError(
        f"{root}: no list of the split {split!r}; want {split}.csv with the columns "
        f"{','.join(COLUMNS)}"
    )


def _labels(config: DataConfig) -> tuple[str, ...]:
    """As given, else all that the lists name, in alphabetical order as published."""
    if config.labels is not None:
        return read_labels(config.root / config.labels)
    lists = kinetics_lists(config.root)
    return tuple(sorted({row["label"] for path in lists for _, row in read_table(path, ["label"])}))


def _span_s(row: dict[str, str], *, where: str) -> tuple[float, float]:
    try:
        start_s, end_s = float(row["time_start"]), float(row["time_end"])
    except ValueError:
        start_s = end_s = math.nan
    if not 0 <= start_s < end_s < math.inf:
        raise DataError(
            f"{where}: time_start and time_end must be seconds, one before the other, got "
            f"{row['time_start']!r} and {row['time_end']!r}"
        )
    return start_s, end_s

"""The layouts in which data sets come, and how one is told from another."""

from collections.abc import Callable
from pathlib import Path

from pipeline.errors import DataError
from pipeline.training.data.config import DataConfig, Format
from pipeline.training.data.examples import DataSet
from pipeline.training.data.flips import flips_of
from pipeline.training.data.layouts.folders import read_folders
from pipeline.training.data.layouts.gather import Gathered, first_there
from pipeline.training.data.layouts.kinetics import kinetics_lists, read_kinetics
from pipeline.training.data.layouts.listed import read_list
from pipeline.training.data.layouts.moments import CATEGORIES, read_moments
from pipeline.training.data.layouts.motions import read_motions
from pipeline.training.data.layouts.something import (
    V1,
    list_files_v2,
    read_something_v1,
    read_something_v2,
)

READERS: dict[Format, Callable[[DataConfig, str], Gathered]] = {
    "folders": read_folders,
    "motions": read_motions,
    "something-v1": read_something_v1,
    "something-v2": read_something_v2,
    "kinetics": read_kinetics,
    "moments": read_moments,
    "list": read_list,
}


def open_dataset(config: DataConfig, split: str) -> DataSet:
    """One split of the data set that a config names; nothing is decoded.

    Raises:
        DataError: the root is none, a list has a missing file or a label out of range (the
            message names file and line), or there is nothing in it.
    """
    root = config.root
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}; data.root is the folder of the data set")
    layout = detect(config) if config.format == "auto" else config.format
    try:
        gathered = READERS[layout](config, split)
    except OSError as error:
        raise DataError(f"{error.filename or root}: can't be read: {error.strerror}") from None
    if not gathered.examples:
        looked = f"; looked for {gathered.wanted}" if gathered.wanted else ""
        raise DataError(f"{root}: the split {split!r} ({layout}) holds no clips{looked}")
    mirror, reverse = flips_of(
        gathered.labels, root=root, mirror=config.mirror, reverse=config.reverse
    )
    return DataSet(
        name=f"{root.resolve().name}/{split}",
        root=root,
        labels=gathered.labels,
        examples=tuple(gathered.examples),
        mirror=mirror,
        reverse=reverse,
        missing=tuple(gathered.missing),
    )


def detect(config: DataConfig) -> Format:
    """The layout of a folder, told by the files that only it has.

    Raises:
        DataError: it looks like none.
    """
    root = config.root
    if config.lists:
        return "list"
    if (root / "labels.json").is_file() and next(root.glob("*/manifest.csv"), None):
        return "motions"
    if first_there(list_files_v2(root, "labels")):
        return "something-v2"
    if (root / f"{V1}-labels.csv").is_file():
        return "something-v1"
    if (root / CATEGORIES).is_file():
        return "moments"
    if kinetics_lists(root):
        return "kinetics"
    if any(_is_shown(path) for path in root.iterdir()):
        return "folders"
    raise DataError(
        f"{root}: looks like no data set; want a folder per label with videos in it, a published "
        "layout, or data.lists with list files"
    )


def _is_shown(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


__all__ = ["READERS", "detect", "open_dataset"]

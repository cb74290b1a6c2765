"""The motion clips that the project makes itself: a folder and a manifest per split.

root/labels.json     {"labels": […], "mirror": {label: label}, "reverse": {label: label}}
root/train/manifest.csv     path,label,…
"""

from pipeline.errors import DataError
from pipeline.training.data.config import DataConfig
from pipeline.training.data.examples import Example
from pipeline.training.data.layouts.gather import Gathered, key_of, label_index, numbered
from pipeline.training.data.tables import read_labels, read_table


def read_motions(config: DataConfig, split: str) -> Gathered:
    """Examples of a split.

    Raises:
        DataError: no such split, a line of the manifest with a missing file or an unknown label.
    """
    root = config.root
    labels = read_labels(root / (config.labels or "labels.json"))
    folder = root / split
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise DataError(f"{manifest}: no such file, so there is no split {split!r}")
    index = numbered(labels)
    gathered = Gathered(labels)
    for number, row in read_table(manifest, ("path", "label")):
        where = f"{manifest}, line {number}"
        label = label_index(index, row["label"], where=where)
        path = folder / row["path"]
        if not path.is_file():
            path = root / row["path"]
        if not path.is_file():
            raise DataError(f"{where}: no such file: {folder / row['path']}")
        gathered.add(Example(path=path, label=label, key=key_of(path, root)))
    return gathered

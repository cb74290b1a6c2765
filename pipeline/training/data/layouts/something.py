"""Something-Something, as its owners publish it.

V1: a folder of JPEG frames per clip, and CSV files with semicolons:

    20bn-something-something-v1/100218/00001.jpg …
    something-something-v1-labels.csv            a label per line
    something-something-v1-train.csv             100218;Something falling like a feather or paper

V2: webm files, and JSON whose templates bracket the objects:

    20bn-something-something-v2/78687.webm
    something-something-v2-labels.json       {"Approaching something with your camera": "0", …}
    something-something-v2-train.json        [{"id": "78687", "template": "Holding [something]"}]

The files of a later download (``labels/train.json``) are found as well.
"""

from pathlib import Path

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
from pipeline.training.data.tables import read_csv, read_json, read_labels, unique

V1, V2 = "something-something-v1", "something-something-v2"


def read_something_v1(config: DataConfig, split: str) -> Gathered:
    """Examples of a split of V1.

    Raises:
        DataError: a list isn't there, or a line of it has an unknown label.
    """
    path = need_file([config.root / f"{V1}-{split}.csv"], what=f"list of the split {split!r}")
    labels = read_labels(config.root / (config.labels or f"{V1}-labels.csv"))
    index = numbered(labels)
    folder = _folder(config, V1)
    gathered = Gathered(labels)
    for number, row in read_csv(path, delimiter=";"):
        where = f"{path}, line {number}"
        if len(row) != 2:
            raise DataError(f"{where}: want id;label, got {len(row)} columns")
        clip = folder / row[0]
        label = label_index(index, row[1], where=where)
        gathered.add(Example(path=clip, label=label, key=key_of(clip, config.root)))
    return gathered


def read_something_v2(config: DataConfig, split: str) -> Gathered:
    """Examples of a split of V2.

    Raises:
        DataError: a list isn't there, isn't what it should be, or has an unknown label.
    """
    root = config.root
    path = need_file(list_files_v2(root, split), what=f"list of the split {split!r}")
    labels = _labels_v2(config)
    index = numbered(labels)
    folder = _folder(config, V2)
    entries = read_json(path)
    if not isinstance(entries, list):
        raise DataError(f"{path}: want a list of clips, got a {type(entries).__name__}")
    gathered = Gathered(labels)
    for number, entry in enumerate(entries, start=1):
        where = f"{path}, entry {number}"
        if not isinstance(entry, dict) or "id" not in entry or "template" not in entry:
            raise DataError(f"{where}: want an object with id and template")
        clip = folder / f"{entry['id']}.webm"
        label = label_index(index, without_brackets(str(entry["template"])), where=where)
        gathered.add(Example(path=clip, label=label, key=key_of(clip, root)))
    return gathered


def list_files_v2(root: Path, split: str) -> list[Path]:
    """Where the list of a split (or ``labels``) may lie."""
    names = (f"{V2}-{split}.json", f"labels/{split}.json", f"labels/{V2}-{split}.json")
    return [root / name for name in names]


def without_brackets(template: str) -> str:
    """The label that a template belongs to: "Holding [something]" -> "Holding something"."""
    return template.replace("[", "").replace("]", "")


def _labels_v2(config: DataConfig) -> tuple[str, ...]:
    """In the order of their numbers."""
    if config.labels is not None:
        return read_labels(config.root / config.labels)
    path = need_file(list_files_v2(config.root, "labels"), what="list of labels")
    document = read_json(path)
    try:
        numbers = {label: int(number) for label, number in document.items()}  # type: ignore[attr-defined]
    except (AttributeError, TypeError, ValueError):
        raise DataError(f"{path}: want label: number for each label") from None
    if sorted(numbers.values()) != list(range(len(numbers))):
        raise DataError(f"{path}: its numbers must be 0 to {len(numbers) - 1}, each once")
    return unique(tuple(sorted(numbers, key=numbers.__getitem__)), where=str(path))


def _folder(config: DataConfig, version: str) -> Path:
    root = config.root
    if config.videos is not None:
        return root / config.videos
    return first_there([root / f"20bn-{version}", root / "videos", root / "frames"]) or root

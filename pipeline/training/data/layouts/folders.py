"""A folder per label: the simplest layout, for a user's own classes.

    root/train/label/*.mp4, root/validation/label/*.mp4     or    root/label/*.mp4

Without folders for the splits, a tenth of each label's clips is held out for validation: those
whose names have the smallest hashes, so that the choice stays when clips are added or moved to
another machine. A clip may also be a folder of numbered JPEG or PNG pictures.
"""

from hashlib import sha256
from pathlib import Path

from pipeline.errors import DataError
from pipeline.source.files import VIDEO_SUFFIXES
from pipeline.training.data.config import DataConfig
from pipeline.training.data.examples import Example
from pipeline.training.data.layouts.gather import Gathered, key_of, label_index, numbered
from pipeline.training.data.pictures import PICTURE_SUFFIXES
from pipeline.training.data.tables import read_labels

ALIASES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing"),
}
HELD_OUT = 10  # one clip in so many is for validation


def read_folders(config: DataConfig, split: str) -> Gathered:
    """Examples of a split.

    Raises:
        DataError: no folder for the split, or a folder that is none of the given labels.
    """
    root = config.root
    split_folder = _folder_of(root, split)
    own_splits = any(_folder_of(root, name) for name in ALIASES)
    if split_folder is None and (own_splits or split not in ("train", "validation")):
        raise DataError(f"{root}: has no folder for the split {split!r}")
    top = split_folder or root
    labels = _labels(config, _folder_of(root, "train") or top)
    index = numbered(labels)
    gathered = Gathered(labels)
    for folder in _subfolders(top):
        clips = _clips(folder)
        if not clips:
            continue
        label = label_index(index, folder.name, where=str(folder))
        if split_folder is None:
            held_out = _held_out(clips, root)
            clips = [clip for clip in clips if (clip in held_out) == (split == "validation")]
        for clip in clips:
            gathered.add(Example(path=clip, label=label, key=key_of(clip, root)))
    gathered.wanted = f"{top}/LABEL/*.mp4"
    return gathered


def _labels(config: DataConfig, top: Path) -> tuple[str, ...]:
    """As given, else the names of the folders of the split that is trained on."""
    if config.labels is not None:
        return read_labels(config.root / config.labels)
    return tuple(folder.name for folder in _subfolders(top) if _clips(folder))


def _folder_of(root: Path, split: str) -> Path | None:
    names = ALIASES.get(split, (split,))
    return next((root / name for name in names if (root / name).is_dir()), None)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _clips(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".")
        and (_holds_pictures(path) if path.is_dir() else path.suffix.lower() in VIDEO_SUFFIXES)
    )


def _holds_pictures(folder: Path) -> bool:
    return any(path.suffix.lower() in PICTURE_SUFFIXES for path in folder.iterdir())


def _held_out(clips: list[Path], root: Path) -> set[Path]:
    """At least one, where there are two."""
    count = max(len(clips) // HELD_OUT, int(len(clips) > 1))
    by_hash = sorted(clips, key=lambda clip: sha256(key_of(clip, root).encode()).digest())
    return set(by_hash[:count])

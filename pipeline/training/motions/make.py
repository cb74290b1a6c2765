"""A whole data set of motion clips: splits made in parallel, a manifest each, the label maps.

    OUT/labels.json               labels; what a mirror and playing backwards make of each
    OUT/recipe.json               everything that it was made from
    OUT/train/manifest.csv        path, label, background, cut-outs, compression of each clip
    OUT/train/000/000000.mp4 …
    OUT/train/sheet.png           strips of frames, to look at

The same seed and pictures give the same clips, whatever the number of processes.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import cv2

from pipeline.errors import DataError
from pipeline.training.motions.classes import LABELS, LONG_RANGE, MIRROR, REVERSE
from pipeline.training.motions.clip import MIXED, ClipSpec, Made, make_clip
from pipeline.training.motions.sheet import contact_sheet
from pipeline.training.motions.stock import (
    PICTURE_SUFFIXES,
    VIDEO_SUFFIXES,
    Stock,
    StockFiles,
    deal,
    find_pictures,
    read_stock,
)

PHOTOGRAPHIC = {"photograph": 0.75, "stirring": 0.0, "video": 0.0, "plain": 0.25}
BACKGROUNDS: Mapping[str, Mapping[str, float]] = {
    "train": MIXED,
    "validation": MIXED,
    "test": PHOTOGRAPHIC,
    "test-video": {"video": 1.0},
}
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
"""Of the pictures; ``test`` and ``test-video`` have the same."""
CHUNK = 16  # clips that a process takes at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionSpec:
    """What to make, from which folders."""

    things: Path
    stills: Path
    videos: Path
    clips: Mapping[str, int] = field(default_factory=dict)
    """Clips of each split; a split that isn't named isn't made."""
    seed: int = 0
    frames: int = 8
    fps: Fraction = Fraction(8)
    size_px: int = 72
    processes: int = 1


def make_motions(out: Path, spec: MotionSpec, *, progress: Callable[[int], None]) -> None:
    """Make the data set; ``progress`` is told how many clips were added.

    If only test splits are asked for, they may use every picture.

    Raises:
        DataError: no such folders, too few pictures, or ``out`` isn't empty or can't be written.
    """
    files = _share_out(spec)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise DataError(f"{out}: not empty; name a new folder, or remove this one")
        _write_json(out / "labels.json", label_maps())
        _write_json(out / "recipe.json", _recipe(spec, files))
        for split in spec.clips:
            _make_split(out, split, spec, files[split], progress)
    except OSError as error:
        raise DataError(f"{out}: can't be written: {error.strerror or error}") from None


def label_maps() -> dict[str, object]:
    """What labels.json holds."""
    labels = list(LABELS)
    return {"labels": labels, "mirror": MIRROR, "reverse": REVERSE, "long_range": list(LONG_RANGE)}


def _share_out(spec: MotionSpec) -> dict[str, StockFiles]:
    unknown = [split for split in spec.clips if split not in BACKGROUNDS]
    if unknown or not spec.clips:
        raise DataError(f"no such split: {unknown}; want some of {', '.join(BACKGROUNDS)}")
    things = find_pictures(spec.things, PICTURE_SUFFIXES, "cut-outs with an alpha channel")
    stills = find_pictures(spec.stills, PICTURE_SUFFIXES, "photographs")
    videos = find_pictures(spec.videos, VIDEO_SUFFIXES, "videos")
    wanted = {"test" if split.startswith("test") else split for split in spec.clips}
    shares = {split: share for split, share in SHARES.items() if split in wanted}
    for what, paths in (("things", things), ("stills", stills), ("videos", videos)):
        if len(paths) < len(shares):
            raise DataError(
                f"{getattr(spec, what)}: {len(paths)} files for {len(shares)} splits, which may "
                "not share any; give more, or make fewer splits"
            )
    dealt = [deal(paths, shares) for paths in (things, stills, videos)]
    return {
        split: StockFiles(
            **{
                name: part["test" if split.startswith("test") else split]
                for name, part in zip(("things", "stills", "videos"), dealt, strict=True)
            }
        )
        for split in spec.clips
    }


def _make_split(
    out: Path, split: str, spec: MotionSpec, files: StockFiles, progress: Callable[[int], None]
) -> None:
    count = spec.clips[split]
    clip_spec = ClipSpec(
        seed=spec.seed,
        split=split,
        frames=spec.frames,
        fps=spec.fps,
        size_px=spec.size_px,
        backgrounds=tuple(BACKGROUNDS[split].items()),
    )
    for thousand in range(-(-count // 1000)):
        (out / split / f"{thousand:03}").mkdir(parents=True)
    with (out / split / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(Made.__dataclass_fields__))
        writer.writeheader()
        for made in _made(out, clip_spec, files, count, spec.processes):
            writer.writerow(asdict(made))
            progress(1)
    sheet = contact_sheet(out, split, min(count, 2 * len(LABELS)))
    cv2.imwrite(str(out / split / "sheet.png"), sheet)


def _made(
    out: Path, spec: ClipSpec, files: StockFiles, count: int, processes: int
) -> Iterator[Made]:
    """Clips in the order of their numbers, made in processes of their own that share nothing."""
    chunks = [range(n, min(n + CHUNK, count)) for n in range(0, count, CHUNK)]
    with ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=_begin, initargs=(out, spec, files)
    ) as pool:
        for chunk in pool.map(_make_chunk, chunks):
            yield from chunk


_worker: tuple[Path, ClipSpec, Stock] | DataError | None = None
"""What this process works on. An error waits here: a pool hides what an initializer raises."""


def _begin(out: Path, spec: ClipSpec, files: StockFiles) -> None:
    global _worker
    cv2.setNumThreads(1)
    try:
        _worker = (out, spec, read_stock(files, float(spec.fps)))
    except DataError as error:
        _worker = error


def _make_chunk(numbers: range) -> list[Made]:
    if isinstance(_worker, DataError):
        raise _worker
    assert _worker is not None
    out, spec, stock = _worker
    return [make_clip(spec, number, stock, out) for number in numbers]


def _recipe(spec: MotionSpec, files: Mapping[str, StockFiles]) -> dict[str, object]:
    return {
        "seed": spec.seed,
        "frames": spec.frames,
        "fps": str(spec.fps),
        "size_px": spec.size_px,
        "clips": dict(spec.clips),
        "pictures": {
            split: {
                "things": [path.name for path in part.things],
                "stills": [path.name for path in part.stills],
                "videos": [path.name for path in part.videos],
            }
            for split, part in files.items()
        },
    }


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

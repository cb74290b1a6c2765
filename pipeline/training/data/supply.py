"""Where the pictures of a data set's clips come from: its files, or a cache of decoded clips."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, DataError, SourceError
from pipeline.training.data.ahead import ahead
from pipeline.training.data.examples import Broken, DataSet, Example
from pipeline.training.data.reader import Choice, read_clip
from pipeline.training.data.sampling import FrameRule, Kept
from pipeline.training.data.store import (
    ClipStore,
    Found,
    open_store,
    sole_writer,
    write_store,
)

FORMAT = 1  # of what is kept; a new one makes all caches anew
AHEAD_PER_WORKER = 4
NAMED = 3  # broken clips that a message names
KEPT_PER_FRAME = 3  # odd, see Kept

Progress = Callable[[int, int], None]
"""Told how many of how many clips are decoded."""


class Supply:
    """Reads any example of a data set, and keeps count of those that can't be read."""

    def __init__(
        self,
        dataset: DataSet,
        *,
        rule: FrameRule,
        short_side_px: int,
        cache: Path | None,
        cache_frames: int | None,
        max_broken: float,
        workers: int,
        progress: Progress | None,
    ) -> None:
        """Raises DataError or ConfigError, see ``Clips``."""
        self._dataset = dataset
        self._short_side_px = short_side_px
        self._max_broken = max_broken
        self._workers = workers
        self._lock = threading.Lock()
        self._broken: dict[str, Broken] = {}
        for key in dataset.missing:
            self._note(Broken(key=key, reason=f"{key}: no such file"))
        self._store: ClipStore | None = None
        self.indices: tuple[int, ...] = tuple(range(len(dataset.examples)))
        """Examples that aren't known to be broken when the supply is opened."""
        if cache is not None:
            self._store = self._cached(cache, _kept(rule, cache_frames), progress)
            self.indices = self._store.indices
        if not self.indices:
            raise DataError(f"{dataset.root}: not one clip of {dataset.name} can be used")

    @property
    def broken(self) -> tuple[Broken, ...]:
        """Examples that were found missing or broken, in the order in which they were."""
        with self._lock:
            return tuple(self._broken.values())

    def read(self, index: int, choose: Choice) -> NDArray[np.uint8] | None:
        """The pictures that ``choose`` names, [F, H, W, 3], or None where the example is broken.

        Raises:
            DataError: it is one too many.
        """
        if self._store is not None:
            clip = self._store.clip(index)
            return clip[choose(len(clip))]
        found = self._decode(self._dataset.examples[index], choose)
        if isinstance(found, Broken):
            self._note(found)
            return None
        return found

    def _decode(self, example: Example, choose: Choice) -> NDArray[np.uint8] | Broken:
        try:
            return read_clip(example, choose, short_side_px=self._short_side_px)
        except SourceError as error:
            return Broken(key=example.key, reason=str(error))

    def _note(self, broken: Broken) -> None:
        with self._lock:
            self._broken.setdefault(broken.key, broken)
            found = tuple(self._broken.values())
        total = len(self._dataset.examples) + len(self._dataset.missing)
        if len(found) > self._max_broken * total:
            some = "; ".join(each.reason for each in found[:NAMED])
            raise DataError(
                f"{self._dataset.name}: {len(found)} of {total} clips can't be used so far, more "
                f"than data.max_broken={self._max_broken:g} allows: {some}"
            )

    def _cached(self, folder: Path, kept: Kept, progress: Progress | None) -> ClipStore:
        digest = self._digest(kept)
        name = re.sub(r"[^\w.-]+", "-", self._dataset.name)
        path = folder / f"{name}-{digest[:16]}.clips"
        with sole_writer(path):
            store = open_store(path, digest)
            if store is None:
                write_store(path, digest, self._decoded(kept, progress))
                store = open_store(path, digest)
        if store is None:
            raise DataError(
                f"{path}: was written, and reads back as something else; check the disk"
            )
        for broken in store.broken:
            self._note(broken)
        return store

    def _decoded(self, kept: Kept, progress: Progress | None) -> Iterator[Found]:
        examples = self._dataset.examples
        depth = AHEAD_PER_WORKER * self._workers
        clips = ahead(
            lambda example: self._decode(example, kept),
            examples,
            workers=self._workers,
            depth=depth,
        )
        for index, clip in enumerate(clips):
            if isinstance(clip, Broken):
                self._note(clip)
            if progress:
                progress(index + 1, len(examples))
            yield index, clip

    def _digest(self, kept: Kept) -> str:
        """Hash of all that decides which pictures are kept, in 32 hex digits."""
        knobs = [FORMAT, self._short_side_px, kept.most]
        total = hashlib.sha256(json.dumps(knobs).encode())
        for example in self._dataset.examples:
            total.update(json.dumps(_identity(example)).encode())
        return total.hexdigest()[:32]


def _kept(rule: FrameRule, cache_frames: int | None) -> Kept:
    if rule.sampling == "dense":
        if cache_frames is not None:
            raise ConfigError("data.cache_frames can't be set with dense sampling, which needs all")
        return Kept(None)
    if cache_frames is not None and cache_frames < rule.frames:
        raise ConfigError(
            f"data.cache_frames={cache_frames} is less than the {rule.frames} frames that the "
            "network takes"
        )
    return Kept(cache_frames or KEPT_PER_FRAME * rule.frames)


def _identity(example: Example) -> list[object]:
    """What tells an example's pictures: its name and span, and the size and time of its file."""
    try:
        stat = example.path.stat()
        file = [stat.st_size, stat.st_mtime_ns]
    except OSError:
        file = []
    span = [example.start_s, example.end_s, example.first_frame, example.last_frame]
    return [example.key, *span, *file]

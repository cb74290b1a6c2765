"""Clips of one size out of a data set, in batches that can be repeated.

In: a ``DataSet``. Out: ``Batch``es of bytes, or ``Views`` of each example for a test.
The rule that is easy to get wrong: everything random comes from the seed, the epoch and the
example's place in the data set, nothing from the batch before; so a run that goes on at batch
1,000 sees what it would have seen.
Cost: without a cache, that of decoding. With one, every clip is decoded once, and a batch of 64 px
crops with flips then costs 0.2 ms per clip.

Axes: N clips, V views, T pictures of H x W pixels, C = 3 colours (RGB).
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import ConfigError, DataError
from pipeline.training.data.ahead import ahead
from pipeline.training.data.augment import AugmentSpec, augmented, cropped, square
from pipeline.training.data.config import DataConfig, Sampling
from pipeline.training.data.examples import Broken, DataSet
from pipeline.training.data.sampling import FrameRule, Indices
from pipeline.training.data.supply import Progress, Supply

REPLACEMENTS = 100  # tried for a broken training clip: so many in a row are no accident
MIN_SHORT_SIDE_PX = 32  # as PictureSpec wants
BATCHES_AHEAD = 2
ORDER, FRAMES, PICTURE, REPLACEMENT = range(4)
"""Streams of random numbers that are independent of each other."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Clips as training takes them."""

    clips_NTHWC: Tensor
    """uint8."""
    labels_N: Tensor
    """int64; those after the flips."""
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """Examples as a test takes them: V = clips x crops views of each, crop by crop."""

    clips_NVTHWC: Tensor
    """uint8."""
    labels_N: Tensor
    """int64."""
    keys: tuple[str, ...]


Item = tuple[NDArray[np.uint8], int, str]


class Clips:
    """The clips of a data set, all of one size."""

    def __init__(
        self,
        dataset: DataSet,
        *,
        frames: int,
        size_px: int,
        train: bool,
        short_side_px: int | None = None,
        sampling: Sampling = "uniform",
        stride: int = 1,
        cache: Path | None = None,
        cache_frames: int | None = None,
        max_broken: float = 0.05,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """``train`` shuffles, and takes random pictures of each segment.

        With a cache, everything is decoded now, unless it was before; ``progress`` is told how
        many of how many clips are done.

        Raises:
            DataError: more than ``max_broken`` of the examples can't be used, or the cache can't
                be written.
            ConfigError: sizes that contradict each other.
        """
        short = short_side_px or default_short_side_px(size_px)
        if short < max(size_px, MIN_SHORT_SIDE_PX) or short % 2:
            raise ConfigError(
                f"data.short_side_px={short}: want an even number, the crop's {size_px} px or more"
            )
        self.dataset = dataset
        self._train = train
        self._size_px = size_px
        self._rule = FrameRule(frames=frames, sampling=sampling, stride=stride)
        self._workers = workers or os.cpu_count() or 1
        self._supply = Supply(
            dataset,
            rule=self._rule,
            short_side_px=short,
            cache=cache,
            cache_frames=cache_frames,
            max_broken=max_broken,
            workers=self._workers,
            progress=progress,
        )

    @classmethod
    def of(
        cls,
        config: DataConfig,
        dataset: DataSet,
        *,
        frames: int,
        size_px: int,
        train: bool,
        progress: Progress | None = None,
    ) -> Self:
        """Clips as a config wants them; see the constructor."""
        return cls(
            dataset,
            frames=frames,
            size_px=size_px,
            train=train,
            short_side_px=config.short_side_px,
            sampling=config.sampling,
            stride=config.stride,
            cache=config.cache,
            cache_frames=config.cache_frames,
            max_broken=config.max_broken,
            workers=config.workers,
            progress=progress,
        )

    def __len__(self) -> int:
        """Examples that aren't known to be broken when the clips were opened."""
        return len(self._supply.indices)

    @property
    def broken(self) -> tuple[Broken, ...]:
        """Examples found missing or broken so far; with a cache, all that are."""
        return self._supply.broken

    def count_batches(self, *, batch_size: int, shards: int = 1, drop_last: bool) -> int:
        """Batches of an epoch, per shard."""
        together = batch_size * shards
        return len(self) // together if drop_last else -(-len(self) // together)

    def batches(
        self,
        *,
        batch_size: int,
        seed: int,
        epoch: int,
        augment: AugmentSpec | None,
        drop_last: bool,
        first_batch: int = 0,
        shard: int = 0,
        shards: int = 1,
    ) -> Iterator[Batch]:
        """Batches ``first_batch`` and following of an epoch; a shard sees its part of each.

        In training, a broken example is replaced by another one; in a test, it is left out. A
        batch that is not dropped may be smaller than the others, and differ between shards.

        Raises:
            DataError: too many examples turned out to be broken.
        """
        order = self._order(seed, epoch)
        together = batch_size * shards
        count = self.count_batches(batch_size=batch_size, shards=shards, drop_last=drop_last)
        parts = []
        for number in range(first_batch, count):
            batch = order[number * together : (number + 1) * together]
            parts.append(np.array_split(batch, shards)[shard])

        def make(index: int) -> Item | None:
            return self._variant(index, seed, epoch, augment)

        for items in self._grouped(make, parts, batch_size):
            yield Batch(*_stacked(items))

    def views(self, batch_size: int, *, crops: int = 1, clips: int = 1) -> Iterator[Views]:
        """Every example once, by ``clips`` clips spread over it, of 1 or 3 crops each.

        Three crops are the ends and the middle of the longer side. Broken examples are left out.

        Raises:
            ConfigError: another number of crops.
            DataError: too many examples turned out to be broken.
        """
        if crops not in (1, 3) or clips < 1:
            raise ConfigError(f"want 1 or 3 crops and at least 1 clip, got {crops=} {clips=}")
        order = np.array(self._supply.indices)
        parts = np.split(order, range(batch_size, len(order), batch_size))

        def make(index: int) -> Item | None:
            return self._seen(index, crops, clips)

        for items in self._grouped(make, parts, batch_size):
            yield Views(*_stacked(items))

    def _grouped(
        self,
        make: Callable[[int], Item | None],
        parts: Sequence[NDArray[np.int64]],
        batch_size: int,
    ) -> Iterator[list[Item]]:
        indices = (int(index) for part in parts for index in part)
        results = ahead(make, indices, workers=self._workers, depth=BATCHES_AHEAD * batch_size)
        for part in parts:
            items = [item for item in islice(results, len(part)) if item is not None]
            if items:
                yield items

    def _order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        order = np.array(self._supply.indices, np.int64)
        return _chance(seed, epoch, ORDER).permutation(order) if self._train else order

    def _variant(
        self, index: int, seed: int, epoch: int, augment: AugmentSpec | None
    ) -> Item | None:
        """An example as a batch takes it; in training, another one where it is broken."""
        item = self._made(index, seed, epoch, augment)
        if item is not None or not self._train:
            return item
        others = _chance(seed, epoch, REPLACEMENT, index).choice(self._supply.indices, REPLACEMENTS)
        for other in others.tolist():
            item = self._made(other, seed, epoch, augment)
            if item is not None:
                return item
        raise DataError(
            f"{self.dataset.root}: {REPLACEMENTS} clips in a row can't be used; the last: "
            f"{self.broken[-1].reason}"
        )

    def _made(self, index: int, seed: int, epoch: int, augment: AugmentSpec | None) -> Item | None:
        def choose(count: int) -> Indices:
            if not self._train:
                return self._rule.test(count)
            return self._rule.random(count, _chance(seed, epoch, FRAMES, index))

        clip = self._supply.read(index, choose)
        if clip is None:
            return None
        example = self.dataset.examples[index]
        if augment is None:
            box = square(clip.shape[1], clip.shape[2], self._size_px)
            return cropped(clip, box, self._size_px), example.label, example.key
        chance = _chance(seed, epoch, PICTURE, index)
        clip, label = augmented(
            clip,
            example.label,
            dataset=self.dataset,
            spec=augment,
            size_px=self._size_px,
            chance=chance,
        )
        return clip, label, example.key

    def _seen(self, index: int, crops: int, clips: int) -> Item | None:
        """All views of an example, [V, T, S, S, C]."""
        rule = self._rule

        def choose(count: int) -> Indices:
            return np.concatenate([rule.test(count, clip=n, clips=clips) for n in range(clips)])

        clip = self._supply.read(index, choose)
        if clip is None:
            return None
        boxes = [
            square(clip.shape[1], clip.shape[2], self._size_px, place=place)
            for place in ((0.5,) if crops == 1 else (0, 0.5, 1))
        ]
        views = [
            cropped(part, box, self._size_px) for part in np.split(clip, clips) for box in boxes
        ]
        example = self.dataset.examples[index]
        return np.stack(views), example.label, example.key


def default_short_side_px(size_px: int) -> int:
    """What pictures are scaled to before a crop of ``size_px``: 64 -> 72, 224 -> 252."""
    return max(MIN_SHORT_SIDE_PX, size_px * 9 // 16 * 2)


def _chance(seed: int, *place: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=place)))


def _stacked(items: Sequence[Item]) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    clips, labels, keys = zip(*items, strict=True)
    return torch.from_numpy(np.stack(clips)), torch.tensor(labels), tuple(keys)

"""The motion clips that all runs learn from: made once, whole or not at all."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from pydantic import BaseModel, ValidationError

from pipeline.config import describe
from pipeline.errors import ConfigError, DataError
from pipeline.training.ablation.spec import AblationSpec
from pipeline.training.data.tables import read_json


class _Recipe(BaseModel):
    frames: int
    seed: int
    clips: dict[str, int]


class _Maps(BaseModel):
    labels: tuple[str, ...]
    long_range: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A folder of clips, as far as the studies look into it."""

    root: Path
    labels: tuple[str, ...]
    long_range: frozenset[str]
    """Labels that no pair of neighbouring frames gives away."""
    clips: dict[str, int]
    """Per split."""
    seed: int
    digest: str
    """Of all that it was made from, in 8 hex digits."""


def open_material(root: Path, spec: AblationSpec) -> Material:
    """What ``make_material`` made, here or elsewhere.

    Raises:
        DataError: not a folder of motion clips.
        ConfigError: its clips have fewer pictures than the networks take.
    """
    document = read_json(root / "recipe.json")
    try:
        recipe = _Recipe.model_validate(document)
        maps = _Maps.model_validate(read_json(root / "labels.json"))
    except ValidationError as error:
        raise DataError(f"{root}: not made by make-motions: {describe(error)}") from None
    if recipe.frames < spec.stored_frames:
        raise ConfigError(
            f"{root}: its clips have {recipe.frames} pictures, the studies want "
            f"{spec.stored_frames}; name a new folder, and it is made"
        )
    for split in ("train", "test"):
        if split not in recipe.clips:
            raise DataError(f"{root}: has no split {split!r}; name a new folder, and it is made")
    text = json.dumps(document, sort_keys=True)
    return Material(
        root=root,
        labels=maps.labels,
        long_range=frozenset(maps.long_range),
        clips=recipe.clips,
        seed=recipe.seed,
        digest=hashlib.sha256(text.encode()).hexdigest()[:8],
    )


def make_material(
    root: Path, spec: AblationSpec, pictures: Path, *, processes: int, made: Callable[[int], None]
) -> None:
    """Make the clips of a second each; what a killed attempt left is made anew.

    Raises:
        DataError: no pictures, or the folder can't be written.
    """
    from pipeline.training.motions import MotionSpec, make_motions

    part = root.with_name(f".{root.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    motions = MotionSpec(
        things=pictures / "things",
        stills=pictures / "stills",
        videos=pictures / "videos",
        clips={"train": spec.train_clips, "test": spec.test_clips},
        seed=spec.data_seed,
        frames=spec.stored_frames,
        fps=Fraction(spec.stored_frames),
        size_px=spec.stored_px,
        processes=processes,
    )
    make_motions(part, motions, progress=made)
    try:
        part.rename(root)
    except OSError as error:
        raise DataError(f"{root}: can't be written: {error.strerror}") from None

"""One clip from its number: a class, a scene, pictures, and an H.264 file of it."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.training.motions.background import background_for, mean_colour
from pipeline.training.motions.classes import CAMERA, LABELS
from pipeline.training.motions.render import finish_for, render
from pipeline.training.motions.scene import Track, stage
from pipeline.training.motions.stock import Image, Stock, Thing

SHUTTERS, SHUTTER_ODDS = (1, 2, 3), (0.7, 0.15, 0.15)
CLEAREST_OF, CONTRAST = 6, 45.0
CRF = (18, 36)  # x264's constant quality: from next to no loss to plain blocks
MIXED = {"photograph": 0.42, "stirring": 0.26, "video": 0.22, "plain": 0.1}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSpec:
    """What all clips of a split share."""

    seed: int
    split: str
    frames: int
    fps: Fraction
    size_px: int
    backgrounds: tuple[tuple[str, float], ...]
    """Kinds of background, with their odds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A line of the manifest."""

    path: str
    label: str
    background: str
    background_name: str
    things: str
    crf: int


def label_of(number: int) -> str:
    """Classes take turns, so that any run of clips is balanced."""
    return LABELS[number % len(LABELS)]


def make_frames(spec: ClipSpec, number: int, stock: Stock) -> tuple[Image, str, str, list[str]]:
    """Frames [F, H, W, 3], kind and name of the background, names of the things."""
    rng = _generator(spec, number)
    shutter = int(rng.choice(SHUTTERS, p=SHUTTER_ODDS))
    scene = stage(label_of(number), _moments(spec.frames, shutter, rng), rng)
    kinds, odds = zip(*spec.backgrounds, strict=True)
    kind = str(rng.choice(kinds, p=odds))
    background = background_for(
        kind, stock, spec.frames, rng, must_show_motion=label_of(number) in CAMERA
    )
    behind = mean_colour(background)
    things = [_thing_for(track, stock, behind, rng) for track in scene.tracks]
    frames_FHWC = render(
        scene,
        things,
        background,
        frames=spec.frames,
        shutter=shutter,
        size_px=spec.size_px,
        finish=finish_for(spec.frames, rng),
        rng=rng,
    )
    return frames_FHWC, background.kind, background.name, [thing.name for thing in things]


def make_clip(spec: ClipSpec, number: int, stock: Stock, folder: Path) -> Made:
    """Write clip ``number`` of a split below ``folder``."""
    frames_FHWC, kind, name, things = make_frames(spec, number, stock)
    crf = int(_generator(spec, number, 1).integers(CRF[0], CRF[1] + 1))
    path = f"{spec.split}/{number // 1000:03}/{number:06}.mp4"
    write_video(folder / path, frames_FHWC, spec.fps, crf)
    return Made(
        path=path,
        label=label_of(number),
        background=kind,
        background_name=name,
        things=" ".join(things),
        crf=crf,
    )


def write_video(path: Path, frames_FHWC: Image, fps: Fraction, crf: int) -> None:
    """H.264 in MP4; one thread, so that the same clip gives the same bytes."""
    height, width = frames_FHWC.shape[1:3]
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_count = 1
        stream.options = {"crf": str(crf), "preset": "ultrafast"}
        for picture in frames_FHWC:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _generator(spec: ClipSpec, number: int, part: int = 0) -> Generator:
    """Independent of the order and the process in which clips are made."""
    return np.random.default_rng([spec.seed, *spec.split.encode(), number, part])


def _moments(frames: int, shutter: int, rng: Generator) -> NDArray[np.float64]:
    """``shutter`` moments per frame, spread over a part of the time to the next."""
    open_for = rng.uniform(0.2, 0.7)
    at = np.arange(frames)[:, None] + open_for * np.arange(shutter)[None] / shutter
    return np.clip(at.ravel() / (frames - 1), 0, 1)


def _thing_for(track: Track, stock: Stock, behind: NDArray[np.float64], rng: Generator) -> Thing:
    """A thing that can be told from the background, or of a few the one that best can."""
    best, best_contrast = None, -1.0
    for _ in range(CLEAREST_OF):
        thing = stock.things[rng.integers(len(stock.things))]
        if track.must_show_turning and not thing.shows_turning:
            continue
        contrast = float(np.abs(thing.colour - behind).max())
        if contrast > best_contrast:
            best, best_contrast = thing, contrast
        if contrast > CONTRAST:
            break
    if best is None:
        best = next(thing for thing in stock.things if thing.shows_turning)
    return best

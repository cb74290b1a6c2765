"""What the demo shows: real footage, as it is and moved by known amounts.

A take is a short film: the camera stands for a second, then does what is said, then stands again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError

Frame = NDArray[np.uint8]
View = tuple[float, float, float]
"""Centre (x, y) and side of what is seen, in shares of the footage's height."""

SIDE_PX = 256
STILL_S, MOVE_S = 1.0, 1.5
WALKER_FRAMES = (187, 241)  # of street.mp4: a man walks past parked bicycles, one shot
WALKER_VIEW = (0.5, 0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """One film, what was done in it, and the labels that are true of it."""

    name: str
    path: Path
    done: str
    true_labels: tuple[str, ...]


def make_takes(footage: Path, folder: Path) -> list[Take]:
    """Film them from the clips that ``make footage`` brings.

    Raises:
        ConfigError: the footage isn't there.
    """
    room, street = footage / "room.webm", footage / "street.mp4"
    for path in (room, street):
        if not path.exists():
            raise ConfigError(f"{path}: no such video; run make footage, or name one of your own")
    folder.mkdir(parents=True, exist_ok=True)
    takes = [_walker(street, folder)]
    for name, done, label, view in MOVES:
        path = folder / f"{name}.mp4"
        _write(path, _moved(room, view), Fraction(30))
        done = f"camera {done}, {STILL_S:.1f} to {STILL_S + MOVE_S:.1f} s"
        takes.append(Take(name=name, path=path, done=done, true_labels=(label,)))
    return takes


def _between(begin: View, end: View) -> Callable[[float], View]:
    """The view after a share of the move."""

    def view(share: float) -> View:
        x, y, side = (a + (b - a) * share for a, b in zip(begin, end, strict=True))
        return x, y, side

    return view


MOVES = (
    (
        "pan-left",
        "turns left by 70 % of what it sees",
        "Turning the camera left while filming something",
        _between((1.2, 0.5, 0.9), (0.57, 0.5, 0.9)),
    ),
    (
        "pan-right",
        "turns right by 70 % of what it sees",
        "Turning the camera right while filming something",
        _between((0.57, 0.5, 0.9), (1.2, 0.5, 0.9)),
    ),
    (
        "zoom-in",
        "approaches, to twice the size",
        "Approaching something with your camera",
        _between((0.9, 0.5, 1.0), (0.9, 0.5, 0.5)),
    ),
    (
        "zoom-out",
        "moves away, to half the size",
        "Moving away from something with your camera",
        _between((0.9, 0.5, 0.5), (0.9, 0.5, 1.0)),
    ),
    (
        "steps-back",
        "stands; the man steps back",
        "Moving something away from the camera",
        _between((0.9, 0.5, 0.9), (0.9, 0.5, 0.9)),
    ),
)


def _walker(street: Path, folder: Path) -> Take:
    path = folder / "walker.mp4"
    first, last = WALKER_FRAMES
    scene = (frame for n, frame in enumerate(_frames(street)) if first <= n < last)
    _write(path, (_seen(frame, WALKER_VIEW) for frame in scene), Fraction(25))
    return Take(
        name="walker",
        path=path,
        done="camera stands; a man walks out, 0.0 to 0.6 s",
        true_labels=("Moving something out of view",),
    )


def _moved(footage: Path, view: Callable[[float], View]) -> Iterator[Frame]:
    for n, frame in enumerate(_frames(footage)):
        at_s = n / 30
        if at_s >= 2 * STILL_S + MOVE_S:
            return
        share = min(1.0, max(0.0, (at_s - STILL_S) / MOVE_S))
        yield _seen(frame, view(share * share * (3 - 2 * share)))


def _frames(path: Path) -> Iterator[Frame]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def _seen(frame: Frame, view: View) -> Frame:
    """The square that a view sees; to the pixel, since SIDE_PX is far smaller."""
    height, width = frame.shape[:2]
    x, y, side = (share * height for share in view)
    size = min(round(side), height, width)
    left = min(max(0, round(x - side / 2)), width - size)
    top = min(max(0, round(y - side / 2)), height - size)
    return np.ascontiguousarray(frame[top : top + size, left : left + size])


def _write(path: Path, frames: Iterator[Frame], fps: Fraction) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width = stream.height = SIDE_PX
        stream.pix_fmt = "yuv420p"
        for picture in frames:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            small = frame.reformat(
                width=SIDE_PX, height=SIDE_PX, format="yuv420p", interpolation="AREA"
            )
            container.mux(stream.encode(small))
        container.mux(stream.encode())

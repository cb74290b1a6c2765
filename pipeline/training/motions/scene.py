"""What happens in a clip: where every thing and the camera are, moment by moment.

Positions are in frame widths, (0, 0) the top left corner and (1, 1) the bottom right one, y down;
scales are shares of the frame; angles are radians, clockwise as seen. M moments per clip.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.training.motions import classes as c

Moments = NDArray[np.float64]

INSIDE = (0.2, 0.8)  # where the centre of a thing may rest


@dataclass(slots=True, kw_only=True)
class Track:
    """One thing over the moments of a clip."""

    x_M: Moments
    y_M: Moments
    scale_M: Moments
    """The longer side."""
    angle_M: Moments
    must_show_turning: bool = False


@dataclass(slots=True, kw_only=True)
class Camera:
    """Where the frame is in the world: its offset, how much it enlarges, and its roll."""

    x_M: Moments
    y_M: Moments
    zoom_M: Moments
    roll_M: Moments


@dataclass(slots=True, kw_only=True)
class Scene:
    """Things in the order in which they are drawn, and the camera."""

    camera: Camera
    tracks: list[Track] = field(default_factory=list)


def stage(label: str, moments_M: Moments, rng: Generator) -> Scene:
    """A scene of a class at some moments, each in [0, 1]."""
    still = np.zeros_like(moments_M)
    camera = Camera(x_M=still, y_M=still, zoom_M=still + 1, roll_M=still)
    scene = Scene(camera=camera)
    _SCRIPTS[label](scene, moments_M, rng)
    _add_bystanders(scene, moments_M, rng)
    _hold_in_hand(scene.camera, moments_M, rng)
    return scene


def _progress(moments_M: Moments, rng: Generator) -> Moments:
    """From 0 to 1, with a random start, end and easing; most motions fill the clip."""
    if rng.random() < 0.5:
        begin, end = 0.0, 1.0
    else:
        begin = rng.uniform(0, 0.35)
        end = rng.uniform(max(begin + 0.45, 0.6), 1.0)
    x_M = np.clip((moments_M - begin) / (end - begin), 0, 1)
    smooth_M = x_M * x_M * (3 - 2 * x_M)
    blend, power = rng.uniform(0, 1), rng.uniform(0.75, 1.35)
    eased_M: Moments = blend * smooth_M + (1 - blend) * x_M**power
    return eased_M


def _there_and_back(moments_M: Moments, rng: Generator) -> Moments:
    """From 0 to 1 and back to 0, turning somewhere in the middle."""
    begin, turn, end = rng.uniform(0, 0.12), rng.uniform(0.4, 0.6), rng.uniform(0.88, 1)
    points = ([begin, turn, end], [0, 1, rng.uniform(0, 0.25)])
    x_M = np.interp(moments_M, *points)
    blend = rng.uniform(0, 1)
    back_M: Moments = blend * x_M * x_M * (3 - 2 * x_M) + (1 - blend) * x_M
    return back_M


def _thing(
    moments_M: Moments,
    rng: Generator,
    *,
    x: Moments | float,
    y: Moments | float,
    scale: Moments | float | None = None,
    angle: Moments | float | None = None,
) -> Track:
    """A thing whose ways are given; what isn't is random, and wavers a little."""
    still_M = np.zeros_like(moments_M)
    size = rng.uniform(0.2, 0.45) if scale is None else scale
    tilt = _tilt(rng) if angle is None else angle
    waver = rng.normal(0, 0.03) * np.sin(rng.uniform(0, 6) + rng.uniform(1, 5) * moments_M)
    return Track(
        x_M=still_M + x,
        y_M=still_M + y,
        scale_M=(still_M + size) * (1 + rng.normal(0, 0.02) * moments_M),
        angle_M=still_M + tilt + (waver if angle is None else 0),
    )


def _tilt(rng: Generator) -> float:
    return float(rng.uniform(-np.pi, np.pi) if rng.random() < 0.3 else rng.normal(0, 0.25))


def _along(
    scene: Scene, moments_M: Moments, rng: Generator, way_M: Moments, dx: int, dy: int, reach: float
) -> None:
    """One thing along an axis by ``reach``, with a little drift across it."""
    start = rng.uniform(0.12, 0.88 - reach)
    main_M = start + reach * way_M if dx + dy > 0 else 1 - start - reach * way_M
    drift = rng.uniform(-0.2, 0.2) * reach * way_M
    across_M = rng.uniform(*INSIDE) + drift
    x_M, y_M = (main_M, across_M) if dx else (across_M, main_M)
    scene.tracks.append(_thing(moments_M, rng, x=x_M, y=y_M))


def _moving(dx: int, dy: int) -> Callable[[Scene, Moments, Generator], None]:
    def script(scene: Scene, moments_M: Moments, rng: Generator) -> None:
        way_M = _progress(moments_M, rng)
        _along(scene, moments_M, rng, way_M, dx, dy, rng.uniform(0.2, 0.7))

    return script


def _moving_and_back(dx: int, dy: int) -> Callable[[Scene, Moments, Generator], None]:
    def script(scene: Scene, moments_M: Moments, rng: Generator) -> None:
        way_M = _there_and_back(moments_M, rng)
        _along(scene, moments_M, rng, way_M, dx, dy, rng.uniform(0.22, 0.6))

    return script


def _scaling(forward: bool) -> Callable[[Scene, Moments, Generator], None]:
    def script(scene: Scene, moments_M: Moments, rng: Generator) -> None:
        way_M = _progress(moments_M, rng)
        far, ratio = rng.uniform(0.14, 0.34), rng.uniform(1.6, 3.0)
        scale_M = far * ratio ** (way_M if forward else 1 - way_M)
        x = rng.uniform(0.3, 0.7) + rng.uniform(-0.06, 0.06) * way_M
        y = rng.uniform(0.3, 0.7) + rng.uniform(-0.06, 0.06) * way_M
        scene.tracks.append(_thing(moments_M, rng, x=x, y=y, scale=scale_M))

    return script


def _turning(sign: int) -> Callable[[Scene, Moments, Generator], None]:
    def script(scene: Scene, moments_M: Moments, rng: Generator) -> None:
        way_M = _progress(moments_M, rng)
        angle_M = rng.uniform(-np.pi, np.pi) + sign * rng.uniform(0.9, 3.0) * way_M
        x = rng.uniform(0.25, 0.75) + rng.uniform(-0.05, 0.05) * way_M
        y = rng.uniform(0.25, 0.75) + rng.uniform(-0.05, 0.05) * way_M
        track = _thing(moments_M, rng, x=x, y=y, scale=rng.uniform(0.28, 0.6), angle=angle_M)
        track.must_show_turning = True
        scene.tracks.append(track)

    return script


def _two(closer: bool) -> Callable[[Scene, Moments, Generator], None]:
    def script(scene: Scene, moments_M: Moments, rng: Generator) -> None:
        way_M = _progress(moments_M, rng)
        near = rng.uniform(0.12, 0.17)
        far = rng.uniform(near + 0.12, 0.36)
        half_M = far + (near - far) * (way_M if closer else 1 - way_M)
        towards = rng.uniform(0, 2 * np.pi) if rng.random() < 0.4 else rng.normal(0, 0.2)
        for side in (-1, 1):
            scale = rng.uniform(0.16, 0.3)
            x_M = 0.5 + side * half_M * np.cos(towards) + rng.normal(0, 0.02)
            y_M = 0.5 + side * half_M * np.sin(towards) + rng.normal(0, 0.02)
            scene.tracks.append(_thing(moments_M, rng, x=x_M, y=y_M, scale=scale))

    return script


def _covering(forward: bool) -> Callable[[Scene, Moments, Generator], None]:
    def script(scene: Scene, moments_M: Moments, rng: Generator) -> None:
        way_M = _progress(moments_M, rng)
        scale = rng.uniform(0.18, 0.3)
        x, y = rng.uniform(0.32, 0.68, 2)
        scene.tracks.append(_thing(moments_M, rng, x=x, y=y, scale=scale))
        off_M = rng.uniform(0.32, 0.55) * (1 - way_M if forward else way_M)
        towards = rng.uniform(0, 2 * np.pi)
        cover = _thing(
            moments_M,
            rng,
            x=x + off_M * np.cos(towards) + rng.normal(0, 0.015),
            y=y + off_M * np.sin(towards) + rng.normal(0, 0.015),
            scale=scale * rng.uniform(1.25, 1.8),
        )
        scene.tracks.append(cover)

    return script


def _through_the_edge(scene: Scene, moments_M: Moments, rng: Generator, outside_M: Moments) -> None:
    """One thing that is outside the frame where ``outside_M`` is 1, well inside where it is 0."""
    scale = rng.uniform(0.2, 0.42)
    inside, across = rng.uniform(0.35, 0.65), rng.uniform(*INSIDE)
    beyond = -(0.5 * scale + rng.uniform(0.03, 0.12))
    main_M = inside + (beyond - inside) * outside_M
    if rng.random() < 0.5:
        main_M = 1 - main_M
    across_M = across + rng.uniform(-0.1, 0.1) * outside_M
    x_M, y_M = (main_M, across_M) if rng.random() < 0.5 else (across_M, main_M)
    scene.tracks.append(_thing(moments_M, rng, x=x_M, y=y_M, scale=scale))


def _into_view(scene: Scene, moments_M: Moments, rng: Generator) -> None:
    _through_the_edge(scene, moments_M, rng, 1 - _progress(moments_M, rng))


def _out_of_view(scene: Scene, moments_M: Moments, rng: Generator) -> None:
    _through_the_edge(scene, moments_M, rng, _progress(moments_M, rng))


def _in_and_out(scene: Scene, moments_M: Moments, rng: Generator) -> None:
    begin, end = rng.uniform(0, 0.15), rng.uniform(0.85, 1)
    rest = np.sort(rng.uniform(0.38, 0.62, 2))
    outside_M = np.interp(moments_M, [begin, rest[0], rest[1] + 1e-3, end], [1, 0, 0, 1])
    _through_the_edge(scene, moments_M, rng, outside_M)


def _panning(dx: int, dy: int) -> Callable[[Scene, Moments, Generator], None]:
    def script(scene: Scene, moments_M: Moments, rng: Generator) -> None:
        way_M = _progress(moments_M, rng)
        reach = rng.uniform(0.18, 0.9)
        along_M = reach * (way_M - rng.uniform(0.2, 0.8))
        across_M = rng.uniform(-0.12, 0.12) * reach * way_M
        x_M, y_M = (dx * along_M, across_M) if dx else (across_M, dy * along_M)
        scene.camera.x_M, scene.camera.y_M = x_M, y_M
        _add_subject(scene, moments_M, rng)

    return script


def _zooming(forward: bool) -> Callable[[Scene, Moments, Generator], None]:
    def script(scene: Scene, moments_M: Moments, rng: Generator) -> None:
        way_M = _progress(moments_M, rng)
        ratio = rng.uniform(1.22, 2.2)
        scene.camera.zoom_M = rng.uniform(0.75, 1.0) * ratio ** (way_M if forward else 1 - way_M)
        scene.camera.x_M = rng.uniform(-0.06, 0.06) * way_M
        scene.camera.y_M = rng.uniform(-0.06, 0.06) * way_M
        _add_subject(scene, moments_M, rng)

    return script


def _shaking(scene: Scene, moments_M: Moments, rng: Generator) -> None:
    """Two fast swings across each other, and one of the roll."""
    tau_M = 2 * np.pi * moments_M
    strength = rng.uniform(0.03, 0.09)
    x, y = rng.uniform(0.55, 1, 2) * strength
    scene.camera.x_M = x * np.sin(rng.uniform(1.7, 3.6) * tau_M + rng.uniform(0, 6))
    scene.camera.y_M = y * np.sin(rng.uniform(1.7, 3.6) * tau_M + rng.uniform(0, 6))
    scene.camera.roll_M = rng.normal(0, 0.04) * np.sin(2.7 * tau_M + rng.uniform(0, 6))
    _add_subject(scene, moments_M, rng)


def _nothing(scene: Scene, moments_M: Moments, rng: Generator) -> None:
    _add_subject(scene, moments_M, rng)


def _add_subject(scene: Scene, moments_M: Moments, rng: Generator) -> None:
    """Something that stands still in the world, three times in five."""
    if rng.random() < 0.6:
        scene.tracks.append(_resting(moments_M, rng, rng.uniform(0.2, 0.5)))


def _add_bystanders(scene: Scene, moments_M: Moments, rng: Generator) -> None:
    """Up to three smaller things that do nothing, behind what happens."""
    for _ in range(rng.choice(4, p=(0.45, 0.3, 0.15, 0.1))):
        scene.tracks.insert(0, _resting(moments_M, rng, rng.uniform(0.1, 0.26)))


def _resting(moments_M: Moments, rng: Generator, scale: float) -> Track:
    still_M = np.zeros_like(moments_M)
    x, y = rng.uniform(0.05, 0.95, 2)
    return Track(
        x_M=still_M + x, y_M=still_M + y, scale_M=still_M + scale, angle_M=still_M + _tilt(rng)
    )


def _hold_in_hand(camera: Camera, moments_M: Moments, rng: Generator) -> None:
    """Half of the cameras stand; the others sway by up to a hundredth of the frame."""
    if rng.random() < 0.5:
        return
    sway = rng.uniform(0, 0.008)
    for name in ("x_M", "y_M"):
        phase, turns = rng.uniform(0, 6), rng.uniform(0.5, 2.5)
        swing_M = sway * np.sin(phase + 2 * np.pi * turns * moments_M)
        setattr(camera, name, getattr(camera, name) + swing_M)


_SCRIPTS: dict[str, Callable[[Scene, Moments, Generator], None]] = {
    c.LEFT: _moving(-1, 0),
    c.RIGHT: _moving(1, 0),
    c.UP: _moving(0, -1),
    c.DOWN: _moving(0, 1),
    c.TOWARDS: _scaling(True),
    c.AWAY: _scaling(False),
    c.CLOCKWISE: _turning(1),
    c.ANTICLOCKWISE: _turning(-1),
    c.CLOSER: _two(True),
    c.APART: _two(False),
    c.COVERING: _covering(True),
    c.UNCOVERING: _covering(False),
    c.INTO_VIEW: _into_view,
    c.OUT_OF_VIEW: _out_of_view,
    c.CAMERA_LEFT: _panning(-1, 0),
    c.CAMERA_RIGHT: _panning(1, 0),
    c.CAMERA_UP: _panning(0, -1),
    c.CAMERA_DOWN: _panning(0, 1),
    c.APPROACHING: _zooming(True),
    c.RETREATING: _zooming(False),
    c.SHAKING: _shaking,
    c.NOTHING: _nothing,
    c.LEFT_RIGHT: _moving_and_back(-1, 0),
    c.RIGHT_LEFT: _moving_and_back(1, 0),
    c.UP_DOWN: _moving_and_back(0, -1),
    c.DOWN_UP: _moving_and_back(0, 1),
    c.IN_OUT: _in_and_out,
}

"""Scenes into frames: cut-outs drawn over a background, then light, lens and sensor.

Drawn at twice the size and reduced, so that edges are soft and motion below a pixel shows.
Axes: F frames, H x W, C = RGB.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.training.motions.background import Background
from pipeline.training.motions.scene import Camera, Scene, Track
from pipeline.training.motions.stock import Thing

Image = NDArray[np.uint8]

OVERSAMPLED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """What light, lens and sensor do to the frames."""

    gain_F: NDArray[np.float64]
    gamma: float
    tint_C: NDArray[np.float64]
    blur_px: float
    noise: float
    """Standard deviation, in steps of 255."""


def finish_for(frames: int, rng: Generator) -> Finish:
    """A random one; half of the clips have steady light, a tenth flicker."""
    ramp_F = np.linspace(-1, 1, frames)
    gain_F = np.full(frames, rng.uniform(0.65, 1.2))
    kind = rng.random()
    if kind < 0.4:
        gain_F = gain_F * (1 + rng.normal(0, 0.08) * ramp_F)
    elif kind < 0.5:
        gain_F = gain_F * rng.uniform(0.8, 1.2, frames)
    return Finish(
        gain_F=gain_F,
        gamma=rng.uniform(0.75, 1.35),
        tint_C=rng.normal(1, 0.05, 3),
        blur_px=rng.choice((0.0, rng.uniform(0.3, 1.1)), p=(0.6, 0.4)),
        noise=rng.choice((0.0, rng.uniform(1, 12)), p=(0.3, 0.7)),
    )


def render(
    scene: Scene,
    things: Sequence[Thing],
    background: Background,
    *,
    frames: int,
    shutter: int,
    size_px: int,
    finish: Finish,
    rng: Generator,
) -> Image:
    """Frames [F, H, W, C]; the scene has ``shutter`` moments per frame, which are averaged."""
    taken = np.empty((frames, size_px, size_px, 3), np.uint8)
    large_px = size_px * OVERSAMPLED
    for n in range(frames):
        moments = range(n * shutter, (n + 1) * shutter)
        exposed = np.zeros((size_px, size_px, 3), np.float32)
        for moment in moments:
            drawn = _draw(scene, things, background, n, moment, large_px)
            exposed += cv2.resize(drawn, (size_px, size_px), interpolation=cv2.INTER_AREA)
        exposed /= 255 * shutter
        taken[n] = _finished(exposed, finish, n, rng)
    return taken


def _draw(
    scene: Scene,
    things: Sequence[Thing],
    background: Background,
    frame: int,
    moment: int,
    large_px: int,
) -> Image:
    camera = camera_matrix(scene.camera, moment)
    picture = background.picture(frame, camera, large_px)
    for track, thing in zip(scene.tracks, things, strict=True):
        _paste(picture, thing, track, camera, moment)
    return picture


def camera_matrix(camera: Camera, moment: int) -> NDArray[np.float64]:
    """World to frame, 3 x 3, in frame widths: shift, then enlarge and roll about the centre."""
    zoom, roll = camera.zoom_M[moment], camera.roll_M[moment]
    cos, sin = zoom * np.cos(roll), zoom * np.sin(roll)
    x, y = 0.5 + camera.x_M[moment], 0.5 + camera.y_M[moment]
    return np.array(
        [[cos, -sin, 0.5 - cos * x + sin * y], [sin, cos, 0.5 - sin * x - cos * y], [0, 0, 1]]
    )


def _paste(
    picture: Image, thing: Thing, track: Track, camera: NDArray[np.float64], moment: int
) -> None:
    """Draw a thing in place, touching only the box that it covers."""
    large_px = picture.shape[0]
    zoom = float(np.hypot(camera[0, 0], camera[1, 0]))
    longer_px = track.scale_M[moment] * zoom * large_px
    source = next(
        (s for s in reversed(thing.sizes_HWC) if max(s.shape[:2]) >= longer_px), thing.sizes_HWC[0]
    )
    height, width = source.shape[:2]
    factor = longer_px / max(height, width)
    angle = track.angle_M[moment] + np.arctan2(camera[1, 0], camera[0, 0])
    cos, sin = factor * np.cos(angle), factor * np.sin(angle)
    centre = camera @ (track.x_M[moment], track.y_M[moment], 1)
    cx, cy = centre[0] * large_px, centre[1] * large_px
    reach = 0.5 * factor * np.hypot(height, width) + 1
    left, right = (int(np.clip(round(cx + side * reach), 0, large_px)) for side in (-1, 1))
    top, bottom = (int(np.clip(round(cy + side * reach), 0, large_px)) for side in (-1, 1))
    if left >= right or top >= bottom:
        return
    matrix = np.array(
        [
            [cos, -sin, cx - left - (cos * width - sin * height) / 2],
            [sin, cos, cy - top - (sin * width + cos * height) / 2],
        ]
    )
    drawn = cv2.warpAffine(source, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    box = picture[top:bottom, left:right]
    through = np.uint16(255) - drawn[..., 3:]
    box[:] = drawn[..., :3] + (box * through // 255).astype(np.uint8)


def _finished(light: NDArray[np.float32], finish: Finish, frame: int, rng: Generator) -> Image:
    light = light**finish.gamma * (finish.gain_F[frame] * finish.tint_C).astype(np.float32)
    if finish.blur_px:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), finish.blur_px), np.float32)
    if finish.noise:
        light += rng.standard_normal(light.shape, np.float32) * np.float32(finish.noise / 255)
    taken: Image = (np.clip(light, 0, 1) * 255 + 0.5).astype(np.uint8)
    return taken

"""A strip of frames per event: what a model saw, and what it called it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from pipeline.errors import ConfigError
from pipeline.records import ActionEvent

FRAMES, SIDE_PX, CAPTION_PX = 8, 112, 18


def draw_strips(path: Path, strips: Sequence[tuple[Path, ActionEvent, str]]) -> None:
    """Write a PNG: for each ended event of a video eight frames from its start to its end.

    Raises:
        ConfigError: Pillow isn't installed, or the file can't be written.
    """
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise ConfigError("strips need Pillow: pip install 'actionstream[train]'") from None
    height = CAPTION_PX + SIDE_PX
    sheet = Image.new("RGB", (FRAMES * SIDE_PX, height * len(strips)), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (video, event, done) in enumerate(strips):
        assert event.end_pts_s is not None
        times = f"{event.start_pts_s:.1f} to {event.end_pts_s:.1f} s"
        pen.text((4, row * height + 3), f"{event.label}, {times}   ({done})", fill="black")
        frames = _frames(video, event.start_pts_s, event.end_pts_s)
        for column, picture in enumerate(frames):
            tile = Image.fromarray(picture).resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
            sheet.paste(tile, (column * SIDE_PX, row * height + CAPTION_PX))
    try:
        sheet.quantize(256).save(path, format="PNG", optimize=True)
    except OSError as error:
        raise ConfigError(f"{path}: can't be written: {error.strerror or error}") from None


def _frames(video: Path, start_s: float, end_s: float) -> list[np.ndarray]:
    """Eight, evenly spread; times count from the first picture."""
    due_s = np.linspace(start_s, end_s, FRAMES, endpoint=False)
    taken: list[np.ndarray] = []
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            while len(taken) < FRAMES and frame.time >= due_s[len(taken)] - 1e-6:
                taken.append(frame.to_ndarray(format="rgb24"))
    return taken

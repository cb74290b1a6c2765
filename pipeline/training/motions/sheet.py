"""A contact sheet: strips of frames with their labels, to see what a data set holds."""

import csv
from pathlib import Path

import av
import cv2
import numpy as np

from pipeline.training.motions.stock import Image

SHOWN_FRAMES = 8
COLUMNS = 2
CAPTION_PX = 14


def contact_sheet(root: Path, split: str, clips: int) -> Image:
    """The first clips of a split's manifest, one strip each, [H, W, 3] in OpenCV's order BGR."""
    with (root / split / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row, _ in zip(csv.DictReader(file), range(clips), strict=False)]
    strips = [_strip(root / row["path"], row["label"], row["background"]) for row in rows]
    strips += [np.zeros_like(strips[0])] * (-len(strips) % COLUMNS)
    height = len(strips) // COLUMNS
    columns = [np.vstack(strips[n * height : (n + 1) * height]) for n in range(COLUMNS)]
    return np.hstack(columns)


def _strip(path: Path, label: str, background: str) -> Image:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    places = np.linspace(0, len(frames) - 1, SHOWN_FRAMES).round().astype(int)
    pictures = np.hstack([frames[place] for place in places])
    caption = np.full((CAPTION_PX, pictures.shape[1], 3), 255, np.uint8)
    text = f"{label}  ({background})"
    cv2.putText(caption, text, (3, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([caption, pictures])

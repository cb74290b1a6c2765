"""Pictures made for the purpose: two-coloured arrows, textured grounds, a video of noise."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.training.motions import MotionSpec
from pipeline.training.motions.clip import write_video


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for kind in ("things", "stills", "videos"):
        (root / kind).mkdir()
    for n in range(6):
        cv2.imwrite(str(root / f"things/arrow{n}.png"), _arrow(rng))
        coarse = rng.integers(0, 255, (30, 40, 3)).astype(np.uint8)
        ground = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_LINEAR)
        cv2.imwrite(str(root / f"stills/ground{n}.jpg"), ground)
    for n in range(3):
        coarse = rng.integers(0, 255, (12, 6, 8, 3)).astype(np.uint8)
        frames = np.stack([cv2.resize(frame, (160, 120)) for frame in coarse])
        write_video(root / f"videos/noise{n}.mp4", frames, Fraction(8), 20)
    return root


def _arrow(rng: np.random.Generator) -> np.ndarray:
    picture = np.zeros((96, 64, 4), np.uint8)
    tip = np.array([[32, 2], [62, 50], [2, 50]])
    cv2.fillPoly(picture, [tip], (*rng.integers(0, 255, 3).tolist(), 255))
    cv2.rectangle(picture, (20, 50), (44, 94), (*rng.integers(0, 255, 3).tolist(), 255), -1)
    return picture


@pytest.fixture
def spec(pictures: Path) -> MotionSpec:
    return MotionSpec(
        things=pictures / "things",
        stills=pictures / "stills",
        videos=pictures / "videos",
        clips={"train": 30, "validation": 3, "test": 3, "test-video": 3},
        seed=5,
        size_px=48,
        processes=1,
    )

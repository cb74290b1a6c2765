"""Pictures made for the purpose, and studies so small that they take seconds."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.training.ablation import AblationSpec
from pipeline.training.motions.clip import write_video


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two-coloured arrows, grounds, and videos of noise."""
    root = tmp_path_factory.mktemp("pictures")
    chance = np.random.default_rng(0)
    for kind in ("things", "stills", "videos"):
        (root / kind).mkdir()
    for n in range(4):
        arrow = np.zeros((96, 64, 4), np.uint8)
        tip = np.array([[32, 2], [62, 50], [2, 50]])
        cv2.fillPoly(arrow, [tip], (*chance.integers(0, 255, 3).tolist(), 255))
        shaft = (*chance.integers(0, 255, 3).tolist(), 255)
        cv2.rectangle(arrow, (20, 50), (44, 94), shaft, -1)
        cv2.imwrite(str(root / f"things/arrow{n}.png"), arrow)
        ground = cv2.resize(chance.integers(0, 255, (30, 40, 3)).astype(np.uint8), (160, 120))
        cv2.imwrite(str(root / f"stills/ground{n}.jpg"), ground)
        noise = chance.integers(0, 255, (6, 30, 40, 3)).astype(np.uint8)
        write_video(root / f"videos/noise{n}.mp4", noise, 8, 20)
    return root


@pytest.fixture
def tiny() -> AblationSpec:
    return AblationSpec(
        studies=("fusion",),
        essential=True,
        seeds=(0,),
        train_clips=54,
        test_clips=27,
        stored_frames=6,
        stored_px=36,
        clips=16,
        frames=4,
        frame_counts=(4, 6),
        size_px=32,
        parts={"width": 8, "blocks": (2, 2, 2, 1)},
        batch_size=4,
        warmup_clips=4,
        checkpoint_every_clips=4,
        threads=1,
        depths=(50,),
        tsn_depths=(50,),
        tam_depths=(50,),
        pairs=(2,),
        measured_pairs=(2,),
        cost_px=64,
    )

"""A small data set, and a run on it that takes seconds."""

from pathlib import Path
from typing import Any

import pytest

from tests.squares import make_squares


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of squares that move."""
    return make_squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture
def recipe(squares: Path) -> dict[str, Any]:
    """A run of 12 steps that takes seconds."""
    return {
        "name": "tiny",
        "network": {
            "name": "blvnet-tam-small",
            "parts": {"blocks": [2, 2, 2, 1], "width": 8, "frames": 4},
        },
        "data": {"root": str(squares), "workers": 1},
        "size_px": 32,
        "clips": 96,
        "batch_size": 8,
        "optimizer": {"lr": 0.02},
        "schedule": {"warmup_clips": 16},
        "checkpoint_every_clips": 16,
        "log_every_steps": 1,
        "threads": 1,
    }

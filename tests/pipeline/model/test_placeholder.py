"""The default model until there are trained weights: labels change, and mean nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.model import Recognizer, load, save_bundle
from pipeline.model.placeholder import SHARPNESS, make_placeholder, placeholder_spec
from pipeline.records import Window, read_only


@pytest.fixture
def windows(make_window: Callable[..., Window]) -> list[Window]:
    """Twelve windows of a scene that turns from dark to bright and from red to blue."""
    made = []
    for n in range(12):
        window = make_window(placeholder_spec(), seed=n)
        tint = np.array([1 - n / 12, 0.5, n / 12]) * (0.3 + 0.7 * np.sin(n) ** 2)
        little = (window.little_PHWC * tint).astype(np.uint8)
        big = (window.big_PHWC * tint).astype(np.uint8)
        made.append(replace(window, little_PHWC=read_only(little), big_PHWC=read_only(big)))
    return made


def logits(recognizer: Recognizer, windows: list[Window]) -> torch.Tensor:
    with torch.inference_mode():
        return recognizer.network.forward_pairs(*recognizer.inputs(windows))


def test_each_label_is_centred_and_spread_over_the_windows(windows: list[Window]) -> None:
    logits_WK = logits(make_placeholder(windows), windows)
    assert torch.allclose(logits_WK.mean(dim=0), torch.zeros(8), atol=0.01)
    assert torch.allclose(logits_WK.std(dim=0), torch.full((8,), SHARPNESS), rtol=0.01)
    assert len(set(logits_WK.argmax(dim=1).tolist())) >= 3


def test_the_same_windows_make_the_same_model(windows: list[Window]) -> None:
    one, other = make_placeholder(windows), make_placeholder(windows)
    before, after = one.network.state_dict(), other.network.state_dict()
    assert all(torch.allclose(after[name], tensor, atol=1e-5) for name, tensor in before.items())


def test_it_is_small_and_survives_its_file(tmp_path: Path, windows: list[Window]) -> None:
    made, path = make_placeholder(windows), tmp_path / "x.safetensors"
    save_bundle(made, path)
    assert path.stat().st_size < 4_000_000
    loaded = load(path, device="cpu")
    assert loaded.digest == made.digest
    assert torch.equal(logits(loaded, windows), logits(made, windows))


def test_it_says_that_its_labels_mean_nothing() -> None:
    spec = load("default", device="cpu").spec
    assert "mean nothing" in spec.provenance["training"]
    assert spec.labels == placeholder_spec().labels
    assert set(spec.suggests.background) <= set(spec.labels)

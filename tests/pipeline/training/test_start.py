"""Weights to start from: what is loaded, what is new, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import CheckpointMismatch, ConfigError, ModelError
from pipeline.model import ModelSpec, architecture_of, build
from pipeline.model.bundle import write_bundle
from pipeline.training.config import TrainConfig
from pipeline.training.start import places_of, start_network

LABELS = ("down", "left", "up")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Weights of a small network of eight frames."""
    torch.manual_seed(3)
    network = build(architecture_of("blvnet-tam-small", classes=3, width=8))
    spec = ModelSpec.model_validate(
        {
            "name": "source",
            "architecture": network.architecture,
            "labels": LABELS,
            "size_px": 48,
            "mean": (0.5, 0.5, 0.5),
            "suggests": {"hop": 2, "background": ("up",), "events": {"enter": 0.9}},
        }
    )
    path = tmp_path / "source.safetensors"
    write_bundle(path, network.state_dict(), spec)
    return path


def config(**said: Any) -> TrainConfig:
    return TrainConfig.model_validate({"data": {"root": "nowhere"}, "clips": 9_999, **said})


def test_weights_bring_their_network_size_and_suggestions(bundle: Path) -> None:
    started = start_network(config(**{"from": {"weights": str(bundle)}}), LABELS)
    assert started.network.architecture.width == 8
    assert (started.size_px, started.mean) == (48, (0.5, 0.5, 0.5))
    assert started.suggests.background == ("up",)
    assert "new" not in " ".join(started.story)


def test_a_new_classifier_is_new_and_said_to_be(bundle: Path) -> None:
    for labels in (LABELS, ("a", "b", "c", "d", "e")):
        said = config(**{"from": {"weights": str(bundle), "classifier": "new"}})
        started = start_network(said, labels)
        again = start_network(config(**{"from": {"weights": str(bundle)}}), LABELS)
        assert started.network.classifier.out_features == len(labels)
        assert f"the classifier is new, for {len(labels)} classes" in started.story
        assert not torch.equal(
            started.network.classifier.weight[:3], again.network.classifier.weight
        )
        assert torch.equal(
            started.network.get_parameter("baseline_model.conv1.weight"),
            again.network.get_parameter("baseline_model.conv1.weight"),
        )
        assert started.suggests.background == ()
        assert started.suggests.events is None
        assert started.suggests.hop == 2


def test_other_classes_are_an_error_until_a_new_classifier_is_asked_for(bundle: Path) -> None:
    same = config(**{"from": {"weights": str(bundle)}})
    with pytest.raises(ConfigError, match=r"has 3 classes, the data has 2; .* classifier: new"):
        start_network(same, ("down", "up"))
    with pytest.raises(ConfigError, match=r"other labels than the data \('up' instead of 'in'\)"):
        start_network(same, ("down", "left", "in"))


def test_more_frames_start_from_fewer(bundle: Path) -> None:
    network = {"name": "blvnet-tam-small", "parts": {"width": 8, "frames": 16}}
    started = start_network(
        config(**{"from": {"weights": str(bundle)}, "network": network}), LABELS
    )
    assert started.network.architecture.frames == 16
    assert "missing" not in started.story[0]


def test_tensors_that_are_not_loaded_are_listed(bundle: Path) -> None:
    network = {"name": "blvnet-tam-small", "parts": {"width": 8, "blocks": [3, 2, 3, 2]}}
    started = start_network(
        config(**{"from": {"weights": str(bundle)}, "network": network}), LABELS
    )
    assert "missing (start as initialised): baseline_model.layer1.big.1." in started.story[0]


def test_weights_of_another_width_are_refused(bundle: Path) -> None:
    with pytest.raises((CheckpointMismatch, ModelError)) as caught:
        start_network(
            config(
                **{
                    "from": {"weights": str(bundle)},
                    "network": {"name": "blvnet-tam-small", "parts": {"width": 12}},
                }
            ),
            LABELS,
        )
    assert "\n" not in str(caught.value)


def test_labels_of_the_data_find_their_places_in_the_network() -> None:
    assert places_of(("up", "down"), LABELS, what="m") == [2, 0]
    assert places_of(("a", "b"), ("class_0", "class_1"), what="m") == [0, 1]
    with pytest.raises(ConfigError, match="doesn't know 1 of the data's 2 labels, such as 'in'"):
        places_of(("up", "in"), LABELS, what="m")
    with pytest.raises(ConfigError, match="has 1 classes, the data has 2"):
        places_of(("up", "in"), ("class_0",), what="m")

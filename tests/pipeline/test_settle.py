"""What config and weights make of each other, before anything starts."""

import pytest

from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.model import Architecture, ModelSpec
from pipeline.settle import settle


@pytest.mark.parametrize("channels", [1, 10])
def test_weights_for_other_than_colour_pictures_are_refused(channels: int) -> None:
    architecture = Architecture(frames=8, classes=2, in_channels=channels)
    spec = ModelSpec(
        name="flow", architecture=architecture, labels=("a", "b"), mean=(0.5,), std=(0.5,)
    )
    with pytest.raises(ConfigError, match=f"flow takes {channels} channels per frame"):
        settle(Config(), spec)

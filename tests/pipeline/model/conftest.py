"""Small networks with weights that leave no part of them idle, and windows for them."""

from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from pipeline.model import AnyArchitecture, ModelSpec, Recognizer, VideoNetwork, build
from pipeline.model.bundle import digest_of
from pipeline.records import Clock, Session, TimeOfDay, Window, WindowSpan, read_only
from tests.golden.recipe import make_state

SMALL = {"blocks": (2, 3, 2, 2), "width": 16, "beta": 2, "frames": 4, "classes": 5}

RELATIVES: dict[str, dict[str, object]] = {
    "blvnet-tam": SMALL,
    "blvnet-tsm": SMALL,
    "blvnet": SMALL | {"big_input": "low"},
    "tam-blresnet": SMALL,
    "tsm-blresnet": SMALL,
    "tsn-blresnet": SMALL,
    "tam-resnet": {"blocks": (2, 1, 1, 1), "width": 8, "frames": 4, "classes": 5},
    "tsm-resnet": {"blocks": (1, 2, 1, 1), "width": 8, "frames": 4, "classes": 5},
    "tsn-resnet": {"blocks": (1, 1, 2, 1), "width": 8, "frames": 4, "classes": 5, "block": "basic"},
    "i3d-resnet": {"blocks": (1, 1, 1, 2), "width": 8, "frames": 4, "classes": 5},
    "i3d-tam-resnet": {"blocks": (2, 1, 1, 1), "width": 8, "frames": 4, "classes": 5},
}
"""Small members of every family."""


@pytest.fixture(params=RELATIVES)
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small networks gain nothing from a second one, and lose much where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_architecture() -> Callable[..., AnyArchitecture]:
    """A small member of a family, by default of the paper's own."""

    def make(family: str = "blvnet-tam", **said: object) -> AnyArchitecture:
        parts = {"family": family, **RELATIVES[family], **said}
        return TypeAdapter(AnyArchitecture).validate_python(parts)

    return make


@pytest.fixture
def make_network(make_architecture: Callable[..., AnyArchitecture]) -> Callable[..., VideoNetwork]:
    """A network drawn from the recipe of the golden vectors."""

    def make(seed: int = 1, **said: object) -> VideoNetwork:
        network = build(make_architecture(**said)).eval()
        shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
        drawn = make_state(shapes, seed)
        network.load_state_dict({name: torch.from_numpy(a) for name, a in drawn.items()})
        return network

    return make


@pytest.fixture
def make_recognizer(make_network: Callable[..., VideoNetwork]) -> Callable[..., Recognizer]:
    def make(
        size_px: int = 32, spec: dict[str, object] | None = None, **said: object
    ) -> Recognizer:
        network = make_network(**said)
        classes = network.architecture.classes
        parts: dict[str, object] = {
            "name": "small",
            "architecture": network.architecture,
            "labels": tuple(f"class_{n}" for n in range(classes)),
            "size_px": size_px,
        }
        made = ModelSpec.model_validate(parts | (spec or {}))
        digest = digest_of(network.state_dict(), made)
        return Recognizer(network, made, digest, torch.device("cpu"))

    return make


@pytest.fixture
def make_window() -> Callable[..., Window]:
    """A window of noise for a spec, another one for each seed."""

    def make(
        spec: ModelSpec, seed: int = 0, size_px: int | None = None, stream_id: str = "cam"
    ) -> Window:
        rng = np.random.default_rng(seed)
        pairs = spec.architecture.pairs
        size = size_px or spec.size_px
        low = size // 2 if spec.architecture.big_input == "low" else size
        session = Session(stream_id=stream_id, session_id="s", kind="file", sample_fps=Fraction(8))
        return Window(
            span=WindowSpan(
                session=session,
                first_ordinal=2 * seed,
                last_ordinal=2 * seed + 2 * pairs - 1,
                start_ns=seed,
                end_ns=seed + 1,
                time_of_day=TimeOfDay(clock=Clock.WALL, offset_s=None),
                arrived_s=0.0,
            ),
            pts_ns_T=read_only(np.arange(2 * pairs, dtype=np.int64)),
            little_PHWC=read_only(rng.integers(0, 256, (pairs, size, size, 3), np.uint8)),
            big_PHWC=read_only(rng.integers(0, 256, (pairs, low, low, 3), np.uint8)),
        )

    return make

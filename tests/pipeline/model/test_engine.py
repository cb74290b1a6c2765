"""The engine says what the network says, for every family, shape and number of windows."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from pipeline.model import ModelSpec, VideoNetwork
from pipeline.model.engine import RECORDINGS, Engine, Pointwise, multiply_pointwise, normalised

Make = Callable[..., VideoNetwork]
Frames = tuple[Tensor, Tensor]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def frames_for(network: VideoNetwork, n: int, height: int = 33, width: int = 40) -> Frames:
    """Bytes of n windows, [N, P, H, W, 3] for each branch."""
    a = network.architecture
    generator = torch.Generator().manual_seed(n)

    def noise(high: int, wide: int) -> Tensor:
        shape = (n, a.pairs, high, wide, 3)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    low = a.big_input == "low"
    return noise(height, width), noise(-(-height // 2), -(-width // 2)) if low else noise(
        height, width
    )


def engine_for(network: VideoNetwork) -> Engine:
    a = network.architecture
    labels = tuple(f"class_{n}" for n in range(a.classes))
    return Engine(network, ModelSpec(name="x", architecture=a, labels=labels, mean=MEAN, std=STD))


@torch.inference_mode()
def plainly(network: VideoNetwork, frames: Frames) -> Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    little, big = (normalised(some, mean, std) for some in frames)
    return network.forward_pairs(little, big).softmax(dim=1)


def test_a_recording_holds_for_any_number_of_windows(make_network: Make, family: str) -> None:
    network = make_network(family=family)
    engine = engine_for(network)
    for n in (2, 1, 5, 3):
        frames = frames_for(network, n)
        torch.testing.assert_close(engine(*frames), plainly(network, frames), rtol=0, atol=1e-5)


@pytest.mark.parametrize("changes", [{"taps": 5}, {"alpha": 3, "dropout": 0.5}, {"frames": 2}])
@pytest.mark.parametrize("big_input", ["high", "low"])
def test_other_members_too(make_network: Make, big_input: str, changes: dict[str, float]) -> None:
    network = make_network(**({"big_input": big_input} | changes))
    engine = engine_for(network)
    for n in (1, 3):
        frames = frames_for(network, n)
        torch.testing.assert_close(engine(*frames), plainly(network, frames), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_frames_pooled_over_time_too(make_network: Make, pooling: str) -> None:
    network = make_network(family="tam-resnet", frames=8, temporal_pooling=pooling)
    frames = frames_for(network, 2)
    found = engine_for(network)(*frames)
    torch.testing.assert_close(found, plainly(network, frames), rtol=0, atol=1e-5)


def test_shapes_beyond_the_recordings_are_scored_without_one(make_network: Make) -> None:
    network = make_network()
    engine = engine_for(network)
    for n in range(RECORDINGS + 2):
        frames = frames_for(network, 2, height=32 + n)
        torch.testing.assert_close(engine(*frames), plainly(network, frames), rtol=0, atol=1e-5)
    again = frames_for(network, 2)
    torch.testing.assert_close(engine(*again), plainly(network, again), rtol=0, atol=1e-5)


@pytest.mark.parametrize("how", ["fails", "says something else"])
def test_without_recordings_passes_run_step_by_step(
    make_network: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    def trace(module: nn.Module, frames: Frames, **_: object) -> object:
        if how == "fails":
            raise RuntimeError("no longer supported\nsee elsewhere")
        return lambda *frames: module(*frames) + 1e-3

    monkeypatch.setattr(torch.jit, "trace", trace)
    monkeypatch.setattr(torch.jit, "freeze", lambda traced: traced)
    network = make_network()
    engine = engine_for(network)
    for n in (1, 3):
        frames = frames_for(network, n)
        torch.testing.assert_close(engine(*frames), plainly(network, frames), rtol=0, atol=1e-5)
    (line,) = caplog.messages
    assert line.startswith("passes can't be recorded, and take longer: ")
    assert "\n" not in line


def test_shapes_the_network_refuses_are_refused(make_network: Make) -> None:
    network = make_network()
    engine = engine_for(network)
    little, big = frames_for(network, 1)
    for _ in range(2):
        with pytest.raises(ValueError, match="want little and big frames"):
            engine(little, big[:, :1])
    torch.testing.assert_close(engine(little, big), plainly(network, (little, big)))


def test_threads_may_score_at_once(make_network: Make) -> None:
    network = make_network()
    engine = engine_for(network)
    batches = [frames_for(network, 1 + n % 3) for n in range(24)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda frames: engine(*frames), batches))
    for scores, frames in zip(found, batches, strict=True):
        torch.testing.assert_close(scores, plainly(network, frames), rtol=0, atol=1e-5)


def test_only_convolutions_of_single_points_become_products(make_network: Make) -> None:
    network = make_network(family="tam-resnet")  # strided 1x1 convolutions, and depthwise taps
    kinds = {name: type(module) for name, module in network.named_modules()}
    wanted = {
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
        and (module.kernel_size, module.stride, module.groups) == ((1, 1), (1, 1), 1)
    }
    assert wanted
    multiply_pointwise(network)
    changed = {name for name, m in network.named_modules() if type(m) is not kinds[name]}
    assert changed == wanted
    assert all(isinstance(network.get_submodule(name), Pointwise) for name in changed)


def test_the_network_is_left_as_it_is(make_network: Make) -> None:
    network = make_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    frames = frames_for(network, 1)
    engine_for(network)(*frames)
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())
    assert next(network.parameters()).requires_grad


def test_on_meta_nothing_is_recorded(make_network: Make) -> None:
    """As on a GPU: the same steps, one by one, wherever the weights are."""
    network = make_network().to("meta")
    little, big = frames_for(network, 2)
    scores = engine_for(network)(little, big)
    assert (scores.shape, scores.device.type) == ((2, 5), "meta")

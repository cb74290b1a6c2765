"""Windows in, scores out: the fast copy says what the network says."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from pipeline.errors import ConfigError, ModelError
from pipeline.model import DEFAULT_PATH, Recognizer, load
from pipeline.model.device import pick
from pipeline.model.engine import Engine, fold_batch_norms
from pipeline.records import Window
from pipeline.training.motions import LABELS

Make = Callable[..., Recognizer]
MakeWindow = Callable[..., Window]


def plainly(recognizer: Recognizer, window: Window) -> np.ndarray:
    """Scores by the network itself, from pixels put in place one by one."""
    spec = recognizer.spec
    mean = np.broadcast_to(np.array(spec.mean), 3)
    std = np.broadcast_to(np.array(spec.std), 3)
    little, big = (
        torch.from_numpy(((frames / 255 - mean) / std).astype(np.float32).transpose(0, 3, 1, 2))
        for frames in (window.little_PHWC, window.big_PHWC)
    )
    with torch.inference_mode():
        logits_K = recognizer.network.forward_pairs(little[None], big[None])[0]
    if spec.score == "sigmoid":
        return torch.sigmoid(logits_K).numpy()
    return torch.softmax(logits_K, 0).numpy()


@pytest.mark.parametrize("big_input", ["high", "low"])
def test_one_that_is_warm_has_nothing_left_to_record(
    make_recognizer: Make,
    make_window: MakeWindow,
    monkeypatch: pytest.MonkeyPatch,
    big_input: str,
) -> None:
    recorded, record = [], Engine._recorded
    monkeypatch.setattr(Engine, "_recorded", lambda *all_: recorded.append(1) or record(*all_))
    recognizer = make_recognizer(big_input=big_input)
    recognizer.warm()
    assert recorded == [1]
    recognizer.scores([make_window(recognizer.spec, seed) for seed in range(3)])
    assert recorded == [1]


@pytest.mark.parametrize("big_input", ["high", "low"])
@pytest.mark.parametrize("taps", [3, 5])
def test_scores_are_those_of_the_network(
    make_recognizer: Make, make_window: MakeWindow, big_input: str, taps: int
) -> None:
    recognizer = make_recognizer(big_input=big_input, taps=taps)
    windows = [make_window(recognizer.spec, seed) for seed in range(5)]
    answers = recognizer.scores(windows)
    assert [answer.span for answer in answers] == [window.span for window in windows]
    for answer, window in zip(answers, windows, strict=True):
        assert np.abs(answer.scores_K - plainly(recognizer, window)).max() < 1e-4
        assert answer.scores_K.sum() == pytest.approx(1, abs=1e-5)
        assert not answer.scores_K.flags.writeable
        assert answer.scores_K.dtype == np.float32


def test_a_window_scores_the_same_in_any_batch(
    make_recognizer: Make, make_window: MakeWindow
) -> None:
    recognizer = make_recognizer()
    windows = [make_window(recognizer.spec, seed) for seed in range(4)]
    together = recognizer.scores(windows)
    for answer, window in zip(together, windows, strict=True):
        (alone,) = recognizer.scores([window])
        assert np.abs(answer.scores_K - alone.scores_K).max() < 1e-4
    assert recognizer.scores([]) == []


def test_sigmoid_lets_several_labels_hold(make_recognizer: Make, make_window: MakeWindow) -> None:
    recognizer = make_recognizer(spec={"score": "sigmoid"})
    window = make_window(recognizer.spec)
    (answer,) = recognizer.scores([window])
    assert np.abs(answer.scores_K - plainly(recognizer, window)).max() < 1e-4


@pytest.mark.parametrize("values", [{"mean": (0.5,)}, {"std": (0.3,)}, {"mean": (0,), "std": (1,)}])
def test_one_value_stands_for_all_colours(
    make_recognizer: Make, make_window: MakeWindow, values: dict[str, object]
) -> None:
    recognizer = make_recognizer(spec=values)
    window = make_window(recognizer.spec)
    (answer,) = recognizer.scores([window])
    assert np.abs(answer.scores_K - plainly(recognizer, window)).max() < 1e-4


def test_pictures_are_no_input_for_ten_channels(
    make_recognizer: Make, make_window: MakeWindow
) -> None:
    recognizer = make_recognizer(in_channels=10, spec={"mean": (0.5,), "std": (0.5,)})
    with pytest.raises(ModelError, match="takes 10 channels per frame, and pictures have 3"):
        recognizer.scores([make_window(recognizer.spec)])


def test_windows_of_another_shape_are_errors(
    make_recognizer: Make, make_window: MakeWindow
) -> None:
    spec = make_recognizer(frames=6).spec
    with pytest.raises(ValueError, match="want little and big frames"):
        make_recognizer(frames=4).scores([make_window(spec)])


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_folding_leaves_no_batch_norm_and_no_difference(
    make_recognizer: Make, dropout: float
) -> None:
    network = make_recognizer(dropout=dropout, alpha=3).network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = fold_batch_norms(network)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    clip = torch.randn(2, 4, 3, 39, 33)
    with torch.inference_mode():
        torch.testing.assert_close(folded(clip), network(clip), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(network.state_dict()[n], tensor) for n, tensor in before.items())


def test_the_default_model_comes_along(make_window: MakeWindow) -> None:
    recognizer = load("default", device="cpu")
    assert DEFAULT_PATH.stat().st_size <= 12 * 2**20
    spec = recognizer.spec
    assert spec.labels == LABELS
    assert set(spec.suggests.background) < set(LABELS)
    assert {"data", "recipe", "seed", "accuracy"} <= set(spec.provenance)
    window = make_window(spec)
    (answer,) = recognizer.scores([window])
    assert np.abs(answer.scores_K - plainly(recognizer, window)).max() < 1e-4


def test_a_device_that_is_not_there_is_an_error() -> None:
    assert pick("cpu").type == "cpu"
    for name in ("tpu9", "meta", ""):
        with pytest.raises(ConfigError, match=f"no such device: '{name}'"):
            pick(name)
    if not torch.cuda.is_available():
        assert pick("auto").type == "cpu"
        with pytest.raises(ConfigError, match="finds no GPU"):
            pick("cuda")

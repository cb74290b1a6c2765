"""Work in place saves memory and may spoil gradients: here they are those of plain arithmetic."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pipeline.model.blvnet import halve
from pipeline.model.tam import TAM
from tests.pipeline.model import plain

Make = Callable[..., torch.nn.Module]


def drawn(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(len(shape) + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def make_tam(taps: int) -> TAM:
    """With weights away from zero, so that no sum stands where relu has no slope."""
    tam = TAM(3, taps).double()
    for n, parameter in enumerate(tam.parameters()):
        torch.nn.init.uniform_(parameter, 0.2 + n, 0.4 + n)
    return tam


def out_of_place(tam: TAM, x_NTCHW: Tensor) -> Tensor:
    """The formula, tap by tap, on a clip with zeros before and after it."""
    half, frames = tam.taps // 2, x_NTCHW.shape[1]
    around = torch.nn.functional.pad(x_NTCHW, (0, 0) * 3 + (half, half))
    layers = [tam.prev, tam.curr, tam.next] if tam.taps == 3 else list(tam.blending_layers)
    terms = [
        around[:, i : i + frames] * layer.weight.reshape(-1, 1, 1) for i, layer in enumerate(layers)
    ]
    return torch.stack(terms).sum(dim=0).relu()


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("taps", [1, 3, 5])
def test_tam_passes_the_gradient_of_its_formula(taps: int, frames: int) -> None:
    tam, x_NTCHW = make_tam(taps), drawn(2, frames, 3, 2, 2)
    inputs = [x_NTCHW, *tam.parameters()]
    weight = drawn(2, frames, 3, 2, 2).detach()
    found = torch.autograd.grad((tam(x_NTCHW) * weight).sum(), inputs)
    wanted = torch.autograd.grad((out_of_place(tam, x_NTCHW) * weight).sum(), inputs)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    assert torch.autograd.gradcheck(lambda x, *_: tam(x), inputs)


@pytest.mark.parametrize("taps", [1, 3, 5])
def test_tam_over_pairs_and_sizes_passes_its_gradient(taps: int) -> None:
    tam = make_tam(taps)
    pairs, big = drawn(1, 3, 3, 2, 2), drawn(1, 3, 3, 1, 1)
    parameters = list(tam.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: tam.pairs(x), [pairs, *parameters])

    def mixed(little: Tensor, big: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
        return tam.interleaved(
            little,
            big,
            up=lambda x: x.expand(-1, -1, -1, 2, 2),
            down=lambda x: halve(x.flatten(0, 1)).reshape(1, 3, 3, 1, 1),
        )

    assert torch.autograd.gradcheck(mixed, [pairs, big, *parameters])


@pytest.mark.parametrize("big_input", ["high", "low"])
def test_the_network_passes_the_gradients_of_its_plain_form(
    make_network: Make, big_input: str
) -> None:
    """In evaluation, where the plain form is written down; the next test looks at training."""
    network = make_network(big_input=big_input, dropout=0.0).double()
    clip_TCHW = drawn(4, 3, 36, 36).detach()
    named = dict(network.named_parameters())
    network(clip_TCHW[None])[0, 1].backward()
    state = {n: t.detach().clone() for n, t in network.state_dict().items()}
    for name in named:
        state[name].requires_grad_()
    blocks = network.architecture.blocks
    plain.logits(state, clip_TCHW, blocks, low=big_input == "low")[1].backward()
    for name, parameter in named.items():
        wanted = state[name].grad
        assert wanted is not None
        assert parameter.grad is not None
        assert (parameter.grad - wanted).abs().max() <= 1e-9 * wanted.abs().max() + 1e-15, name


def test_the_slope_in_training_is_what_the_gradient_says(make_network: Make, family: str) -> None:
    check_slope(make_network(family=family, dropout=0.0))


def test_the_slope_with_pooled_and_strided_time(make_network: Make) -> None:
    for pooling in ("max", "avg"):
        check_slope(make_network(family="tam-resnet", temporal_pooling=pooling, dropout=0.0))
    check_slope(make_network(family="i3d-tam-resnet", temporal_stride=2, dropout=0.0))


def check_slope(network: torch.nn.Module) -> None:
    """One step along the gradient, forth and back, changes the loss by as much as it says."""
    network = network.double().train()
    a = network.architecture
    clip_NTCHW = drawn(3, a.frames, a.in_channels, 32, 32).detach()
    parameters = list(network.parameters())

    def loss() -> Tensor:
        return torch.nn.functional.cross_entropy(network(clip_NTCHW), torch.tensor([0, 1, 2]))

    gradients = torch.autograd.grad(loss(), parameters)
    square = sum(float(g.square().sum()) for g in gradients)
    step = 1e-7 / square**0.5
    values = []
    with torch.no_grad():
        for times in (1, -2):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter += times * step * gradient
            values.append(float(loss()))
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(square, rel=1e-4)

"""What is decayed, and what is averaged."""

import torch

from pipeline.model import architecture_of, build
from pipeline.training.config import OptimizerSpec
from pipeline.training.optimise import Average, make_optimizer


def test_taps_batch_norms_and_biases_are_not_decayed() -> None:
    network = build(architecture_of("blvnet-tam-small", classes=3))
    optimizer = make_optimizer(network, OptimizerSpec(weight_decay=0.1))
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    decayed, kept = (
        {names[id(parameter)] for parameter in group["params"]} for group in optimizer.param_groups
    )
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert decayed | kept == set(names.values())
    assert {name for name in names.values() if ".tam." in name or "bn" in name} <= kept
    assert "new_fc.bias" in kept
    assert "new_fc.weight" in decayed
    assert "baseline_model.conv1.weight" in decayed


def test_both_optimizers_change_every_parameter() -> None:
    for spec in (OptimizerSpec(kind="sgd"), OptimizerSpec(kind="adamw", lr=1e-3)):
        network = build(architecture_of("blvnet-tam-small", classes=3, width=8))
        before = {name: tensor.clone() for name, tensor in network.named_parameters()}
        optimizer = make_optimizer(network, spec)
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        assert all(not torch.equal(before[n], p) for n, p in network.named_parameters())


def test_the_average_moves_by_what_the_decay_leaves() -> None:
    network = build(architecture_of("blvnet-tam-small", classes=3, width=8))
    average = Average(network, decay=0.9)
    start = network.classifier.weight.detach().clone()
    with torch.no_grad():
        network.classifier.weight.add_(1.0)
    average.update(step=0)  # (1 + 0) / (10 + 0) = 0.1 is kept
    torch.testing.assert_close(average.network.classifier.weight.data, start + 0.9)
    average.update(step=1_000_000)
    torch.testing.assert_close(average.network.classifier.weight.data, start + 0.91)


def test_without_decay_the_average_is_the_network() -> None:
    network = build(architecture_of("blvnet-tam-small", classes=3, width=8))
    average = Average(network, decay=0.0)
    with torch.no_grad():
        network.classifier.weight.add_(1.0)
    average.update(step=5)
    assert torch.equal(average.network.classifier.weight, network.classifier.weight)

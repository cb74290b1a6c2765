"""A default model until there are trained weights: seeded, small, and honest about it.

Its features are those of random weights; the classifier is centred and scaled on given windows, so
that labels change as the picture does. What the labels say means nothing.
"""

from collections.abc import Sequence

import torch

from pipeline.config import EventSpec
from pipeline.model.blvnet import BLVNet, Bottleneck
from pipeline.model.bundle import digest_of
from pipeline.model.recognizer import Recognizer
from pipeline.model.spec import Architecture, ModelSpec, Suggests
from pipeline.records import Window

SEED = 20191208  # the first day of NeurIPS 2019
LABELS = ("background", *(f"placeholder_{n}" for n in range(1, 8)))
SHARPNESS = 3.0  # spread of a label's logit over the windows: enough for a leader, not for one only


def placeholder_spec() -> ModelSpec:
    """A member of the family of about 1.4 M parameters, with a low-resolution Big input."""
    return ModelSpec(
        name="placeholder-blvnet-tam-small",
        architecture=Architecture(
            blocks=(2, 2, 3, 2),
            width=16,
            beta=2,
            frames=8,
            classes=len(LABELS),
            big_input="low",
        ),
        labels=LABELS,
        size_px=96,
        suggests=Suggests(hop=4, events=EventSpec(enter=0.5, exit=0.3), background=("background",)),
        provenance={
            "training": "none: seeded random weights, so its labels mean nothing",
            "seed": str(SEED),
        },
    )


def make_placeholder(windows: Sequence[Window]) -> Recognizer:
    """The placeholder whose labels change over these windows: at least two of its spec's shape."""
    spec = placeholder_spec()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        assert isinstance(spec.architecture, Architecture)
        network = BLVNet(spec.architecture).eval()
        for module in network.modules():
            if isinstance(module, Bottleneck):  # zero as initialised, which would skip the block
                torch.nn.init.constant_(module.bn3.weight, 0.5)
        directions_KF = torch.randn(network.classifier.weight.shape)
    _halve_precision(network)
    _fit_classifier(network, spec, windows, directions_KF)
    return Recognizer(network, spec, digest_of(network.state_dict(), spec), torch.device("cpu"))


def _fit_classifier(
    network: BLVNet, spec: ModelSpec, windows: Sequence[Window], directions_KF: torch.Tensor
) -> None:
    """Random directions in features whitened by half: mean 0 and one spread for each label."""
    features_WF = _features(network, spec, windows)
    mean_F = features_WF.mean(dim=0)
    _, _, basis_RF = torch.linalg.svd(features_WF - mean_F, full_matrices=False)
    leading_RF = basis_RF[: len(LABELS)]
    projected_WR = (features_WF - mean_F) @ leading_RF.T
    weights_KF = directions_KF[:, : len(leading_RF)] @ (
        leading_RF / projected_WR.std(dim=0).sqrt().clamp_min(1e-3)[:, None]
    )
    spread_K = ((features_WF - mean_F) @ weights_KF.T).std(dim=0).clamp_min(1e-6)
    network.classifier.weight.data = weights_KF * (SHARPNESS / spread_K)[:, None]
    network.classifier.bias.data = -network.classifier.weight.data @ mean_F


def _features(network: BLVNet, spec: ModelSpec, windows: Sequence[Window]) -> torch.Tensor:
    """Pooled features of each window, [W, F]."""
    recognizer = Recognizer(network, spec, "", torch.device("cpu"))
    with torch.inference_mode():
        taken = [network.baseline_model(*recognizer.inputs([window])) for window in windows]
    return torch.stack([features_PF.mean(dim=0) for features_PF in taken])


def _halve_precision(network: BLVNet) -> None:
    """Round to what float16 holds, so that the bundle takes half the room."""
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().float())

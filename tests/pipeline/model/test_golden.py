"""What the published implementation computed, through ``load`` and its authors' file format."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.model import Architecture, ResNetArchitecture, load
from tests.golden import recipe

GOLDEN = Path(recipe.__file__).parent
CASES = {
    "blvnet-tam-50-f4x2-small": "st2stv2x-bLVNet-TAM-50-a2-b4-f4x2.pth.tar",
    "blvnet-tam-50-f4x2-blending5": "mine-bLVNet-TAM-50-a2-b4-f4x2.pth.tar",
    "blvnet-tam-50-f8x2": "st2stv2-bLVNet-TAM-50-a2-b4-f8x2.pth.tar",
    "blvnet-tam-101-f8x2": "st2stv1-bLVNet-TAM-101-a2-b4-f8x2.pth.tar",
}


def drawn(case: dict) -> dict[str, torch.Tensor]:
    state = recipe.make_state(case["state_dict"], case["seed"])
    return {name: torch.from_numpy(np.asarray(array)) for name, array in state.items()}


def close(found: torch.Tensor, wanted: np.ndarray) -> bool:
    return bool(np.abs(found.numpy() - wanted).max() <= 1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("name", CASES)
def test_the_published_logits_come_out_of_a_file_as_its_authors_wrote_it(
    name: str, tmp_path: Path
) -> None:
    case = json.loads((GOLDEN / f"{name}.json").read_text())
    path = tmp_path / CASES[name]
    state = {f"module.{key}": tensor for key, tensor in drawn(case).items()}
    best = np.float64(61.7)
    torch.save({"state_dict": state, "epoch": 3, "arch": "x", "best_top1": best}, path)
    recognizer = load(path, device="cpu")
    clip = torch.from_numpy(recipe.make_clip(case["clip"], case["seed"]))
    with torch.inference_mode():
        logits_NK = recognizer.network(clip)
    golden = np.load(GOLDEN / f"{name}.npz")
    assert close(logits_NK, golden["logits"])
    assert close(logits_NK, golden["logits_float64"])
    a, said = recognizer.spec.architecture, case["model"]
    assert isinstance(a, Architecture)
    assert (a.depth, a.alpha, a.beta, a.frames, a.taps, a.classes) == (
        said["depth"],
        said["alpha"],
        said["beta"],
        said["frames"],
        said["blending_frames"],
        said["classes"],
    )


@pytest.mark.parametrize("dropout", [True, False])
def test_a_bare_state_dict_loads_with_either_place_of_the_classifier(
    dropout: bool, tmp_path: Path
) -> None:
    name = "blvnet-tam-50-f4x2-small"
    case = json.loads((GOLDEN / f"{name}.json").read_text())
    state = drawn(case)
    if not dropout:
        state = {k.replace("new_fc", "baseline_model.fc"): v for k, v in state.items()}
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    recognizer = load(path, device="cpu", frames=8)
    clip = torch.from_numpy(recipe.make_clip(case["clip"], case["seed"]))
    with torch.inference_mode():
        assert close(recognizer.network(clip), np.load(GOLDEN / f"{name}.npz")["logits"])
    assert (recognizer.spec.architecture.dropout > 0) == dropout


RESNETS = {
    "tam-resnet-50-f8": "K400-TAM-ResNet-50-f8.pth.tar",
    "tsn-resnet-18-f8": "st2stv2-rgb-resnet-18-f8-cosine-bs64-e50.pth.tar",
}


@pytest.mark.parametrize("name", RESNETS)
def test_resnets_for_video_load_as_their_authors_wrote_them(name: str, tmp_path: Path) -> None:
    case = json.loads((GOLDEN / f"{name}.json").read_text())
    path = tmp_path / RESNETS[name]
    state = {f"module.{key}": tensor for key, tensor in drawn(case).items()}
    torch.save({"state_dict": state, "epoch": 3, "arch": "x"}, path)
    recognizer = load(path, device="cpu")
    clip = torch.from_numpy(recipe.make_clip(case["clip"], case["seed"]))
    with torch.inference_mode():
        logits_NK = recognizer.network(clip)
    golden = np.load(GOLDEN / f"{name}.npz")
    assert close(logits_NK, golden["logits"])
    assert close(logits_NK, golden["logits_float64"])
    a, said = recognizer.spec.architecture, case["model"]
    assert isinstance(a, ResNetArchitecture)
    assert (a.family, a.depth, a.frames, a.classes, a.temporal_pooling) == (
        said["family"],
        said["depth"],
        said["frames"],
        said["classes"],
        "none",
    )

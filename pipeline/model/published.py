"""Checkpoints as the papers' authors release them, read without running what they contain.

A file is a pickled state dict, or a dict that holds one under ``state_dict``; names may carry
``module.``. The architecture is read off names and shapes. What they can't tell, the number of
frames, is in the file's name: ``<dataset>-bLVNet-TAM-<depth>-a<alpha>-b<beta>-f<pairs>x2``. Two
people lost 8 to 16 points of accuracy to names that did not match and were skipped without a
word, so nothing is skipped here.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pipeline.config import describe
from pipeline.errors import CheckpointMismatch, ModelError
from pipeline.model.published_resnet import is_resnet, read_resnet, read_resnet_name
from pipeline.model.tensors import State, count, shape
from pipeline.spec import PUBLISHED_BLOCKS, AnyArchitecture, Architecture, Pooling

DATASET_CLASSES = {
    "st2stv1": 174,
    "st2stv2": 174,
    "ssv1": 174,
    "ssv2": 174,
    "kinetics400": 400,
    "k400": 400,
}
PUBLISHED_WIDTH, PUBLISHED_BETA = 64, 4

_NAME = re.compile(
    r"(?:(?P<dataset>[\w.]+)-)?bLVNet-TAM-(?P<depth>\d+)-a(?P<alpha>\d+)-b(?P<beta>\d+)"
    r"-f(?P<pairs>\d+)x2",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class FileName:
    """What a file's name says, where it follows the authors' convention."""

    dataset: str | None
    depth: int
    alpha: int
    beta: int
    frames: int


def read_name(path: Path) -> FileName | None:
    """The name's parts, or None for another name."""
    match = _NAME.search(path.name)
    if match is None:
        return None
    depth, alpha, beta, pairs = (int(match[key]) for key in ("depth", "alpha", "beta", "pairs"))
    dataset = match["dataset"]
    return FileName(dataset and dataset.lower(), depth, alpha, beta, 2 * pairs)


def read_dataset(path: Path) -> str | None:
    """The data set that a file's name begins with, in small letters."""
    name = read_name(path) or read_resnet_name(path)
    return name.dataset if name else None


def read_architecture(
    state: State,
    path: Path,
    *,
    frames: int | None,
    beta: int | None = None,
    temporal_pooling: Pooling | None = None,
) -> AnyArchitecture:
    """The architecture that names and shapes tell, completed by file name and arguments.

    Raises:
        CheckpointMismatch: another family of networks, or tensors missing.
        ModelError: the number of frames isn't known, or what was said contradicts the tensors.
    """
    _check_family(state, path)
    if is_resnet(state):
        if beta is not None:
            raise ModelError(f"{path}: beta={beta} was given, but a plain ResNet has none")
        return read_resnet(state, path, frames=frames, pooling=temporal_pooling)
    if temporal_pooling not in (None, "none"):
        raise ModelError(f"{path}: {temporal_pooling=} was given, but bLVNet-TAM pools no frames")
    return _read_blvnet(state, path, frames=frames, beta=beta)


def _read_blvnet(state: State, path: Path, *, frames: int | None, beta: int | None) -> Architecture:
    name = read_name(path)
    frames = _agreed("frames", frames, name.frames if name else None, path)
    beta = _agreed("beta", beta, name.beta if name else None, path)
    if frames is None:
        raise ModelError(
            f"{path}: the tensors don't tell how many frames (T) it takes, and the file's name is "
            "not like st2stv2-bLVNet-TAM-50-a2-b4-f8x2.pth.tar; say frames=… (--frames)"
        )
    prefix = "baseline_model."
    blocks = _blocks(state, prefix, name, path)
    width, in_channels = shape(state, prefix + "conv1.weight", (64, 3))[:2]
    thin = shape(state, prefix + "layer3.little_e.0.weight", (1, 8 * width))[1]
    alpha = max(1, 16 * width // max(1, thin))  # where Little is widest, so that rounding is least
    little = tuple(count(state, f"{prefix}layer{n}.little.") for n in (1, 2, 3))
    dropout = "new_fc.weight" in state
    classifier = "new_fc.weight" if dropout else prefix + "fc.weight"
    if name is not None and name.alpha != alpha:
        raise ModelError(f"{path}: its name says alpha {name.alpha}, its tensors say {alpha}")
    try:
        return Architecture(
            blocks=blocks,
            width=width,
            alpha=alpha,
            beta=_beta(blocks, little, beta, path),
            taps=_taps(state, prefix),
            frames=frames,
            in_channels=in_channels,
            classes=shape(state, classifier, (1,))[0],
            dropout=0.5 if dropout else 0.0,
        )
    except ValidationError as error:
        raise CheckpointMismatch(f"{path}: no bLVNet-TAM is like this: {describe(error)}") from None


def _check_family(state: State, path: Path) -> None:
    if any(name.startswith("baseline_model.") for name in state):
        return
    if "bl_init.weight" in state:
        looks = "an image network (bLResNet), from which a video network can only start"
    elif is_resnet(state):
        return
    else:
        looks = f"something else (its first tensor is {next(iter(state))[:80]!r})"
    raise CheckpointMismatch(
        f"{path}: neither a bLVNet-TAM (no tensor is named baseline_model.…) nor a ResNet; "
        f"it looks like {looks}"
    )


def _agreed(what: str, said: int | None, named: int | None, path: Path) -> int | None:
    if said is not None and named is not None and said != named:
        raise ModelError(f"{path}: {what}={said} was given, but the file's name says {named}")
    return named if said is None else said


def _blocks(
    state: State, prefix: str, name: FileName | None, path: Path
) -> tuple[int, int, int, int]:
    """Blocks of layers 1 to 4: Big's and the fusing one; layer 4's as they are.

    A published network that lost the last blocks of a layer is not taken for a smaller one: what
    it should have is returned, so that the tensors it lacks are listed.
    """
    one, two, three = (count(state, f"{prefix}layer{n}.big.") + 1 for n in (1, 2, 3))
    found = (one, two, three, count(state, f"{prefix}layer4."))
    if found in PUBLISHED_BLOCKS.values():
        meant = None
    elif name is not None and name.depth in PUBLISHED_BLOCKS:
        meant = PUBLISHED_BLOCKS[name.depth]
    elif shape(state, prefix + "conv1.weight", (PUBLISHED_WIDTH,))[0] == PUBLISHED_WIDTH:
        meant = next((b for b in PUBLISHED_BLOCKS.values() if _lost_some(found, b)), None)
    else:
        meant = None
    if meant is not None and _lost_some(found, meant):
        return meant
    if name is not None and not _is_depth(name.depth, found):
        raise ModelError(
            f"{path}: its name says depth {name.depth}, its tensors have blocks {found}"
        )
    return found


def _is_depth(depth: int, blocks: tuple[int, int, int, int]) -> bool:
    """Whether a name may call these blocks so; depths and blocks that aren't published go along."""
    published = depth in PUBLISHED_BLOCKS or blocks in PUBLISHED_BLOCKS.values()
    return not published or PUBLISHED_BLOCKS.get(depth) == blocks


def _lost_some(found: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """One layer has fewer blocks than the whole, all others as many."""
    differing = [pair for pair in zip(found, whole, strict=True) if pair[0] != pair[1]]
    return len(differing) == 1 and differing[0][0] < differing[0][1]


def _beta(
    blocks: tuple[int, int, int, int], little: tuple[int, ...], said: int | None, path: Path
) -> int:
    """The beta that gives Little so many blocks; the least where several give the same network."""
    fits = [
        beta
        for beta in range(1, max(blocks) + 1)
        if tuple(max(1, count // beta - 1) for count in blocks[:3]) == little
    ]
    if not fits:  # Little lacks blocks, or has too many: they are listed later
        return said or PUBLISHED_BETA
    if said is None:
        return fits[0]
    if min(said, max(blocks)) not in fits:
        raise ModelError(
            f"{path}: beta is said to be {said}, but Little has {little} blocks in its tensors"
        )
    return said


def _taps(state: State, prefix: str) -> int:
    return (
        3 if f"{prefix}tam.curr.weight" in state else count(state, f"{prefix}tam.blending_layers.")
    )

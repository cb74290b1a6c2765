"""Named tensors: which of them count, and whether they are those of a network."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from pipeline.bundle import significant
from pipeline.errors import CheckpointMismatch, CheckpointRefused
from pipeline.model.family import bare
from pipeline.printable import printable
from pipeline.spec import AnyArchitecture

State = Mapping[str, Tensor]

LONGEST = 120  # characters of a name in a message
SHOWN = 8  # names listed in a message, of each kind


def check_tensors(state: State, architecture: AnyArchitecture, path: Path) -> None:
    """Names, shapes and values are those of a network of this architecture.

    Raises:
        CheckpointMismatch: names or shapes differ; the message lists them.
        CheckpointRefused: a weight is not a number, or infinite, or a variance below zero.
    """
    wanted = significant(bare(architecture).state_dict())
    given = significant(state)
    complaints = [
        listed("missing", (name for name in wanted if name not in given)),
        listed("left over", (name for name in given if name not in wanted)),
        listed(
            "of another shape",
            (
                f"{name} {list(given[name].shape)} instead of {list(tensor.shape)}"
                for name, tensor in wanted.items()
                if name in given and given[name].shape != tensor.shape
            ),
        ),
    ]
    if any(complaints):
        raise CheckpointMismatch(
            f"{path}: its tensors don't fit the network: {'; '.join(filter(None, complaints))}"
        )
    check_values(given, path)


def check_values(state: State, path: Path) -> None:
    """Every weight is a finite number, and no variance is below zero.

    Raises:
        CheckpointRefused: one isn't; the message names it.
    """
    for name, tensor in state.items():
        numbers = tensor.float()  # torch compares no uint16 and no float8
        if not numbers.isfinite().all():
            raise CheckpointRefused(
                f"{path}: {printable(name)} holds values that are not finite numbers"
            )
        if name.endswith(".running_var") and (numbers < 0).any():
            raise CheckpointRefused(f"{path}: {printable(name)} holds variances below zero")


def count(state: State, prefix: str) -> int:
    """How many numbered modules there are below a name."""
    heads = (name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix))
    return len({head for head in heads if head.isdigit()})


def shape(state: State, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """A tensor's shape; the default where it is missing, which is complained of later."""
    tensor = state.get(name)
    if tensor is None or tensor.ndim < len(default):
        return default
    return tuple(tensor.shape)


def listed(what: str, names: Iterable[str], shown: int = SHOWN) -> str:
    """``2 missing: a, b``, cut short; empty where there are none."""
    found = sorted(names)
    if not found:
        return ""
    more = f" and {len(found) - shown} more" if len(found) > shown else ""
    names = ", ".join(printable(name)[:LONGEST] for name in found[:shown])
    return f"{len(found)} {what}: {names}{more}"

"""The processes that train one network together; one is the usual number."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """Which of how many this process is; with several, torch's process group is there already."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this one evaluates, reports and saves."""
        return self.rank == 0

    def joined(self, feed: nn.Module) -> nn.Module:
        """The same module, whose gradients are the mean over all peers after ``backward``.

        Batch statistics are each peer's own in a step; those kept are the first one's.
        """
        return feed if self.size == 1 else DistributedDataParallel(feed)

    def apart(self, joined: nn.Module, *, last: bool) -> AbstractContextManager[None]:
        """While gradients accumulate, they stay here; the last batch of a step brings all."""
        if last or not isinstance(joined, DistributedDataParallel):
            return nullcontext()
        return joined.no_sync()

    def total(self, values: list[float]) -> list[float]:
        """Sums over all peers."""
        if self.size == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(sums)
        return [float(value) for value in sums]

    def wait(self) -> None:
        """Until every peer is here."""
        if self.size > 1:
            distributed.barrier()


ALONE = Peers()

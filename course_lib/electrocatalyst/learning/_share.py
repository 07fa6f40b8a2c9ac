"""The share of one process in a training on several: which graphs of a batch, and how to add up.

A batch is dealt out to the processes of the group of torch.distributed; without a group one process
has all of it. DistributedDataParallel averages the gradients of the processes, so each multiplies
its part of the batch's mean loss by their number. Then the average is the gradient of the whole
batch, also where the shares are of unequal size.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Share:
    """Process `rank` of `world` processes."""

    rank: int = 0
    world: int = 1

    @staticmethod
    def current() -> "Share":
        """Return the share of this process in the current group; everything without one."""
        if not (dist.is_available() and dist.is_initialized()):
            return Share()
        return Share(dist.get_rank(), dist.get_world_size())

    def wrap(self, net: nn.Module) -> nn.Module:
        """Return a network whose backward averages the gradients over the group.

        The weights of rank 0 are copied to all. On GPUs the statistics of batch norm are those of
        the whole batch; on CPUs each process has its own.
        """
        if self.world == 1:
            return net
        if next(net.parameters()).is_cuda:
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
        return DistributedDataParallel(net)

    def loss(
        self,
        loss_of: Callable[[nn.Module, list[int], list[int]], Tensor],
        net: nn.Module,
        pick: list[int],
    ) -> Tensor:
        """Return this process's part of the mean loss of the batch `pick`.

        A process that gets nothing of a small last batch takes part with weight 0: all must meet
        in backward.
        """
        mine = pick[self.rank :: self.world]
        return loss_of(net, mine, pick) if mine else 0 * loss_of(net, pick[:1], pick)

    def total(self, loss: Tensor) -> float:
        """Return the sum of the parts of all processes, the mean loss of the batch."""
        value = loss.detach().clone()
        if self.world > 1:
            dist.all_reduce(value)
        return float(value)


def device_of(rank: int) -> torch.device:
    """Return the GPU of this process on its machine, or the CPU where there is none.

    torch.distributed.run numbers the processes of each machine; without it, `rank` is that number.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local = int(os.environ.get("LOCAL_RANK", rank))
    return torch.device("cuda", local % torch.cuda.device_count())

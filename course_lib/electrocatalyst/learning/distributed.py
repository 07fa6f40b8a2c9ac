"""The same trainings on several GPUs or machines, one process each.

    python -m torch.distributed.run --nproc-per-node 4 \\
        -m course_lib.electrocatalyst.learning.distributed --only is2re --target runs

takes the arguments of `train_checkpoint`. Every process builds the same model and takes its share
of each batch; DistributedDataParallel averages the gradients. So the weights are those of one
process with the same batch, up to rounding. NCCL where there are GPUs, else gloo on CPUs. Inside
`process_group` all trainings of the package work this way.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from course_lib.electrocatalyst.learning import train_checkpoint
from course_lib.electrocatalyst.learning._share import Share, device_of


__all__ = ["Share", "device_of", "main", "process_group"]


@contextmanager
def process_group(
    rank: int | None = None, world: int | None = None, meet: str = "env://"
) -> Iterator[Share]:
    """Join the group of processes, and leave it at the end; yields this process's share.

    torch.distributed.run sets what is needed; else give `rank`, `world` and where to `meet`, such
    as "file:///tmp/some-new-file". Raises RuntimeError when neither is there.
    """
    if meet == "env://" and "RANK" not in os.environ:
        raise RuntimeError(
            "There is no group of processes to join. Start this with "
            "python -m torch.distributed.run --nproc-per-node 2 -m <module>."
        )
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(device_of(int(os.environ["RANK"]) if rank is None else rank))
    dist.init_process_group(
        "nccl" if gpus else "gloo",
        init_method=meet,
        rank=-1 if rank is None else rank,
        world_size=-1 if world is None else world,
    )
    try:
        yield Share.current()
    finally:
        dist.destroy_process_group()


def main(arguments: list[str] | None = None) -> None:
    """Run `train_checkpoint` with this process as one of many; rank 0 writes the files."""
    with process_group():
        train_checkpoint.main(arguments)


if __name__ == "__main__":
    main()

"""Experiments for the tests of sweep, in a module that worker processes can import."""

import os
import signal
import sys
import time
from pathlib import Path


def square(base, seed=0):
    """One row; says through which threads torch and NumPy would run."""
    return {"square": base**2 + seed, "threads": os.environ["OMP_NUM_THREADS"]}


def moods(mood, marks):
    """What an experiment may do; leaves one mark per call in the folder `marks`."""
    (Path(marks) / f"{mood}-{time.monotonic_ns()}").touch()
    print("noise", flush=True)
    print("more noise", file=sys.stderr, flush=True)
    if mood == "raises":
        raise ArithmeticError("the loss\nis not a number")
    if mood == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if mood == "exits":
        raise SystemExit(3)
    if mood == "slow":
        time.sleep(0.5)
    if mood == "list":
        return [{"value": 1.5}, {"value": float("-inf"), "more": (1, 2)}]
    if mood == "odd":
        return {"value": {1, 2}}
    if mood == "nothing":
        return None
    if mood == "collides":
        return {"marks": 1}
    return {"value": float("nan")}


def threads_of_torch(n):
    """The threads of a torch that the experiment imports itself."""
    import torch

    return {"threads": torch.get_num_threads()}

"""Run one experiment over many settings, in local processes or on a Ray cluster.

    def experiment(width, seed):
        ...
        return {"loss": loss}

    found = sweep(experiment, grid(width=[64, 128], seed=[0, 1]), folder="runs")
    found.table  # width, seed, loss: one row per run
    found.failed  # the runs that raised an error or died, and why

One failed run does not lose the others, and with `folder` a second call runs only what is missing.
"""

from course_lib.sweep._sweep import Sweep, grid, sweep


__all__ = ["Sweep", "grid", "sweep"]

"""Runs as tasks of a Ray cluster, or of a Ray that lives on this machine while the sweep does."""

import logging
import os
import sys
from collections.abc import Callable, Generator
from typing import Any

from course_lib.sweep._run import DIED, Outcome, Setting, last_line_sent, run


OBJECTS = 256 * 2**20  # bytes of the shared memory of a Ray started here; rows are small
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # A task without a GPU of its own sees the GPUs that a local run would see.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def outcomes(
    experiment: Callable[..., Any],
    settings: dict[int, Setting],
    taken: frozenset[str],
    workers: int | None,
    threads: int,
) -> Generator[tuple[int, Outcome], None, None]:
    """Yield `(number, outcome)` of each run as it finishes; closing it cancels the others."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)  # before Ray is imported
    try:
        import ray
        from ray.exceptions import OutOfMemoryError, RayError, WorkerCrashedError
    except ImportError as error:
        raise ImportError(
            'engine="ray" needs Ray, which is not installed: pip install "small-memory[cluster]"'
        ) from error

    ours = not ray.is_initialized()
    if ours:
        _connect(workers, threads)
    flying = {}
    try:
        task = ray.remote(num_cpus=threads, max_retries=0)(_task)
        sent, names = ray.put(experiment), iter(settings.items())
        limit = workers or len(settings)
        while True:
            while len(flying) < limit and (following := next(names, None)):
                number, setting = following
                flying[task.remote([sent], sys.path, setting, taken, threads)] = number
            if not flying:
                break
            for done in ray.wait(list(flying), num_returns=1)[0]:
                number = flying.pop(done)
                try:
                    outcome = ray.get(done)
                except (WorkerCrashedError, OutOfMemoryError):
                    outcome = Outcome(error=DIED)
                except RayError as error:
                    outcome = Outcome(error=last_line_sent(error))
                yield number, outcome
    finally:
        for left in flying:
            ray.cancel(left, force=True)
        if ours:
            ray.shutdown()


def _task(
    sent: list[Any], path: list[str], setting: Setting, taken: frozenset[str], threads: int
) -> Outcome:
    """Run with the caller's `sys.path`, which Ray does not hand on, as loky does."""
    import ray

    sys.path += [place for place in path if place not in sys.path]
    return run(ray.get(sent[0]), setting, taken, threads)


def _connect(workers: int | None, threads: int) -> None:
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)  # Ray reads the address itself
    else:
        import joblib

        ray.init(
            address="local",
            num_cpus=workers * threads if workers else max(joblib.cpu_count(), threads),
            object_store_memory=OBJECTS,
            include_dashboard=False,
            **quiet,
        )

"""Runs in processes of this machine.

loky, which comes with joblib, sends over functions of notebooks and of scripts. In one pool a
worker that is killed takes down all runs. So each worker is a pool of its own, and takes down its
own run only.
"""

import signal
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import Any

from course_lib.sweep._run import DIED, THREAD_NAMES, Outcome, Setting, last_line_sent, run


def outcomes(
    experiment: Callable[..., Any],
    settings: dict[int, Setting],
    taken: frozenset[str],
    workers: int | None,
    threads: int,
) -> Generator[tuple[int, Outcome], None, None]:
    """Yield `(number, outcome)` of each run as it finishes; closing it ends the processes."""
    import joblib
    from joblib.externals.loky import ProcessPoolExecutor

    environment = dict.fromkeys(THREAD_NAMES, str(threads))

    def worker() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, env=environment, initializer=_leave_ctrl_c_to_the_parent)

    count = workers or max(1, joblib.cpu_count() // threads)
    pools = [worker() for _ in range(min(count, len(settings)))]
    idle, waiting = list(range(len(pools))), deque(settings.items())
    busy: dict[Future, tuple[int, int]] = {}
    try:
        while waiting or busy:
            while waiting and idle:
                place, (number, setting) = idle.pop(), waiting.popleft()
                future = pools[place].submit(run, experiment, setting, taken, threads)
                busy[future] = number, place
            for future in _finished(busy):
                number, place = busy.pop(future)
                if isinstance(future.exception(), BrokenExecutor):
                    pools[place].shutdown(kill_workers=True)
                    pools[place] = worker()
                idle.append(place)
                yield number, _outcome(future)
    finally:
        for pool in pools:
            pool.shutdown(kill_workers=True)


def _finished(busy: Iterable[Future]) -> set[Future]:
    with warnings.catch_warnings():
        # loky replaces a worker that grew by 300 MB, between two runs; it warns of that.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        return wait(busy, return_when=FIRST_COMPLETED).done


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _outcome(future: Future) -> Outcome:
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, TerminatedWorkerError):
        return Outcome(error=DIED)
    return Outcome(error=last_line_sent(error))

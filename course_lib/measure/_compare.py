"""Time functions against each other, in turns, so that a slow minute hits all of them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import pandas as pd
import torch

from course_lib.measure._modules import check_callable


@dataclass(frozen=True)
class Comparison:
    """Seconds of each function in each round."""

    samples: dict[str, tuple[float, ...]]

    @property
    def seconds(self) -> dict[str, float]:
        """Median seconds by name."""
        return {name: median(times) for name, times in self.samples.items()}

    def ratio(self, name: str, *, to: str) -> float:
        """Return the median time of `name` over that of `to`; below 1 means faster."""
        for asked in (name, to):
            if asked not in self.samples:
                raise KeyError(f"no function named {asked!r}; there are {', '.join(self.samples)}")
        return self.seconds[name] / self.seconds[to]

    def table(self) -> pd.DataFrame:
        """Return one row per function: median, fastest and slowest seconds, ratio to the first."""
        first = next(iter(self.samples))
        rows = [
            (name, median(times), min(times), max(times), self.ratio(name, to=first))
            for name, times in self.samples.items()
        ]
        columns = ["name", "median s", "fastest s", "slowest s", f"ratio to {first}"]
        return pd.DataFrame(rows, columns=columns)

    def _repr_html_(self) -> str:
        return self.table().round(4).to_html(index=False)


def compare(
    functions: Mapping[str, Callable[[], Any]], *, rounds: int = 5, warmup: int = 1
) -> Comparison:
    """Time each function once per round, in turns, after `warmup` untimed rounds.

    Every second round runs backwards, and each pair starts with another function: so none always
    finds the caches as the same neighbor left them.
    Times are wall-clock seconds; work queued on a GPU is waited for. Compare ratios: absolute
    seconds of a busy machine mean little.
    """
    if not functions:
        raise ValueError("compare needs at least one function: compare({'plain': step, ...})")
    if rounds < 1 or warmup < 0:
        raise ValueError(f"rounds must be >= 1 and warmup >= 0, got {rounds} and {warmup}")
    for fn in functions.values():
        check_callable(fn, "compare")
    samples: dict[str, list[float]] = {name: [] for name in functions}
    names = list(functions)
    for turn in range(warmup + rounds):
        start = turn // 2 % len(names)
        order = names[start:] + names[:start]
        for name in order if turn % 2 == 0 else reversed(order):
            seconds = _time(functions[name])
            if turn >= warmup:
                samples[name].append(seconds)
    return Comparison({name: tuple(times) for name, times in samples.items()})


def _time(fn: Callable[[], Any]) -> float:
    _wait()
    start = time.perf_counter()
    fn()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()

"""Show how far a sweep is: a bar where a person watches, plain lines elsewhere."""

import time

from course_lib._frontend import is_watched


LINES = 10  # at most so many, where output goes to a file


class Progress:
    """One step per finished run."""

    def __init__(self, runs: int, *, shown: bool) -> None:
        self.runs, self.done, self.failed = runs, 0, 0
        self.start = time.perf_counter()
        live = is_watched()
        self.plain = shown and not live and runs > 0
        self.bar = None
        if shown and live and runs > 0:
            from tqdm.auto import tqdm

            self.bar = tqdm(total=runs, unit="run", leave=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def step(self, *, failed: bool) -> None:
        """Count one finished run."""
        self.done += 1
        self.failed += failed
        if self.bar is not None:
            self.bar.update()
            if self.failed:
                self.bar.set_postfix_str(f"{self.failed} failed")
        elif self.plain and self._speaks():
            failures = f", {self.failed} failed" if self.failed else ""
            seconds = time.perf_counter() - self.start
            print(f"run {self.done} of {self.runs}{failures}, {seconds:.1f} s", flush=True)

    def _speaks(self) -> bool:
        return self.done * LINES // self.runs > (self.done - 1) * LINES // self.runs

"""`make bench`: every technique against the plain alternative, in one table and one JSON file."""

import importlib
import json
import os
import platform
from pathlib import Path

from course_lib._files import write_text


TECHNIQUES = ("mobiletl", "s2a")
COLUMNS = ("technique", "case", "against", "step time", "saved bytes", "peak bytes")


def main(target: Path, *, rounds: int) -> int:
    """Run each technique's `bench.rows(rounds=…)`, print one table, write it as JSON to `target`.

    A row has a case, what it is held against, and ratios to that, blank where none was measured;
    further fields go to the file alone. Times are medians of interleaved runs: absolute times say
    little on a shared machine.
    """
    import pandas
    import torch

    rows = []
    for name in TECHNIQUES:
        technique = importlib.import_module(f"course_lib.{name}.bench")
        rows += [{"technique": name, **row} for row in technique.rows(rounds=rounds)]
    print("Ratios to the plain alternative; below 1 is better.\n")
    print(pandas.DataFrame(rows)[list(COLUMNS)].to_string(index=False, na_rep=""))
    record = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        "rounds": rounds,
        "rows": rows,
    }
    write_text(target, json.dumps(record, indent=1))
    print(f"\nwritten to {target}")
    return 0

"""`make bench`: every technique against the plain alternative, in one table and one JSON file."""

import importlib
import json
import os
import platform
from pathlib import Path

from course_lib._files import write_text


TECHNIQUES = ("mobiletl",)


def main(target: Path, *, rounds: int) -> int:
    """Run each technique's `bench.rows(rounds=…)`, print one table, write it as JSON to `target`.

    Times are ratios of medians of interleaved runs: absolute times say little on a shared machine.
    """
    import pandas
    import torch

    rows = []
    for name in TECHNIQUES:
        technique = importlib.import_module(f"course_lib.{name}.bench")
        rows += [{"technique": name, **row} for row in technique.rows(rounds=rounds)]
    print(pandas.DataFrame(rows).to_string(index=False))
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

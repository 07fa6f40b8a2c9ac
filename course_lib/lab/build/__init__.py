"""Build the notebooks from their sources, one way.

`notebooks/source/NN_name.py` becomes `notebooks/NN_name.ipynb`, in which solutions are holes, and
`notebooks/solutions/NN_name.ipynb`. Both are executed in a fresh kernel; outputs are kept.

A source is a percent-format script with a header and these marks:

    # ---
    # jupyter:
    #   lab:
    #     minutes: 45          a learner's time
    #     seconds: 120         budget of an untouched run on two cores
    #     memory: 2 GiB        peak resident memory
    #     level: intermediate  beginner, intermediate or advanced
    # ---

* The first cell is markdown and starts with `# Title`. The build adds the comment that names the
  source, the badge row, the Colab cell, the attribution of pictures and the link to the next lab.
* `part=N` on the line of a cell opens part N of a lab, 1 to 14: `# %% [markdown] part=4`.
* Code between `### BEGIN SOLUTION` and `### END SOLUTION` becomes `...  # your code here`.
* A cell with `tags=["solution"]` is only in the solutions, one with `tags=["learner"]` only in the
  learner's notebook. `tags=["stderr"]` lets a cell write to stderr; the picture of the cell tagged
  `cover` goes to README.
"""

from course_lib.lab.build._build import build, differences, main, run_for_claims
from course_lib.lab.build._execute import CellError, lab_environment, watch_children
from course_lib.lab.build._rules import complaints
from course_lib.lab.build._source import HOLE, Lab, SourceError, read, solution_lines


__all__ = [
    "HOLE",
    "CellError",
    "Lab",
    "SourceError",
    "build",
    "complaints",
    "differences",
    "lab_environment",
    "main",
    "read",
    "run_for_claims",
    "solution_lines",
    "watch_children",
]

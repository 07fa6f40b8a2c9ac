"""The two recipes for the law side by side: quality, failures, time."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from course_lib.massive_activations._curves import RandomCurve
from course_lib.massive_activations._fit_curve import EVALUATIONS, FitFailed, fit_curve
from course_lib.massive_activations._fit_varpro import fit_varpro


if TYPE_CHECKING:
    import pandas


def compare_recipes(
    curves: Iterable[RandomCurve], *, evaluations: int = EVALUATIONS
) -> "pandas.DataFrame":
    """Fit each curve by the paper's recipe and by variable projection, in turn.

    One row per curve and recipe. Columns: curve, recipe ("Eq. 9", "Eq. 14", "varpro"),
    converged, r2 (NaN if not converged), seconds (CPU time of this thread, which other programs
    on the machine do not stretch). The paper runs the first two and keeps the better one.
    """
    import pandas

    recipes = {
        "Eq. 9": lambda t, y: fit_curve(t, y, form="eq9", evaluations=evaluations),
        "Eq. 14": lambda t, y: fit_curve(t, y, form="eq14", evaluations=evaluations),
        "varpro": fit_varpro,
    }
    rows = []
    for index, curve in enumerate(curves):
        for name, fit in recipes.items():
            begin = time.thread_time()
            try:
                r2 = fit(curve.t, curve.y).r2
            except FitFailed:
                r2 = float("nan")
            seconds = time.thread_time() - begin
            converged = r2 == r2
            row = {"curve": index, "recipe": name, "converged": converged, "r2": r2}
            rows.append({**row, "seconds": seconds})
    return pandas.DataFrame(rows)

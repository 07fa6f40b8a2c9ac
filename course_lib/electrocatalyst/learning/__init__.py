"""Learn energies and forces from structures, and judge what was learned."""

from course_lib.electrocatalyst.learning._distances import (
    DISTANCES,
    FORCES,
    adwt,
    afbt,
    displacement,
    largest_force,
    share_below,
)
from course_lib.electrocatalyst.learning._drive import Driven, drive
from course_lib.electrocatalyst.learning._experiment import (
    SIZES,
    as_counted,
    build,
    energies_of,
    experiment,
    graphs_of,
    learning_curve,
    score,
    shipped_frames,
    shipped_splits,
    without_anomalies,
)
from course_lib.electrocatalyst.learning._metrics import (
    energy_force_within_threshold,
    energy_mae,
    energy_mse,
    energy_within_threshold,
    force_cosine,
    force_mae,
    force_magnitude_error,
    is2re_scores,
    s2ef_scores,
)
from course_lib.electrocatalyst.learning._potential import LearnedPotential
from course_lib.electrocatalyst.learning._rattle import rattled
from course_lib.electrocatalyst.learning._splits import (
    Splits,
    leakage,
    ood_splits,
    split_randomly,
    split_systems,
)
from course_lib.electrocatalyst.learning._train import (
    predict,
    predict_with_forces,
    train_is2re,
    train_s2ef,
)


__all__ = [
    "DISTANCES",
    "FORCES",
    "SIZES",
    "Driven",
    "LearnedPotential",
    "Splits",
    "adwt",
    "afbt",
    "as_counted",
    "build",
    "displacement",
    "drive",
    "energies_of",
    "energy_force_within_threshold",
    "energy_mae",
    "energy_mse",
    "energy_within_threshold",
    "experiment",
    "force_cosine",
    "force_mae",
    "force_magnitude_error",
    "graphs_of",
    "is2re_scores",
    "largest_force",
    "leakage",
    "learning_curve",
    "ood_splits",
    "predict",
    "predict_with_forces",
    "rattled",
    "s2ef_scores",
    "score",
    "share_below",
    "shipped_frames",
    "shipped_splits",
    "split_randomly",
    "split_systems",
    "train_is2re",
    "train_s2ef",
    "without_anomalies",
]

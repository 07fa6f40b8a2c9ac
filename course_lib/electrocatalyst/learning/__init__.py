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
    "Splits",
    "adwt",
    "afbt",
    "displacement",
    "energy_force_within_threshold",
    "energy_mae",
    "energy_mse",
    "energy_within_threshold",
    "force_cosine",
    "force_mae",
    "force_magnitude_error",
    "is2re_scores",
    "largest_force",
    "leakage",
    "ood_splits",
    "predict",
    "predict_with_forces",
    "s2ef_scores",
    "share_below",
    "split_randomly",
    "split_systems",
    "train_is2re",
    "train_s2ef",
]

"""From architecture to curve: regressors, judged by a random split and by left-out models.

Paper: arXiv 2508.03616, its prediction section: Ridge, Lasso, random forest and gradient boosting
on standardized features, a random 80/20 split, 5-fold cross-validation. The paper names no
hyper-parameters; these are scikit-learn's with smaller forests. Its fifth regressor, XGBoost, is
another gradient boosting and no dependency of this course. Leaving out whole models is ours.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from course_lib.massive_activations._architectures import FEATURES, block_table


if TYPE_CHECKING:
    import pandas


REGRESSORS = ("ridge", "lasso", "random forest", "gradient boosting")
SPLITS = ("random 80/20", "5-fold", "leave one model out")
TREES = 30


def prediction_scores(
    table: "pandas.DataFrame",
    target: str,
    *,
    features: Sequence[str] = FEATURES,
    group: str = "model",
    regressors: Sequence[str] = REGRESSORS,
    splits: Sequence[str] = SPLITS,
    transform: str = "none",
    seed: int = 0,
) -> "pandas.DataFrame":
    """Learn `target` from `features` and judge it on rows that were held out.

    table: one row per block; `group` is the column with the model's name. transform is applied to
    the target for learning and undone for judging: "log1p" for targets above -1, or
    "yeo-johnson". Random rows of a model that was also trained on are easy: what is new in them
    may only be the block. Leaving out a model asks what the paper claims: an unseen architecture.
    Returns one row per regressor and split, columns regressor, split, r2, mae, rmse, all over the
    held-out predictions together; mae and rmse are in the target's unit.
    Errors: ValueError for missing columns, values that are not finite, unknown names, fewer than
    two models, or a target that is too small for log1p.
    """
    import pandas
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    x, y, groups = _checked(table, target, features, group, transform)
    rows = []
    for split in splits:
        parts = _parts(split, x, groups, seed)
        for name in regressors:
            truth, found = [], []
            for train, test in parts:
                model = _pipeline(name, transform, seed).fit(x[train], y[train])
                truth.append(y[test])
                found.append(model.predict(x[test]))
            held = np.concatenate(truth), np.concatenate(found)
            rows.append(
                {
                    "regressor": name,
                    "split": split,
                    "r2": float(r2_score(*held)),
                    "mae": float(mean_absolute_error(*held)),
                    "rmse": float(root_mean_squared_error(*held)),
                }
            )
    return pandas.DataFrame(rows)


def leak_target(
    table: "pandas.DataFrame", *, noise: float | int = 0.3, seed: int = 0
) -> "pandas.Series":
    """A target without any law: one random number per model, plus small noise per block.

    The numbers are normal, shifted and scaled to mean 0 and variance 1 over the rows; `noise` is
    the standard deviation of the noise. Nothing can be known about a model that was left out, so
    a split that scores well here rewards recognizing the model.
    """
    import pandas

    random = np.random.default_rng(seed)
    names, codes = np.unique(table["model"].to_numpy(str), return_inverse=True)
    values = random.standard_normal(len(names))[codes]
    values = (values - values.mean()) / values.std() + noise * random.standard_normal(len(table))
    return pandas.Series(values, index=table.index, name="target")


def leak_demo(
    seeds: Iterable[int] = range(10), table: "pandas.DataFrame | None" = None
) -> "pandas.DataFrame":
    """A random forest on `leak_target`, one draw per seed: random split against left-out models.

    Columns: seed, split, r2. The table defaults to the 188 blocks of the nine Pythia models.
    """
    import pandas

    rows = block_table() if table is None else table
    found = []
    for seed in seeds:
        drawn = rows.assign(target=leak_target(rows, seed=seed))
        scores = prediction_scores(drawn, "target", regressors=("random forest",), seed=seed)
        found.append(scores[["split", "r2"]].assign(seed=seed)[["seed", "split", "r2"]])
    return pandas.concat(found, ignore_index=True)


def _checked(
    table: "pandas.DataFrame", target: str, features: Sequence[str], group: str, transform: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    missing = [name for name in (*features, target, group) if name not in table.columns]
    if missing:
        raise ValueError(
            f"The table has no column {', '.join(map(repr, missing))}. "
            f"It has {', '.join(map(repr, table.columns))}."
        )
    x = table[list(features)].to_numpy(np.float64)
    y = table[target].to_numpy(np.float64)
    groups = table[group].to_numpy(str)
    finite = np.isfinite(x).all(axis=1) & np.isfinite(y)
    if not finite.all():
        raise ValueError(
            f"{(~finite).sum()} of {len(y)} rows hold a value that is not finite. "
            "Drop them first: not every fit has finite parameters."
        )
    if len(set(groups)) < 2:
        raise ValueError(f"All rows are of one model: leaving out a model needs two in {group!r}.")
    if transform not in ("none", "log1p", "yeo-johnson"):
        raise ValueError(f"transform is {transform!r}: take 'none', 'log1p' or 'yeo-johnson'.")
    if transform == "log1p" and y.min() <= -1:
        raise ValueError(
            f"{target} is {y.min():g} in a row: log1p needs more than -1. Take 'yeo-johnson'."
        )
    return x, y, groups


def _parts(split: str, x: np.ndarray, groups: np.ndarray, seed: int) -> list[tuple[Any, Any]]:
    """Indices (train, test) of each part of a split."""
    from sklearn.model_selection import KFold, LeaveOneGroupOut, ShuffleSplit

    if split not in SPLITS:
        raise ValueError(f"split is {split!r}: take one of {', '.join(map(repr, SPLITS))}.")
    if split == "leave one model out":
        return list(LeaveOneGroupOut().split(x, groups=groups))
    if split == "5-fold":
        return list(KFold(5, shuffle=True, random_state=seed).split(x))
    return list(ShuffleSplit(1, test_size=0.2, random_state=seed).split(x))


def _pipeline(name: str, transform: str, seed: int) -> Any:
    """Standardized features, the regressor, and the target's transform around both."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import Lasso, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, PowerTransformer, StandardScaler

    if name not in REGRESSORS:
        raise ValueError(f"regressor is {name!r}: take one of {', '.join(map(repr, REGRESSORS))}.")
    regressors = {
        "ridge": Ridge(),
        "lasso": Lasso(alpha=0.01),
        "random forest": RandomForestRegressor(TREES, random_state=seed),
        "gradient boosting": GradientBoostingRegressor(n_estimators=TREES, random_state=seed),
    }
    transformers = {
        "none": StandardScaler(),
        "log1p": make_pipeline(
            FunctionTransformer(np.log1p, np.expm1, check_inverse=False), StandardScaler()
        ),
        "yeo-johnson": PowerTransformer("yeo-johnson"),
    }
    model = make_pipeline(StandardScaler(), regressors[name])
    return TransformedTargetRegressor(model, transformer=transformers[transform])

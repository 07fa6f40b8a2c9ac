"""Checks of lab 30, second half: a fit, two parameter sets of one curve, a leak.

What counts are curves and scores. The references are `course_lib.massive_activations` and targets
whose truth is known.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from course_lib.lab.exercise import Wrong, exercise, generator


if TYPE_CHECKING:
    import numpy as np

    from course_lib.massive_activations import RandomCurve


END = 143_000  # the last step of the window


def _seed() -> int:
    import torch

    return int(torch.randint(0, 2**31, (), generator=generator()))


def _numbers(got: Any, names: Sequence[str], what: str) -> list[float]:
    """Return the answer as floats, if it is one finite number for each name."""
    if not hasattr(got, "__len__") or len(got) != len(names):
        raise Wrong(f"{what} should be {len(names)} numbers: ({', '.join(names)}).")
    found = []
    for name, one in zip(names, got, strict=True):
        try:
            found.append(float(one))
        except (TypeError, ValueError):
            raise Wrong(f"{what}: {name} is {one!r}; give a number.") from None
        if not math.isfinite(found[-1]):
            raise Wrong(f"{what}: {name} is {found[-1]}; all numbers must be finite.")
    return found


@exercise(
    "30.fit",
    points=4,
    difficulty=4,
    minutes=15,
    hints=(
        "For one pair (beta, tau) the curve is a sum of three known columns, each times an unknown "
        "number. Which columns? Linear least squares finds the three numbers.",
        "Columns: exp(-beta u) log(u + tau), exp(-beta u), and 1, with u = t / t[-1]. "
        "Loop over beta and tau, and keep the pair that leaves the smallest sum of squares.",
        "columns = np.stack([e * np.log(u + tau), e, np.ones_like(u)], axis=1) with "
        "e = np.exp(-beta * u); A1, A2, K = np.linalg.lstsq(columns, y, rcond=None)[0]; "
        "error = ((columns @ [A1, A2, K] - y) ** 2).sum(). Return the best (beta, tau, A1, A2, K).",
    ),
)
def fit(answer: Callable[..., Any]) -> None:
    """Judge the curve, not the parameters: at the points, and against the truth between them."""
    from course_lib import massive_activations as ma

    seed = _seed()
    clean = ma.random_curves(2, noise=0.0, seed=seed)
    noisy = ma.random_curves(4, noise=0.02, seed=seed)[2:]
    for curve, noise in zip([*clean, *noisy], (0, 0, 2, 2), strict=True):
        got = answer(curve.t.copy(), curve.y.copy())
        _one_fit(got, curve, f"a curve with {noise} % noise")


FORM = ("beta", "tau", "A1", "A2", "K")
LOST = 0.02  # of R2, against the reference; a grid of 20 x 20 loses up to 0.01
APART = 0.05  # of the range, root mean square, between the points


def _value(t: "np.ndarray", form: Sequence[float]) -> "np.ndarray":
    """Return exp(-beta t) (A1 log(t + tau) + A2) + K; not a number where it does not exist."""
    import numpy as np

    beta, tau, A1, A2, K = form
    with np.errstate(all="ignore"):
        return np.exp(-beta * t) * (A1 * np.log(t + tau) + A2) + K


def _one_fit(got: Any, curve: "RandomCurve", what: str) -> None:
    import numpy as np

    from course_lib import massive_activations as ma

    form = _numbers(got, FORM, "my_fit")
    t, y, u = curve.t, curve.y, curve.t / curve.t[-1]
    best = ma.fit_varpro(t, y)

    def lost(values: np.ndarray) -> float:
        return best.r2 - ma.r_squared(y, values) if np.isfinite(values).all() else math.inf

    if lost(_value(u, form)) > LOST:
        raise Wrong(f"For {what}: {_why(form, curve, lost)}")
    dense = np.union1d(np.linspace(0, END, 400), np.geomspace(0.1, END, 400))
    gap = _value(dense / END, form) - ma.law(dense, *curve.parameters)
    apart = float(np.sqrt(np.square(gap).mean()) / np.ptp(curve.clean))
    if not apart <= APART:
        raise Wrong(
            f"For {what} your curve meets the points but leaves the true curve between them by "
            f"{100 * apart:.0f} % of its range. Take a grid of tau from 1e-6 to 30, of beta to 200."
        )


def _why(form: list[float], curve: "RandomCurve", lost: Callable[["np.ndarray"], float]) -> str:
    t, y, u = curve.t, curve.y, curve.t / curve.t[-1]
    if lost(_value(t, form)) <= LOST:
        return "your parameters belong to raw steps t. Fit in u = t / t[-1], and return those."
    if lost(y.mean() + y.std() * _value(u, form)) <= LOST:
        return "your parameters belong to standardized y. Scale A1, A2 and K back."
    for order in itertools.permutations(range(5)):
        if lost(_value(u, [form[place] for place in order])) <= LOST:
            return f"the numbers are right, but their order should be {', '.join(FORM)}."
    if form[1] < 0:
        return f"tau is {form[1]:.3g}, so log(u + tau) does not exist at u = 0. Keep tau above 0."
    if form[0] == 0:
        return "beta is 0: a pure logarithm, which cannot fall again. Search beta up to 200, too."
    if form[3] == 0:
        return "A2 is 0. Give exp(-beta u) a column of its own, beside that with the logarithm."
    return (
        f"R2 is {lost(_value(u, form)):.3g} below what the law reaches. Search a grid: beta 0 and "
        "0.01 to 200, tau 1e-6 to 30, evenly in log, 30 values each."
    )


@exercise(
    "30.twins",
    points=3,
    difficulty=4,
    minutes=10,
    hints=(
        "Look for a curve whose peak lies far beyond step 143,000. While lam x stays tiny, the law "
        "is A log(x) + K.",
        "log(c x) = log(c) + log(x). So a factor c on x, that is on gamma and t0, only lifts the "
        "curve by A log(c); K can take that back. lam / c keeps lam x.",
        "A, lam, gamma, t0, K = 10, 1e-6, 1e-3, 0.5, 5 and c = 1e6: return (A, lam, gamma, t0, K),"
        " (A, lam / c, c * gamma, c * t0, K - A * np.log(c)).",
    ),
)
def twins(answer: Callable[..., Any]) -> None:
    """Compare two curves of the learner on the window, and their baselines."""
    import numpy as np

    from course_lib import massive_activations as ma

    got, names = answer(), ma.Eq9._fields
    if not isinstance(got, list | tuple) or len(got) != 2:
        raise Wrong("my_twins should return two tuples: return (A, lam, gamma, t0, K), (…).")
    t = np.union1d(np.linspace(0, END, 2001), np.geomspace(1e-3, END, 1001))
    curves, baselines = [], []
    for which, one in zip(("first", "second"), got, strict=True):
        A, lam, gamma, t0, K = _numbers(one, names, f"The {which} tuple")
        x = gamma * t + t0
        if lam < 0:
            raise Wrong(f"The {which} tuple has lam = {lam:.3g}. A decay is not negative.")
        if not x.min() > 0:
            at = float(t[x.argmin()])
            raise Wrong(
                f"The {which} curve does not exist at step {at:.0f}: x = gamma t + t0 is "
                f"{x.min():.3g}, and log x needs x > 0. Raise t0."
            )
        if K == 0:
            raise Wrong(f"The {which} K is 0, and no ratio to it exists. Shift both K.")
        curves.append(ma.law(t, A, lam, gamma, t0, K))
        baselines.append(K)
    span = float(np.ptp(curves[0]))
    if not span > 0 or not np.isfinite(curves).all():
        raise Wrong("The first curve is flat or not finite, so nothing compares with its range.")
    small, large = sorted(map(abs, baselines))
    if baselines[0] == baselines[1]:
        raise Wrong("Both K are the same. Find a second one, more than 10 times away.")
    if large / small <= 10:
        raise Wrong(f"The K differ by a factor of {large / small:.3g}. More than 10 is asked for.")
    if large < 0.1 * span:
        raise Wrong(
            f"Both K are tiny beside the range of the curve, {span:.3g}, so the factor means "
            "nothing. Let the larger one be at least a tenth of the range."
        )
    gap = np.abs(curves[1] - curves[0])
    if not gap.max() < 0.01 * span:
        raise Wrong(
            f"At step {t[gap.argmax()]:.0f} the curves are {100 * gap.max() / span:.3g} % of the "
            "range apart; below 1 % is asked for. Let gamma and t0 make up for the change of K."
        )


@exercise(
    "30.scores",
    points=3,
    difficulty=3,
    minutes=10,
    hints=(
        "In the second score no block of a model may be seen before that model is predicted. "
        "So nine fits are needed, one for each model.",
        "Fill an empty array: for each name, fit where models != name and predict where "
        "models == name. One r2_score over the full array ends it.",
        "forest = RandomForestRegressor(50, random_state=0). First: train_test_split(features, "
        "target, test_size=0.2, random_state=0). Second: r2_score(target, cross_val_predict("
        "forest, features, target, groups=models, cv=LeaveOneGroupOut())).",
    ),
)
def scores(answer: Callable[..., Any]) -> None:
    """Three targets with known truth: the model's name only, nothing at all, the depth only."""
    import numpy as np

    from course_lib import massive_activations as ma

    random = np.random.default_rng(_seed())
    table = ma.block_table()
    features, models = table[list(ma.FEATURES)].to_numpy(float), table["model"].to_numpy(str)
    noise = 0.1 * random.standard_normal(len(models))
    depth = table["relative_depth"].to_numpy()
    for target, judge in (
        (_name_only(models, random) + noise, _judge_leak),
        (10 * noise, _judge_noise),
        (2 * np.sin(3 * depth) + noise, _judge_honest),
    ):
        got = answer(features.copy(), target.copy(), models.copy())
        judge(*_numbers(got, ("random split", "left-out models"), "my_scores"))


def _name_only(models: "np.ndarray", random: "np.random.Generator") -> "np.ndarray":
    """Return one number per model that rises and falls from size to size, so nothing carries on."""
    import numpy as np

    names, codes = np.unique(models, return_inverse=True)
    order = {name: place for place, name in enumerate(dict.fromkeys(models))}
    sign = random.choice([-1, 1])
    return (sign * random.uniform(0.5, 1.5, len(names)) * [(-1) ** order[n] for n in names])[codes]


LEAK = "The target is one random number per model."


def _judge_leak(split: float, left_out: float) -> None:
    if split <= 0.1 and left_out >= 0.5:
        raise Wrong("The two numbers are swapped: return the random split's R2 first.")
    if split < 0.5:
        raise Wrong(
            f"{LEAK} On a random split a forest scores above 0.5; yours is {split:.3g}. The rows "
            "are sorted by model: shuffle them before you split, and use a forest."
        )
    if left_out == split:
        raise Wrong(
            f"Both scores are {split:.3g}: the second one is the random split again. "
            "Split by `models` for it."
        )
    if left_out > 0.1:
        raise Wrong(
            f"{LEAK} Nothing can be known of an unseen one, yet your second R2 is {left_out:.3g}. "
            "Blocks of the held-out model are in the training rows: hold out all of them at once."
        )
    if left_out < -20:
        raise Wrong(
            f"{LEAK} Your second R2 is {left_out:.3g}: it looks like the mean of one R2 per model, "
            "and inside a model hardly anything varies. Pool all predictions, then score once."
        )


def _judge_noise(split: float, left_out: float) -> None:
    for name, score in (("first", split), ("second", left_out)):
        if score > 0.35:
            raise Wrong(
                f"The target is pure noise, yet your {name} R2 is {score:.3g}. "
                "You score rows that the forest was trained on: predict the held-out ones."
            )


def _judge_honest(split: float, left_out: float) -> None:
    for name, score in (("first", split), ("second", left_out)):
        if score < 0.7:
            raise Wrong(
                f"The target is one law of depth for all models, so both R2 should be above 0.7; "
                f"your {name} is {score:.3g}. Train on all the other rows, with all features."
            )

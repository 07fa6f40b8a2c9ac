"""Answers to the second half of the exercises of lab 30: the fit, two twins, a leak."""

import itertools

import numpy as np
from scipy.optimize import curve_fit, minimize
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import (
    KFold,
    LeaveOneGroupOut,
    cross_val_predict,
    train_test_split,
)


# 30.fit


def by_grid(t, y, size=30, betas=None, second=True, u=None):
    u, best = t / t[-1] if u is None else u, (np.inf,)
    for beta in (0, *np.logspace(-2, 2.3, size)) if betas is None else betas:
        for tau in np.logspace(-6, 1.5, size):
            decay = np.exp(-beta * u)
            columns = [decay * np.log(u + tau), decay, np.ones_like(u)]
            table = np.stack(columns if second else columns[::2], axis=1)
            linear = np.linalg.lstsq(table, y, rcond=None)[0]
            error = ((table @ linear - y) ** 2).sum()
            if error < best[0]:
                A1, K = linear[0], linear[-1]
                best = (error, beta, tau, A1, linear[1] if second else 0.0, K)
    return best[1:]


def by_refinement(t, y):
    """A coarse grid, then Nelder-Mead on the logarithms of beta and tau."""
    u = t / t[-1]

    def solved(logs):
        beta, tau = np.exp(np.clip(logs, -15, 7))
        decay = np.exp(-beta * u)
        table = np.stack([decay * np.log(u + tau), decay, np.ones_like(u)], axis=1)
        linear = np.linalg.lstsq(table, y, rcond=None)[0]
        return ((table @ linear - y) ** 2).sum(), (beta, tau, *linear)

    pairs = itertools.product(np.linspace(-4, 5, 12), np.linspace(-12, 3, 12))
    start = min(pairs, key=lambda logs: solved(logs)[0])
    found = minimize(lambda logs: solved(logs)[0], start, method="Nelder-Mead")
    return np.array(solved(found.x)[1])


def pure_log(t, y):
    return by_grid(t, y, betas=[0])


def no_second(t, y):
    return by_grid(t, y, second=False)


def in_steps(t, y):
    beta, tau, A1, A2, K = by_grid(t, y)
    end = t[-1]
    return beta / end, tau * end, A1, A2 - A1 * np.log(end), K


def standardized(t, y):
    return by_grid(t, (y - y.mean()) / y.std())


def order_of_the_paper(t, y):
    beta, tau, A1, A2, K = by_grid(t, y)
    return A1, A2, beta, tau, K


def one_start(t, y):
    """One start, and whatever has been reached when it ends."""
    u, theta = t / t[-1], np.zeros(5)

    def curve(u, beta, tau, A1, A2, K):
        return np.exp(-beta * u) * (A1 * np.log(u + np.abs(tau) + 1e-9) + A2) + K

    theta, _ = curve_fit(curve, u, y, p0=np.ones(5), maxfev=100)
    return theta


def few_betas(t, y):
    return by_grid(t, y, betas=[100.0])


# 30.twins


def by_scaling():
    A, lam, gamma, t0, K = 10.0, 1e-6, 1e-3, 0.5, 5.0
    c = 1e6
    return (A, lam, gamma, t0, K), (A, lam / c, c * gamma, c * t0, K - A * np.log(c))


def by_refitting():
    """Fix another K and the other form's beta and tau; least squares gives the rest."""
    A, lam, gamma, t0, K = first = (5.0, 1e-5, 1e-3, 0.6, 8.0)
    t = np.linspace(0, 143_000, 500)
    x = gamma * t + t0
    curve = A * np.exp(-lam * x) * np.log(x) + K
    beta, tau = lam * gamma, t0 / gamma
    other = 20 * K
    columns = np.stack([np.exp(-beta * t) * np.log(t + tau), np.exp(-beta * t)], axis=1)
    A1, A2 = np.linalg.lstsq(columns, curve - other, rcond=None)[0]
    scale = np.exp(A2 / A1)
    return first, (A1 * np.exp(beta * tau), beta / scale, scale, scale * tau, other)


FIRST = (10.0, 1e-6, 1e-3, 0.5, 30.0)


def twice():
    return FIRST, FIRST


def only_k():
    return FIRST, (*FIRST[:4], 400.0)


def no_logarithm():
    return FIRST, (10.0, 1e-6, 1e-3, -0.5, 400.0)


def zero():
    A, lam, gamma, t0, K = FIRST
    c = np.exp(K / A)
    return FIRST, (A, lam / c, c * gamma, c * t0, 0.0)


def too_near():
    A, lam, gamma, t0, K = FIRST
    return FIRST, (A, lam / 2, gamma * 2, t0 * 2, K - A * np.log(2))


def tiny():
    return (*FIRST[:4], 1e-5), (*FIRST[:4], 1e-3)


# 30.scores


def forest(trees=20):
    return RandomForestRegressor(trees, random_state=0)


def random_score(features, target, shuffle=True, model=None):
    parts = train_test_split(
        features, target, test_size=0.2, shuffle=shuffle, random_state=0 if shuffle else None
    )
    train, test, y_train, y_test = parts
    return r2_score(y_test, (model or forest()).fit(train, y_train).predict(test))


def left_out(features, target, models, model=None):
    split = LeaveOneGroupOut()
    predicted = cross_val_predict(model or forest(), features, target, groups=models, cv=split)
    return predicted


def by_groups(features, target, models):
    return random_score(features, target), r2_score(target, left_out(features, target, models))


def by_loop(features, target, models):
    order = np.random.default_rng(1).permutation(len(target))
    test, train = np.split(order, [len(target) // 5])
    trees = ExtraTreesRegressor(20, random_state=1).fit(features[train], target[train])
    first = r2_score(target[test], trees.predict(features[test]))
    predicted = np.empty(len(target))
    for name in set(models):
        out = models == name
        trees = ExtraTreesRegressor(20, random_state=1).fit(features[~out], target[~out])
        predicted[out] = trees.predict(features[out])
    return first, r2_score(target, predicted)


def split_twice(features, target, models):
    return random_score(features, target), random_score(features, target)


def row_by_row(features, target, models):
    """Held-out rows, but not whole models."""
    rows = KFold(20, shuffle=True, random_state=0)
    predicted = cross_val_predict(forest(), features, target, cv=rows)
    return random_score(features, target), r2_score(target, predicted)


def in_training(features, target, models):
    first = r2_score(target, forest().fit(features, target).predict(features))
    return first, r2_score(target, left_out(features, target, models))


def mean_of_folds(features, target, models):
    predicted = left_out(features, target, models)
    folds = [r2_score(target[models == n], predicted[models == n]) for n in set(models)]
    return random_score(features, target), np.mean(folds)


def swapped_scores(features, target, models):
    return by_groups(features, target, models)[::-1]


def not_shuffled(features, target, models):
    second = r2_score(target, left_out(features, target, models))
    return random_score(features, target, shuffle=False), second


RIGHT = {
    "30.fit": [by_grid, by_refinement],
    "30.twins": [by_scaling, by_refitting],
    "30.scores": [by_groups, by_loop],
}

WRONG = {
    "30.fit": [
        (pure_log, "a pure logarithm"),
        (no_second, "a column of its own"),
        (in_steps, "raw steps t"),
        (standardized, "standardized y"),
        (order_of_the_paper, "their order should be"),
        (one_start, "Optimal parameters not found"),
        (few_betas, "below what the law reaches"),
    ],
    "30.twins": [
        (twice, "Both K are the same"),
        (only_k, "of the range apart"),
        (no_logarithm, "log x needs x > 0"),
        (zero, "K is 0"),
        (too_near, "differ by a factor of"),
        (tiny, "tiny beside the range"),
    ],
    "30.scores": [
        (split_twice, "the random split again"),
        (row_by_row, "hold out all of them at once"),
        (in_training, "You score rows"),
        (mean_of_folds, "Pool all predictions"),
        (swapped_scores, "swapped"),
        (not_shuffled, "shuffle them"),
    ],
}

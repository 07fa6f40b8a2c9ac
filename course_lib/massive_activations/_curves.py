"""Made-up emergence curves whose true parameters are known: the ground for judging a fit."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from course_lib.massive_activations._law import Eq9, Number, law
from course_lib.massive_activations._peak import peak_inner_time, peak_time


# 39 of the steps at which Pythia was kept: 0, powers of two, then multiples of 1000.
STEPS = np.concatenate([[0], 2.0 ** np.arange(10), np.round(np.linspace(1, 143, 28)) * 1000])


@dataclass(frozen=True)
class RandomCurve:
    """One made-up block: steps t, noisy values y, the values without noise, the true parameters."""

    t: Float[np.ndarray, " steps"]
    y: Float[np.ndarray, " steps"]
    clean: Float[np.ndarray, " steps"]
    parameters: Eq9

    @property
    def peak_inside(self) -> bool:
        """Whether the true curve peaks before the last step."""
        return bool(peak_time(*self.parameters) < self.t[-1])


def random_curves(count: int, *, noise: Number = 0.02, seed: int = 0) -> list[RandomCurve]:
    """Draw `count` curves of the law; even ones peak inside the window, odd ones beyond it.

    The window is steps 0 to 143,000. Drawn log-uniformly: λ in 0.02..0.5, the peak in
    5,000..100,000 or 286,000..2,860,000, the height of the curve above its start in 5..1000.
    Drawn uniformly: t0 in 0.4..0.95, the start in 5..9, near the ratio of untrained weights.
    γ, A and K follow. Each value is multiplied by 1 + `noise` times a standard normal number.
    Errors: ValueError for a count below 1 or noise outside 0..0.5.
    """
    if count < 1:
        raise ValueError(f"{count} curves were asked for: ask for at least one.")
    if not 0 <= noise <= 0.5:
        raise ValueError(f"noise is {noise:g}: it is a share of the value, take 0 to 0.5.")
    random = np.random.default_rng(seed)
    return [_draw(random, inside=index % 2 == 0, noise=noise) for index in range(count)]


def _draw(random: np.random.Generator, inside: bool, noise: Number) -> RandomCurve:
    def log_uniform(low: Number, high: Number) -> float:
        return float(np.exp(random.uniform(np.log(low), np.log(high))))

    lam, t0 = log_uniform(0.02, 0.5), float(random.uniform(0.4, 0.95))
    peak = log_uniform(5e3, 1e5) if inside else float(STEPS[-1]) * log_uniform(2, 20)
    rise, start = log_uniform(5, 1000), float(random.uniform(5, 9))
    shape = Eq9(1.0, lam, (peak_inner_time(lam) - t0) / peak, t0, 0.0)
    values = law(STEPS, *shape)
    A = rise / np.ptp(values)
    truth = shape._replace(A=float(A), K=float(start - A * values[0]))
    clean = law(STEPS, *truth)
    noisy = clean * (1 + noise * random.standard_normal(len(STEPS)))
    return RandomCurve(STEPS, noisy, clean, truth)

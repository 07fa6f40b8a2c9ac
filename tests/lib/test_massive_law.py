"""The law of emergence: values, slopes, peak, its two forms, and what they refuse."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from course_lib import massive_activations as ma
from course_lib.massive_activations import Eq9, Eq14


pytestmark = pytest.mark.lab30
# The paper's published fit of Pythia-410M, block 0, series "median".
PUBLISHED = Eq9(0.1991413263, 0.1245164347, 1.1243504e-4, 0.6212193146, 0.1219348652)
STEPS = np.concatenate([[0.0], 2.0 ** np.arange(10), np.linspace(1000, 143_000, 28)])
quick = settings(deadline=None, derandomize=True, max_examples=60)


@st.composite
def parameters(draw):
    """Laws whose inner time runs from 0.05..3 to 1..60 on the window."""

    def between(low, high):
        return draw(st.floats(low, high))

    sign = draw(st.sampled_from((1.0, -1.0)))
    return Eq9(
        sign * 10 ** between(-2, 3),
        10 ** between(-3, 0.5),
        10 ** between(-5.2, -3.4),
        between(0.05, 3.0),
        between(-100.0, 100.0),
    )


def torch_law(t, A, lam, gamma, t0, K):
    x = gamma * t + t0
    return A * torch.exp(-lam * x) * torch.log(x) + K


def torch_law14(t, A1, A2, beta, tau0, K):
    return torch.exp(-beta * t) * (A1 * torch.log(t + tau0) + A2) + K


def assert_equal(found, expected, relative):
    """The largest difference, as a share of the largest value of each column."""
    scale = np.abs(expected).max(axis=0)
    assert np.all(np.abs(found - expected).max(axis=0) <= relative * scale)


@given(parameters())
@quick
def test_values_and_derivative_against_autograd(p):
    t = torch.tensor(STEPS, dtype=torch.float64, requires_grad=True)
    values = torch_law(t, *p)
    (slopes,) = torch.autograd.grad(values.sum(), t)
    assert_equal(ma.law(STEPS, *p), values.detach().numpy(), 1e-12)
    assert_equal(ma.derivative(STEPS, *p), slopes.numpy(), 1e-8)


def autograd_jacobian(function, p):
    t = torch.tensor(STEPS, dtype=torch.float64)
    inputs = tuple(torch.tensor(value, dtype=torch.float64) for value in p)
    columns = torch.autograd.functional.jacobian(lambda *q: function(t, *q), inputs)
    return torch.stack(columns, dim=-1).numpy()


@given(parameters())
@quick
def test_jacobians_against_autograd(p):
    assert_equal(ma.jacobian(STEPS, *p), autograd_jacobian(torch_law, p), 1e-8)
    q = ma.to_eq14(p)
    assert_equal(ma.jacobian14(STEPS, *q), autograd_jacobian(torch_law14, q), 1e-8)


def test_the_published_fit():
    x = math.exp(1.6082012)
    assert ma.peak_time(*PUBLISHED) == pytest.approx(38_890.02, abs=0.05)
    assert ma.peak_time(*PUBLISHED) * PUBLISHED.gamma + PUBLISHED.t0 == pytest.approx(x, rel=1e-7)
    # The printed digits, each within half of its last one.
    assert ma.peak_value(*PUBLISHED) == pytest.approx(0.2939046, abs=5e-8)
    assert ma.law(0, *PUBLISHED) == pytest.approx(0.0341864, abs=5e-8)
    assert ma.law(143_000, *PUBLISHED) == pytest.approx(0.1920232, abs=5e-8)


@given(parameters())
@quick
def test_the_peak_is_where_the_derivative_vanishes(p):
    p = p._replace(t0=abs(p.t0))
    peak = ma.peak_time(*p)
    # The root of λ x log x = 1, found without the Lambert function.
    root = brentq(lambda x: p.lam * x * math.log(x) - 1, 1.0, 1 / p.lam + 3.0, xtol=1e-15)
    assert p.gamma * peak + p.t0 == pytest.approx(root, rel=1e-8)
    # |f'| at the step that floating point can name; a step off by rounding moves x by 1e-16 x.
    assert abs(ma.derivative(peak, *p)) <= 1e-10 * abs(p.A) * p.gamma
    assert ma.peak_value(*p) == pytest.approx(float(ma.law(peak, *p)), rel=1e-8, abs=1e-10)
    near = ma.law(np.array([peak - 0.01 * root / p.gamma, peak + 0.01 * root / p.gamma]), *p)
    assert np.all(np.sign(p.A) * (ma.peak_value(*p) - near) > 0)


@given(parameters())
@quick
def test_the_two_forms_are_one_curve(p):
    q = ma.to_eq14(p)
    assert ma.to_eq9(q) == pytest.approx(p, rel=1e-10)
    values = ma.law(STEPS, *p)
    assert np.abs(ma.law14(STEPS, *q) - values).max() <= 1e-10 * (abs(p.A) + np.abs(values).max())


@given(parameters(), st.floats(1e-3, 1e3), st.floats(0.1, 100), st.floats(-50, 50))
@quick
def test_other_units_of_time_and_value(p, c, a, b):
    slower = p._replace(gamma=p.gamma / c)
    assert ma.law(c * STEPS, *slower) == pytest.approx(ma.law(STEPS, *p), rel=1e-9, abs=1e-9)
    assert ma.peak_time(*slower) == pytest.approx(c * ma.peak_time(*p), rel=1e-8)
    scaled = p._replace(A=a * p.A, K=a * p.K + b)
    expected = a * ma.law(STEPS, *p) + b
    assert ma.law(STEPS, *scaled) == pytest.approx(expected, rel=1e-9, abs=1e-8)


def test_no_decay_is_a_logarithm():
    p = PUBLISHED._replace(lam=0.0)
    expected = p.A * np.log(p.gamma * STEPS + p.t0) + p.K
    assert ma.law(STEPS, *p) == pytest.approx(expected, rel=1e-14)
    assert np.all(ma.derivative(STEPS, *p) > 0)


@pytest.mark.parametrize("t", [0, 12.5, np.int64(3), np.arange(6).reshape(2, 3)])
def test_shapes(t):
    assert ma.law(t, *PUBLISHED).shape == np.shape(t)
    assert ma.derivative(t, *PUBLISHED).shape == np.shape(t)
    assert ma.jacobian(t, *PUBLISHED).shape == (*np.shape(t), 5)
    assert ma.jacobian14(t, *ma.to_eq14(PUBLISHED)).shape == (*np.shape(t), 5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ma.peak_time(1.0, 0.0, 1.0, 1.0, 0.0), "lam is 0.*only for lam > 0"),
        (lambda: ma.peak_value(1.0, -2.0, 1.0, 1.0, 0.0), "lam is -2.*only for lam > 0"),
        (lambda: ma.peak_time(1.0, 0.1, 0.0, 1.0, 0.0), "gamma is 0.*Take gamma > 0"),
        (lambda: ma.law(STEPS, 1.0, 0.1, 1e-4, -0.2, 0.0), "is -0.2 at step 0.*Raise t0"),
        (lambda: ma.law(STEPS, 1.0, 0.1, -1e-4, 0.5, 0.0), "at step 143000.*needs x > 0"),
        (lambda: ma.derivative(STEPS, 1.0, 0.1, 1e-4, 0.0, 0.0), "at step 0.*Raise t0"),
        (lambda: ma.jacobian(STEPS, 1.0, 0.1, math.nan, 0.5, 0.0), "x = .* is nan"),
        (lambda: ma.law14(STEPS, 1.0, 1.0, 1e-5, -3.0, 0.0), "-3 at step 0"),
        (lambda: ma.to_eq14(Eq9(1.0, 1.0, -1.0, 1.0, 0.0)), "gamma is -1.*Take gamma > 0"),
        (
            lambda: ma.to_eq9(Eq14(1e-9, 5.0, 1e-5, 1.0, 0.0)),
            "range of floating point.*Keep Eq. 14",
        ),
        (lambda: ma.to_eq9(Eq14(0.0, 5.0, 1e-5, 1.0, 0.0)), "range of floating point"),
    ],
)
def test_what_is_refused_and_why(call, words):
    with pytest.raises(ValueError, match=words):
        call()

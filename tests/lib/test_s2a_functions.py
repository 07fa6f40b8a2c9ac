"""S2A's coded functions: exact forward, and backward with a bounded error."""

import pytest
import torch
import torch.nn.functional as F
from lib.s2a_gradients import (
    SMOOTH,
    WIDTHS,
    assert_same_output,
    derivative,
    gradients,
    plain,
    relative,
)

from course_lib.measure import saved_activations
from course_lib.s2a import coded_activation, coded_attention, coded_layer_norm, coded_softmax
from course_lib.s2a._derivatives import ACTIVATIONS, derivative_range
from course_lib.s2a._grids import levels


pytestmark = pytest.mark.lab11


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# ---- the reference path: 32 bits -----------------------------------------------------------------


@pytest.mark.parametrize("kind", list(ACTIVATIONS))
def test_activation_in_32_bits_is_autograd(kind):
    x = torch.randn(5, 33) * 4
    want, got = gradients(plain(kind), x), gradients(lambda x: coded_activation(x, kind, 32), x)
    assert torch.equal(got[0], want[0])
    assert relative(got[1][0], want[1][0]) <= 1e-6


def test_softmax_in_32_bits_is_autograd():
    x = torch.randn(2, 3, 17) * 3
    want, got = gradients(lambda s: s.softmax(-1), x), gradients(lambda s: coded_softmax(s, 32), x)
    assert torch.equal(got[0], want[0])
    assert relative(got[1][0], want[1][0]) <= 1e-6


@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm_in_32_bits_is_autograd(affine):
    x, bias, weight = torch.randn(2, 5, 48) * 3 + 1, torch.randn(48), torch.randn(48)
    weight = weight if affine else None
    want = gradients(lambda x, b: F.layer_norm(x, (48,), weight, b), x, bias)
    got = gradients(lambda x, b: coded_layer_norm(x, weight, b, bits=32), x, bias)
    assert torch.equal(got[0], want[0])
    assert max(map(relative, got[1], want[1])) <= 1e-6


def test_attention_in_32_bits_is_autograd():
    q, k, v = torch.randn(2, 3, 7, 8), torch.randn(2, 3, 9, 8), torch.randn(2, 3, 9, 5)
    want = gradients(lambda q, k, v: ((q * 0.3) @ k.mT).softmax(-1) @ v, q, k, v)
    got = gradients(lambda q, k, v: coded_attention(q, k, v, 32, scale=0.3), q, k, v)
    assert torch.equal(got[0], want[0])
    assert max(map(relative, got[1], want[1])) <= 1e-6


# ---- activations: the error of the code ----------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "m", "M"),
    [
        ("gelu", -0.1289041, 1.1289041),
        ("gelu_tanh", -0.1289931, 1.1289931),
        ("silu", -0.0998393, 1.0998393),
        ("hardswish", -0.5, 1.5),
        ("sigmoid", 0, 0.25),
        ("tanh", 0, 1),
    ],
)
def test_ranges_of_the_derivatives(kind, m, M):
    assert derivative_range(kind) == pytest.approx((m, M), abs=5e-8)


@pytest.mark.parametrize("kind", SMOOTH)
@pytest.mark.parametrize("bits", WIDTHS)
def test_worst_error_at_any_scale(kind, bits):
    m, M = derivative_range(kind)
    x = torch.cat([torch.randn(4000) * scale for scale in (1e-3, 1, 3, 100, 1e4)])
    x = torch.cat([x, torch.linspace(-8, 8, 4001)])
    true = derivative(kind, x)
    half_step = (M - m) / (2**bits - 1) / 2
    error = (derivative(kind, x, bits=bits, grid="minmax") - true).abs().max()
    assert error <= half_step + 1e-6
    grid = levels(kind, bits, "zero")
    worst = max(0.5 / grid.per_one, grid.low - m, M - grid.high)
    assert worst <= 1.11 * 0.5 / grid.per_one
    assert (derivative(kind, x, bits=bits, grid="zero") - true).abs().max() <= worst + 1e-6


def test_gelu_in_four_bits_is_the_sheet():
    x = torch.cat([torch.linspace(-6, 6, 20001), torch.tensor([-1e4, 1e4])])
    true = derivative("gelu", x)
    assert (derivative("gelu", x, grid="minmax") - true).abs().max() <= 0.04193
    assert (derivative("gelu", x, grid="zero") - true).abs().max() <= 0.0456
    grid = levels("gelu", 4, "zero")
    assert (grid.per_one, grid.zero, grid.low, grid.high) == (12, 2, -2 / 12, 13 / 12)


@pytest.mark.parametrize("kind", SMOOTH)
@pytest.mark.parametrize("bits", WIDTHS)
def test_zero_grid_is_exact_where_the_function_saturates(kind, bits):
    x = torch.tensor([-1e4, -50.0, 50.0, 1e4])
    got = derivative(kind, x, bits=bits, grid="zero")
    bounded = kind in ("sigmoid", "tanh")
    assert got.tolist() == [0, 0, 0, 0] if bounded else [0, 0, 1, 1]
    if kind == "gelu" and bits == 4:
        leak = derivative(kind, x, grid="minmax").tolist()
        assert leak == pytest.approx([0.0388, 0.0388, 0.9612, 0.9612], abs=1e-4)


@pytest.mark.parametrize("kind", ["relu", "relu6"])
@pytest.mark.parametrize("bits", [*WIDTHS, 32])
def test_steps_are_exact_in_one_bit(kind, bits):
    x = torch.tensor([-1.0, 0.0, 0.5, 6.0, 7.0, 1e4, -1e4])
    assert torch.equal(derivative(kind, x, bits=bits), derivative(kind, x))
    y = x.clone().requires_grad_()
    assert saved_activations(lambda: coded_activation(y * 1, kind, bits)).total == 1


def gelu_error(x, **options):
    return relative(derivative("gelu", x, **options), derivative("gelu", x))


@pytest.mark.parametrize(
    ("bits", "error"), [(1, 0.436), (2, 0.156), (4, 0.034), (8, 0.002)], ids=str
)
def test_error_of_the_derivative_code(bits, error):
    assert gelu_error(torch.randn(200_000), bits=bits, grid="minmax") == pytest.approx(
        error, abs=0.003
    )


def test_codes_at_equal_bits_and_outliers():
    x = torch.randn(200_000)
    outliers = x.clone()
    outliers[torch.randperm(len(x))[:200]] *= 20
    by_derivative, act, fewbit = (
        (gelu_error(x, **options), gelu_error(outliers, **options))
        for options in ({"grid": "minmax"}, {"code": "act"}, {"code": "fewbit"})
    )
    assert by_derivative == pytest.approx((0.034, 0.034), abs=0.003)
    assert act == (pytest.approx(0.085, abs=0.01), pytest.approx(0.169, rel=0.1))
    assert max(fewbit) <= 0.046  # the published table; the best partition is better
    assert 2 * by_derivative[0] <= act[0]
    assert gelu_error(x, bits=2, code="act") == pytest.approx(0.385, abs=0.01)
    assert gelu_error(x, bits=8, code="act") == pytest.approx(0.005, abs=0.001)


def test_zero_grid_is_better_where_most_inputs_are_negative():
    x = torch.randn(100_000)
    table = {(0, 1): (0.034, 0.039), (-1, 1.5): (0.050, 0.053), (-3, 2): (0.126, 0.076)}
    for (mean, deviation), errors in table.items():
        shifted = x * deviation + mean
        got = [gelu_error(shifted, grid=grid) for grid in ("minmax", "zero")]
        assert got == pytest.approx(errors, rel=0.05), (mean, deviation)


@pytest.mark.parametrize("kind", SMOOTH)
def test_fewbit_gets_better_with_bits_and_beats_no_code(kind):
    x = torch.randn(20_000)
    true = derivative(kind, x)
    errors = [relative(derivative(kind, x, bits=b, code="fewbit"), true) for b in (1, 2, 4)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.06 < errors[0] < 0.6


def test_stochastic_rounding_is_right_on_average_and_seeded():
    x = torch.tensor([-1.3, -0.2, 0.1, 0.9, 2.0]).repeat(20_000, 1)
    options = {"grid": "minmax", "rounding": "stochastic"}
    torch.manual_seed(3)
    first = derivative("gelu", x, **options)
    torch.manual_seed(3)
    assert torch.equal(first, derivative("gelu", x, **options))
    assert not torch.equal(first, derivative("gelu", x, **options))
    true = derivative("gelu", x)[0]
    assert (first.mean(0) - true).abs().max() <= 1e-3
    assert (derivative("gelu", x, grid="minmax")[0] - true).abs().max() > 5e-3
    noise = gelu_error(torch.randn(100_000), **options)
    assert noise == pytest.approx(0.049, abs=0.003)


# ---- norm, softmax, attention: the error of the code ---------------------------------------------


def test_error_of_layer_norm():
    x, weight = torch.randn(4, 197, 768), torch.ones(768)
    outlier = x.clone()
    outlier[..., 5] *= 30
    errors = [
        relative(
            gradients(lambda x: coded_layer_norm(x, weight, None, 1e-6), a)[1][0],
            gradients(lambda x: F.layer_norm(x, (768,), weight, None, 1e-6), a)[1][0],
        )
        for a in (x, outlier)
    ]
    assert errors == [pytest.approx(0.006, abs=0.001), pytest.approx(0.016, abs=0.002)]


def test_error_of_softmax_is_the_largest():
    x = torch.randn(12, 197, 197) * 2
    (want,), (got,) = gradients(lambda s: s.softmax(-1), x)[1], gradients(coded_softmax, x)[1]
    assert 0.10 <= relative(got, want) <= 0.16
    assert F.cosine_similarity(got.flatten(), want.flatten(), dim=0) >= 0.985
    (finer,) = gradients(lambda s: coded_softmax(s, 8), x)[1]
    assert relative(finer, want) <= 0.03


@pytest.mark.parametrize(("bits", "qkv_bits", "most"), [(4, 32, 0.15), (4, 4, 0.2), (8, 8, 0.015)])
def test_error_of_attention(bits, qkv_bits, most):
    q, k, v = torch.randn(3, 2, 3, 50, 16)
    want = gradients(lambda *qkv: coded_attention(*qkv, bits=32), q, k, v)
    got = gradients(lambda *qkv: coded_attention(*qkv, bits=bits, qkv_bits=qkv_bits), q, k, v)
    assert_same_output(got[0], want[0])
    assert max(map(relative, got[1], want[1])) <= most


def test_constant_rows_give_finite_gradients():
    flat = torch.full((3, 8), 2.5)
    results = [
        gradients(lambda x: coded_layer_norm(x, torch.ones(8), None), flat)[1],
        gradients(coded_softmax, flat)[1],
        gradients(lambda *qkv: coded_attention(*qkv, qkv_bits=4), flat, flat, flat)[1],
        gradients(lambda x: coded_activation(x, "gelu", code="act"), flat)[1],
    ]
    assert all(grad.isfinite().all() for grads in results for grad in grads)
    exact = gradients(F.gelu, flat)[1]
    assert torch.equal(results[-1][0], exact[0])

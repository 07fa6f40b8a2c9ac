"""MobileTL's two layers: exact values, gradients, and bytes."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.measure import saved_activations
from course_lib.mobiletl import (
    MaskAct,
    ShiftNorm,
    mask_act,
    packed_size,
    shift_norm,
)
from course_lib.mobiletl._mask_act import activation_kind, derivative_mask


pytestmark = pytest.mark.lab10

NAN, INF = float("nan"), float("inf")
KINDS = ["relu", "relu6", "hardswish", "silu"]
PAIRS = [("relu", "exact"), ("relu6", "exact"), *((kind, "sign") for kind in KINDS)]


# ---- ShiftNorm -----------------------------------------------------------------------------------


def norm_with_statistics(channels: int = 6) -> nn.BatchNorm2d:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(channels).train()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norm(torch.randn(8, channels, 4, 4) * 3 + 1)
    return norm.eval()


def test_shift_norm_is_the_frozen_batch_norm():
    norm = norm_with_statistics().double()
    shift = ShiftNorm.from_norm(norm)
    norm.weight.requires_grad_(False)
    x = torch.randn(2, 6, 3, 5, dtype=torch.float64)
    results = []
    for layer, shift_of in ((norm, norm.bias), (shift, shift.beta)):
        a = x.clone().requires_grad_()
        out = layer(a)
        out.square().sum().backward()
        results.append((out, a.grad, shift_of.grad))
    for want, got in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_shift_norm_gradcheck():
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    beta = torch.randn(3, dtype=torch.float64, requires_grad=True)
    gamma, mu, var = torch.rand(3, 3, dtype=torch.float64).unbind()
    assert torch.autograd.gradcheck(lambda x, beta: shift_norm(x, gamma, mu, var, beta), (x, beta))


def test_shift_norm_keeps_nothing_but_a_frozen_norm_keeps_its_input():
    norm = norm_with_statistics()
    shift = ShiftNorm.from_norm(norm)
    x = torch.randn(2, 6, 4, 4, requires_grad=True)
    assert saved_activations(lambda: shift(x * 1), model=shift).total == 0
    norm.requires_grad_(False)
    assert saved_activations(lambda: norm(x * 1), model=norm).total == 4 * x.numel()


@pytest.mark.parametrize(
    "norm",
    [
        nn.GroupNorm(2, 4),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.BatchNorm2d(4, affine=False),
    ],
    ids=["GroupNorm", "no statistics", "no scale"],
)
def test_shift_norm_refuses_other_norms(norm):
    with pytest.raises(ValueError, match="BatchNorm"):
        ShiftNorm.from_norm(norm)


@pytest.mark.parametrize("shape", [(2, 5, 3, 3), (2, 6)])
def test_shift_norm_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"\(batch, 6, height, width\)"):
        ShiftNorm.from_norm(norm_with_statistics())(torch.zeros(shape))


def test_shift_norm_refuses_integers():
    with pytest.raises(ValueError, match="floats"):
        ShiftNorm.from_norm(norm_with_statistics())(torch.zeros(2, 6, 3, 3, dtype=torch.int64))


# ---- MaskAct -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("repeats", [1, 13])
def test_masks_at_every_border(dtype, repeats):
    x = torch.tensor([NAN, INF, -INF, 0.0, -0.0, 6.0, 5.9, 1e-7, -1e-7, 3, -3], dtype=dtype)
    x = x.repeat(repeats)
    assert torch.equal(derivative_mask(x, "relu6", "exact"), (x > 0) & (x < 6))
    assert torch.equal(derivative_mask(x, "relu", "exact"), x > 0)
    for kind in KINDS:
        assert torch.equal(derivative_mask(x, kind, "sign"), x >= 0)


@pytest.mark.parametrize(("kind", "mask"), PAIRS)
@pytest.mark.parametrize("inplace", [False, True])
def test_forward_is_exact_and_backward_is_the_mask(kind, mask, inplace):
    a = torch.randn(3, 5, 7) * 4
    a[0, 0, 0] = NAN
    x = a.clone().requires_grad_()
    y = mask_act(x * 1, kind, mask, inplace=inplace)
    assert torch.equal(y.isnan(), a.isnan())
    torch.testing.assert_close(y, getattr(F, kind)(a), rtol=0, atol=0, equal_nan=True)
    grad = torch.randn_like(y)
    y.backward(grad)
    step = (a > 0) & (a < (6 if kind == "relu6" else INF)) if mask == "exact" else a >= 0
    assert torch.equal(x.grad, grad * step)
    assert x.grad[0, 0, 0] == 0


@pytest.mark.parametrize("shape", [(), (0,), (7,), (8,), (2, 3, 5)])
def test_mask_act_keeps_packed_bits(shape):
    x = torch.randn(shape, requires_grad=True)
    report = saved_activations(lambda: mask_act(x * 1, "relu6"))
    assert report.total == packed_size(x.numel())


def test_mask_act_keeps_nothing_without_gradients():
    act = MaskAct("relu6")
    assert saved_activations(lambda: act(torch.randn(9))).total == 0
    with torch.no_grad():
        assert not act(torch.randn(9, requires_grad=True)).requires_grad


def test_layout_of_the_input_does_not_matter():
    a = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    x, reference = a.clone().requires_grad_(), a.clone().requires_grad_()
    grad = torch.randn(2, 3, 4, 5)
    mask_act(x * 1, "relu6").backward(grad)
    F.relu6(reference).backward(grad)
    assert torch.equal(x.grad, reference.grad)


@pytest.mark.parametrize("kind", ["relu", "relu6"])
def test_exact_passes_gradcheck(kind):
    x = torch.tensor([-2.0, -0.5, 0.5, 3.0, 5.5, 7.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: mask_act(x, kind), (x,))


def test_sign_is_the_gradient_of_the_surrogate_and_not_of_h_swish():
    a = torch.randn(500, dtype=torch.float64) * 2
    x, reference = a.clone().requires_grad_(), a.clone().requires_grad_()
    weight = torch.randn_like(a)
    (mask_act(x, "hardswish", "sign") * weight).sum().backward()
    relu = F.relu(reference)
    ((F.hardswish(reference).detach() + relu - relu.detach()) * weight).sum().backward()
    torch.testing.assert_close(x.grad, reference.grad, rtol=1e-6, atol=1e-6)
    assert not torch.autograd.gradcheck(
        lambda x: mask_act(x, "hardswish", "sign"), (x,), raise_exception=False
    )


def test_double_backward_is_refused():
    x = torch.randn(4, requires_grad=True)
    (grad,) = torch.autograd.grad(mask_act(x, "relu6").square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("kind", ["hardswish", "silu"])
def test_exact_is_refused_where_one_bit_cannot_hold_the_derivative(kind):
    with pytest.raises(ValueError, match='mask="sign"'):
        MaskAct(kind, "exact")


def test_mask_act_refuses_bad_arguments():
    with pytest.raises(ValueError, match="gelu"):
        mask_act(torch.randn(3), "gelu", "sign")
    with pytest.raises(ValueError, match="floating"):
        mask_act(torch.arange(3), "relu6")
    with pytest.raises(ValueError, match="GELU"):
        activation_kind(nn.GELU())


def test_timm_activations_are_known():
    names = {"mobilenetv2_035": {"relu6"}, "mobilenetv3_small_050": {"relu", "hardswish"}}
    for name, kinds in names.items():
        model = timm.create_model(name)
        found = [m for m in model.modules() if isinstance(m, (nn.ReLU, nn.ReLU6, nn.Hardswish))]
        assert {activation_kind(module) for module in found} == kinds

"""S2A's coded functions: not a byte more than promised; dtypes, layouts, and what is refused."""

import pytest
import torch
import torch.nn.functional as F
from lib.s2a_gradients import WIDTHS, derivative, gradients, relative
from torch import nn

from course_lib.measure import saved_activations
from course_lib.s2a import (
    CodedActivation,
    CodedAttention,
    CodedLayerNorm,
    _triton,
    coded_activation,
    coded_attention,
    coded_layer_norm,
    coded_softmax,
)
from course_lib.s2a._activation import check_code
from course_lib.s2a._derivatives import kind_of


pytestmark = pytest.mark.lab11


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# ---- bytes ---------------------------------------------------------------------------------------


def kept(function, *shapes):
    leaves = [torch.randn(shape, requires_grad=True) for shape in shapes]
    return saved_activations(lambda: function(*(leaf * 1 for leaf in leaves))).total


@pytest.mark.parametrize("bits", [*WIDTHS, 32])
@pytest.mark.parametrize("shape", [(), (1,), (255,), (3, 5, 7), (2, 300)])
def test_bytes_of_an_activation(shape, bits):
    n = torch.Size(shape).numel()
    codes = -(-n * bits // 8)
    ranges = 0 if bits == 32 else 8 * -(-n // 256)
    assert kept(lambda x: coded_activation(x, "silu", bits), shape) == codes
    assert kept(lambda x: coded_activation(x, "tanh", bits), shape) == codes
    assert kept(lambda x: coded_activation(x, "gelu", bits, code="act"), shape) == codes + ranges
    if bits <= 4:
        assert kept(lambda x: coded_activation(x, "gelu", bits, code="fewbit"), shape) == codes


@pytest.mark.parametrize("bits", [*WIDTHS, 32])
def test_bytes_of_norm_softmax_and_attention(bits):
    rows, n = 3 * 5, 7
    codes = -(-rows * n * bits // 8)
    exact = bits == 32
    weight = nn.Parameter(torch.ones(n), requires_grad=False)
    norm = kept(lambda x: coded_layer_norm(x, weight, None, bits=bits), (3, 5, n))
    assert norm == codes + rows * (4 if exact else 12)
    assert kept(lambda s: coded_softmax(s, bits), (3, 5, n)) == codes + rows * (0 if exact else 4)
    for qkv_bits in (4, 32):
        shapes = (3, 5, 6), (3, n, 6), (3, n, 6)
        got = kept(lambda *qkv, w=qkv_bits: coded_attention(*qkv, bits, w), *shapes)
        of_map = codes + rows * (0 if exact else 4)
        elements, all_rows = 3 * 6 * (5 + 2 * n), 3 * (5 + 2 * n)
        of_qkv = 4 * elements if qkv_bits == 32 else elements // 2 + 8 * all_rows
        assert got == of_map + of_qkv


def coded_block(tokens, width, heads, qkv_bits):
    """A timm block that trains biases alone, with every part of it coded in 4 bits."""
    from timm.models.vision_transformer import Block

    block = Block(width, heads, qkv_bias=True)
    for name, parameter in block.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    reference = block(torch.ones(1, tokens, width)).detach()
    block.norm1 = CodedLayerNorm.from_norm(block.norm1)
    block.norm2 = CodedLayerNorm.from_norm(block.norm2)
    block.mlp.act = CodedActivation.from_module(block.mlp.act)
    block.attn = CodedAttention.from_attention(block.attn, qkv_bits=qkv_bits)
    torch.testing.assert_close(block(torch.ones(1, tokens, width)), reference)
    return block


@pytest.mark.parametrize("shape", [(197, 768, 12), (197, 384, 6), (50, 192, 3), (65, 256, 8)])
def test_bytes_of_a_block(shape):
    N, D, H = shape
    ND, HNN = N * D, H * N * N
    for qkv_bits in (32, 4):
        block = coded_block(N, D, H, qkv_bits)
        x = torch.randn(1, N, D, requires_grad=True)
        got = saved_activations(lambda b=block, x=x: b(x * 1), model=block).total
        if qkv_bits == 32:
            assert got == 12 * ND + (6 * ND + HNN) // 2 + 24 * N + 4 * H * N
        else:
            assert got == (9 * ND + HNN) // 2 + 24 * N + 28 * H * N
    if shape == (197, 768, 12):
        assert got / (4 * ND) == pytest.approx(1.627, abs=5e-4)


def test_nothing_is_kept_without_need():
    weight, bias = torch.ones(6), torch.zeros(6, requires_grad=True)
    x = torch.randn(4, 6)
    report = saved_activations(lambda: coded_layer_norm(x * 1, weight, bias))
    assert report.total == 0  # the shift needs no activation
    qkv = torch.randn(3, 2, 5, 4)
    for call in (
        lambda: coded_activation(x * 1, "gelu"),
        lambda: coded_softmax(x * 1),
        lambda: coded_attention(*qkv),
    ):
        assert saved_activations(call).total == 0 and not call().requires_grad
    with torch.no_grad():
        assert not coded_layer_norm(x, weight, bias).requires_grad


# ---- dtypes, layouts, refusals -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_coded_in_float32(dtype):
    x = (torch.randn(2, 3, 40) * 2).to(dtype)
    grad = derivative("gelu", x, grid="minmax")
    assert grad.dtype == dtype
    levels_of_float32 = derivative("gelu", x.float(), grid="minmax").to(dtype)
    cut = torch.finfo(dtype).eps if _triton.interpreted() else 0  # it cuts off, and rounds not
    torch.testing.assert_close(grad, levels_of_float32, rtol=cut, atol=0)
    for function in (
        lambda x: coded_layer_norm(x, torch.ones(40, dtype=x.dtype), None),
        coded_softmax,
        lambda x: coded_attention(x, x, x, qkv_bits=4),
        lambda x: coded_activation(x, "sigmoid"),
        lambda x: coded_activation(x, "silu", code="act"),
        lambda x: coded_activation(x, "gelu", code="fewbit"),
    ):
        out, (grad,) = gradients(function, x)
        (wide,) = gradients(function, x.float())[1]
        assert out.dtype == grad.dtype == dtype
        assert relative(grad.float(), wide) <= 0.1


def test_layout_of_the_input_does_not_matter():
    x = torch.randn(6, 5, 4)
    for options in ({"bits": 4}, {"code": "act", "bits": 8}, {"code": "fewbit"}, {"bits": 32}):
        want = derivative("gelu", x.mT.contiguous(), **options)
        torch.testing.assert_close(derivative("gelu", x.mT, **options), want)
    # q, k and v as they come out of one linear layer: views with gaps between their rows
    base = torch.randn(2, 6, 3, 4, 5)
    for qkv_bits in (4, 32):
        (strided,), (plain,) = (
            gradients(
                lambda x, w=qkv_bits, lay=layout: coded_attention(
                    *(lay(part) for part in x.permute(2, 0, 3, 1, 4).unbind(0)), 4, w
                ),
                base,
            )[1]
            for layout in (lambda part: part, torch.Tensor.contiguous)
        )
        torch.testing.assert_close(strided, plain)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_anomaly_mode_finds_what_a_code_would_hide(bad):
    x = torch.ones(4, 4)
    x[1, 1] = bad
    calls = [
        lambda: coded_activation(x, "gelu"),
        lambda: coded_softmax(x),
        lambda: coded_layer_norm(x, None, None),
        lambda: coded_attention(x, x, x),
    ]
    for call in calls:
        assert call().shape == x.shape  # nobody looks
        with torch.autograd.set_detect_anomaly(True), pytest.raises(ValueError, match="NaN"):
            call()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: coded_activation(x, "gelu"),
        coded_softmax,
        lambda x: coded_layer_norm(x, None, None),
        lambda x: coded_attention(x, x, x),
    ],
)
def test_double_backward_is_refused(function):
    x = torch.randn(3, 4, requires_grad=True)
    (grad,) = torch.autograd.grad(function(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_a_coded_backward_is_no_gradient():
    x = torch.randn(6, dtype=torch.float64, requires_grad=True)
    for bits, passes in ((32, True), (4, False)):
        check = torch.autograd.gradcheck(
            lambda x, b=bits: coded_activation(x, "gelu", b), (x,), raise_exception=False
        )
        assert check == passes


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"kind": "mish"}, "gelu"),
        ({"bits": 16}, "1, 2, 4, 8, or 32"),
        ({"grid": "log"}, "minmax"),
        ({"code": "input"}, "derivative"),
        ({"rounding": "up"}, "nearest"),
        ({"code": "fewbit", "rounding": "stochastic"}, "nearest"),
    ],
)
def test_unknown_arguments_are_refused(changed, words):
    usual = {"kind": "gelu", "bits": 4, "grid": "zero", "code": "act", "rounding": "nearest"}
    with pytest.raises(ValueError, match=words):
        check_code(**(usual | changed))
    with pytest.raises(ValueError, match="frozen"):
        coded_layer_norm(torch.randn(2, 3), torch.ones(3, requires_grad=True), None)


def test_attention_refuses_what_it_does_not_code():
    from timm.layers.attention import Attention

    for options in ({"qk_norm": True, "norm_layer": nn.LayerNorm}, {"attn_drop": 0.1}):
        with pytest.raises(ValueError, match="without"):
            CodedAttention.from_attention(Attention(8, 2, **options))
    coded = CodedAttention.from_attention(Attention(8, 2))
    with pytest.raises(ValueError, match="mask"):
        coded(torch.randn(1, 3, 8), is_causal=True)


def test_modules_know_their_kind():
    assert kind_of(nn.GELU()) == "gelu" and kind_of(nn.GELU("tanh")) == "gelu_tanh"
    act = CodedActivation.from_module(nn.Hardswish(), bits=2)
    assert act.kind == "hardswish" and "bits=2" in repr(act)
    x = torch.randn(4, 6)
    assert torch.equal(act(x), F.hardswish(x))
    norm = nn.LayerNorm(6, eps=1e-3)
    norm.weight.requires_grad_(False)
    coded = CodedLayerNorm.from_norm(norm, bits=8)
    assert torch.equal(coded(x), norm(x)) and coded.weight is norm.weight
    assert coded.state_dict().keys() == norm.state_dict().keys()

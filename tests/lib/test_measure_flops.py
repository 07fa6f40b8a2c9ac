"""FLOPs against a hand count from the layers' shapes, forward and backward."""

import pytest
import timm
import torch
from timm.layers import Attention
from torch import nn
from torch.nn.modules.utils import _pair
from torch.utils.checkpoint import checkpoint

from course_lib import measure


def by_hand(net: nn.Module, x: torch.Tensor, fused: bool = True) -> tuple[int, int]:
    """Count forward and backward from what goes in and out of each layer.

    Each layer costs its forward once more for the gradient of its weight, and once more for the
    gradient of its input if that is needed.
    """
    counted = [0, 0]

    def layer(module, inputs, output):
        (inp,) = inputs
        if isinstance(module, nn.Conv2d):
            height, width = _pair(module.kernel_size)
            macs = output.numel() * height * width * module.in_channels // module.groups
        else:
            macs = output.numel() * module.in_features
        counted[0] += 2 * macs
        counted[1] += 2 * macs * (int(inp.requires_grad) + int(module.weight.requires_grad))

    def attention(module, inputs, _output):
        batch, tokens, _ = inputs[0].shape
        product = 2 * batch * module.num_heads * tokens**2 * module.head_dim
        counted[0] += 2 * product  # Q K^T and A V
        # dV, dA, dQ, dK; the fused kernel computes Q K^T once more.
        counted[1] += (5 if fused else 4) * product

    handles = [
        module.register_forward_hook(attention if isinstance(module, Attention) else layer)
        for module in net.modules()
        if isinstance(module, nn.Conv2d | nn.Linear | Attention)
    ]
    net(x)
    for handle in handles:
        handle.remove()
    return counted[0], counted[1]


@pytest.mark.parametrize(
    "name", ["mobilenetv2_100", "mobilenetv3_small_100", "tf_efficientnet_lite0"]
)
def test_networks_agree_with_the_hand_count(name):
    net = timm.create_model(name).train()
    x = torch.randn(2, 3, 64, 64)
    report = measure.flops(lambda: net(x).sum().backward())
    assert (report.forward, report.backward) == by_hand(net, x)
    assert report.total == report.forward + report.backward


@pytest.mark.parametrize("fused", [True, False])
def test_vit_agrees_with_the_hand_count(fused):
    net = timm.create_model("vit_tiny_patch16_224", img_size=48, depth=2)
    for block in net.blocks:
        block.attn.fused_attn = fused
    x = torch.randn(2, 3, 48, 48)
    report = measure.flops(lambda: net(x).sum().backward())
    assert (report.forward, report.backward) == by_hand(net, x, fused)


def test_frozen_trunk_costs_no_backward():
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4))
    net[0].requires_grad_(False)
    net[1].weight.requires_grad_(False)
    x = torch.randn(3, 8)
    report = measure.flops(lambda: net(x).sum().backward())
    # Layer 2: both gradients. Layer 1: its bias is trained, which needs no product.
    assert report.backward == 2 * 2 * 3 * 8 * 4
    assert report.by_module() == {"0": 384, "1": 384, "2": 192 * 3}


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("layer", [nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d])
def test_grouped_convolutions(layer, groups):
    conv = layer(8, 16, 3, padding=1, groups=groups)
    x = torch.randn(2, 8, *([6] * (1 if layer is nn.Conv1d else 2)), requires_grad=True)
    report = measure.flops(lambda: conv(x).sum().backward())
    positions = 2 * 6 ** (x.dim() - 2)
    one = 2 * positions * 8 * 16 // groups * 3 ** (x.dim() - 2)
    assert report.forward == one
    assert report.backward == 2 * one


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        (lambda: torch.randn(3, 4) @ torch.randn(4, 5), 2 * 3 * 4 * 5),
        (lambda: torch.randn(2, 3, 4) @ torch.randn(2, 4, 5), 2 * 2 * 3 * 4 * 5),
        (lambda: torch.randn(3, 4) @ torch.randn(4), 2 * 3 * 4),
        (lambda: torch.randn(4) @ torch.randn(4), 2 * 4),
        (lambda: torch.addmm(torch.randn(5), torch.randn(3, 4), torch.randn(4, 5)), 120),
        (lambda: torch.baddbmm(torch.ones(2, 3, 5), torch.ones(2, 3, 4), torch.ones(2, 4, 5)), 240),
        (lambda: torch.einsum("ij,jk->ik", torch.ones(3, 4), torch.ones(4, 5)), 120),
        (lambda: torch.ones(9).sin() * 2, 0),
    ],
)
def test_products(product, expected):
    assert measure.flops(product).total == expected
    with torch.inference_mode():
        assert measure.flops(product).total == expected


def test_linear_under_inference_mode_and_attention_fast_path():
    linear, x = nn.Linear(4, 5), torch.randn(3, 4)
    with torch.inference_mode():
        assert measure.flops(lambda: linear(x)).forward == 2 * 3 * 4 * 5
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    tokens = torch.randn(1, 5, 8)
    slow = measure.flops(lambda: layer(tokens)).forward
    with torch.no_grad():
        assert measure.flops(lambda: layer(tokens)).forward == slow > 0
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpoint_pays_the_forward_again(use_reentrant):
    net = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8), nn.GELU())
    x = torch.randn(4, 8, requires_grad=True)
    plain = measure.flops(lambda: net(x).sum().backward())
    again = measure.flops(
        lambda: checkpoint(net, x, use_reentrant=use_reentrant).sum().backward(), model=net
    )
    assert again.forward == plain.forward
    assert again.backward == plain.backward + plain.forward


def test_by_module_gives_the_backward_to_its_layer():
    net = nn.Sequential(nn.Sequential(nn.Linear(8, 16), nn.ReLU()), nn.Linear(16, 4))
    x = torch.randn(2, 8)
    report = measure.flops(lambda: (net(x) @ torch.ones(4, 1)).sum().backward())
    assert report.forward_by_module == {"0.0": 512, "1": 256, "(outside modules)": 16}
    assert report.backward_by_module == {"(outside modules)": 16, "1": 512, "0.0": 512}
    assert report.by_module(depth=1) == {"0": 1024, "1": 768, "(outside modules)": 32}
    assert report.table()["total"].sum() == report.total
    assert "FlopReport" in repr(report)


def test_hidden_kernels_are_refused():
    lstm = nn.LSTM(4, 4).eval()
    x = torch.randn(3, 1, 4)
    with torch.no_grad(), pytest.raises(RuntimeError, match="cannot see inside"):
        measure.flops(lambda: lstm(x))
    with pytest.raises(TypeError):
        measure.flops(3)  # type: ignore[arg-type]

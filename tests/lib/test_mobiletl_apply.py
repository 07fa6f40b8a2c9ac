"""MobileTL on timm's networks, and its baselines: gradients, what moves, what is refused."""

import copy
import functools

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models._efficientnet_blocks import InvertedResidual
from torch import nn

from course_lib import mobiletl
from course_lib.mobiletl import MaskAct, ShiftNorm
from course_lib.mobiletl._tinytl import LiteResidual, standardize


pytestmark = pytest.mark.lab10

FAMILIES = ["mobilenetv2_050", "mobilenetv3_small_050", "mobilenetv3_large_100"]
FAMILIES += ["tf_efficientnet_lite0"]


@functools.cache
def pretrained(name: str) -> nn.Module:
    """A network whose norms have seen data."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5).train()
    with torch.no_grad():
        for _ in range(2):
            model(torch.randn(8, 3, 64, 64))
    return model.eval()


def freeze_inner_norms(net: mobiletl.CutNetwork) -> mobiletl.CutNetwork:
    """Plain autograd with the statistics and scales that MobileTL freezes: the exact reference."""
    net.train()
    for block in net.top.modules():
        if isinstance(block, InvertedResidual):
            for norm in (block.bn1, block.bn2):
                norm.eval().weight.requires_grad_(False)
    return net


def gradients(net: mobiletl.CutNetwork, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gradients by name; a ShiftNorm's shift has the name it had in the original norm."""
    labels = torch.arange(len(x)) % 5
    net.zero_grad()
    F.cross_entropy(net(x), labels).backward()
    named = {n: p.grad for n, p in net.named_parameters() if p.grad is not None}
    return {name.replace("norm.beta", "bias"): grad for name, grad in named.items()}


def relative_error(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> float:
    assert want.keys() == got.keys()
    a, b = (torch.cat([grads[name].flatten() for name in want]) for grads in (want, got))
    return ((a - b).norm() / a.norm()).item()


@pytest.mark.parametrize("blocks", [3, 8])
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_exact_gradients_are_those_of_autograd_through_batch_norm(blocks, dtype, bar):
    model = copy.deepcopy(pretrained("tf_efficientnet_lite0")).to(dtype)
    torch.manual_seed(1)
    x = torch.randn(8, 3, 64, 64, dtype=dtype)
    reference = freeze_inner_norms(mobiletl.baseline(model, "ft_blocks", blocks=blocks))
    got = gradients(mobiletl.apply(model, blocks=blocks).train(), x)
    assert relative_error(got, gradients(reference, x)) <= bar


def test_sign_points_almost_the_same_way_on_relu6():
    model = pretrained("tf_efficientnet_lite0")
    x = torch.randn(8, 3, 64, 64)
    exact = gradients(mobiletl.apply(model, blocks=3).train(), x)
    sign = gradients(mobiletl.apply(model, blocks=3, mask="sign").train(), x)
    a, b = (torch.cat([grads[n].flatten() for n in exact]) for grads in (exact, sign))
    assert F.cosine_similarity(a, b, dim=0) > 0.9


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("head", ["ordinary", "converted"])
def test_evaluation_is_that_of_the_original(name, head):
    model = pretrained(name)
    total = sum(part.role == "block" for part in mobiletl._blocks.parts(model))
    x = torch.randn(2, 3, 64, 64)
    for blocks in (1, 3, total):
        net = mobiletl.apply(model, blocks=blocks, mask="sign", head=head).eval()
        with torch.no_grad():
            want, got = model(x), net(x)
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * want.abs().max().item())
            torch.testing.assert_close(net.top(net.features(x)), got)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_converted(name):
    net = mobiletl.apply(pretrained(name), blocks=3, mask="sign")
    count = {cls: sum(isinstance(m, cls) for m in net.modules()) for cls in (ShiftNorm, MaskAct)}
    assert count == {ShiftNorm: 6, MaskAct: 6}
    both = mobiletl.apply(pretrained(name), blocks=3, mask="sign", head="converted")
    v3 = "v3" in name  # one more activation, without a norm
    assert sum(isinstance(m, ShiftNorm) for m in both.modules()) == 7
    assert sum(isinstance(m, MaskAct) for m in both.modules()) == 7 + v3


def test_training_moves_what_it_should():
    net = mobiletl.apply(pretrained("mobilenetv3_small_050"), blocks=3, mask="sign").train()
    before = copy.deepcopy(net.state_dict())
    optimizer = torch.optim.Adam(net.trainable_parameters(), lr=1e-3)
    for _ in range(2):
        F.cross_entropy(net(torch.randn(8, 3, 64, 64)), torch.arange(8) % 5).backward()
        optimizer.step()
    moved = {n for n, value in net.state_dict().items() if not torch.equal(value, before[n])}
    assert all(name.startswith("top.") for name in moved)
    for name in before:
        if name.startswith("top.blocks_"):
            frozen = name.endswith((".gamma", ".mu", ".var"))
            assert (name in moved) is not frozen, name
    assert "top.blocks_4_2.bn3.running_mean" in moved


def test_modes_of_trunk_and_top():
    net = mobiletl.apply(pretrained("mobilenetv2_050"), blocks=2).train()
    assert net.training and net.top.training and not net.trunk.training
    assert not any(module.training for module in net.trunk.modules())
    assert net.top.blocks_5_2.bn3.training if hasattr(net.top, "blocks_5_2") else True
    assert not net.eval().top.training
    features = net.train().features(torch.randn(2, 3, 64, 64, requires_grad=True))
    assert not features.requires_grad


@pytest.mark.parametrize("blocks", [0, -1, 18, True])
def test_number_of_blocks_must_fit(blocks):
    from course_lib.mobiletl._apply import cut

    with pytest.raises(ValueError, match="1 to 17"):
        cut(pretrained("mobilenetv2_050"), blocks)


def test_depthwise_separable_first_block_converts_what_it_has():
    model = pretrained("mobilenetv2_050")
    net = mobiletl.apply(model, blocks=17)
    assert isinstance(net.top.blocks_0_0.bn1[0], ShiftNorm)
    assert isinstance(net.top.blocks_0_0.bn2, nn.BatchNorm2d)
    assert [name for name, _ in mobiletl.inverted_residuals(model)][0] == "blocks_1_0"


def test_what_apply_refuses():
    v3, v2 = pretrained("mobilenetv3_small_050"), pretrained("mobilenetv2_050")
    with pytest.raises(ValueError, match='mask="sign"'):
        mobiletl.apply(v3, blocks=3, mask="exact")
    with pytest.raises(ValueError, match="mobilenetv2"):
        mobiletl.apply(nn.Linear(2, 2), blocks=1)
    with pytest.raises(ValueError, match="EdgeResidual"):
        mobiletl.apply(timm.create_model("mobilenet_edgetpu_v2_xs"), blocks=1)
    with pytest.raises(ValueError, match="GroupNorm"):
        broken = copy.deepcopy(v2)
        norm = nn.GroupNorm(1, broken.blocks[-1][0].bn1.num_features)
        norm.act = nn.ReLU6()
        broken.blocks[-1][0].bn1 = norm
        mobiletl.apply(broken, blocks=1)
    with pytest.raises(ValueError, match="track_running_stats"):
        broken = copy.deepcopy(v2)
        broken.blocks[-1][0].bn2.running_mean = None
        mobiletl.apply(broken, blocks=1)
    with pytest.raises(ValueError, match="no norm followed by an activation"):
        broken = copy.deepcopy(v2)
        broken.blocks[-1][0].bn1 = broken.blocks[-1][0].bn2 = nn.Identity()
        mobiletl.apply(broken, blocks=1)
    with pytest.raises(ValueError, match="GELU"):
        broken = copy.deepcopy(v2)
        broken.blocks[-1][0].bn1.act = nn.GELU()
        mobiletl.apply(broken, blocks=1, mask="sign")


# ---- baselines -----------------------------------------------------------------------------------


def trained_names(net: nn.Module) -> set[str]:
    return {name for name, p in net.named_parameters() if p.requires_grad}


def test_what_each_baseline_trains():
    model = pretrained("mobilenetv3_small_050")
    classifier = {"top.classifier.weight", "top.classifier.bias"}
    everything = {name for name, _ in mobiletl.baseline(model, "ft_all").named_parameters()}
    assert trained_names(mobiletl.baseline(model, "ft_all")) == everything
    assert trained_names(mobiletl.baseline(model, "last_layer")) == classifier
    blocks = trained_names(mobiletl.baseline(model, "ft_blocks", blocks=3))
    assert blocks == {name for name in blocks if name.startswith("top.")} > classifier
    norms = trained_names(mobiletl.baseline(model, "norm_last"))
    assert all(".bn" in f".{name}" for name in norms - classifier) and norms > classifier
    biases = trained_names(mobiletl.baseline(model, "tinytl_bias"))
    assert {name for name in everything if name.endswith("bias")} | classifier == biases
    lite = trained_names(mobiletl.baseline(model, "tinytl_lite", image_size=64))
    assert all(".lite." in name for name in lite - classifier) and lite > classifier
    both = trained_names(mobiletl.baseline(model, "tinytl_lite_bias", image_size=64))
    assert lite - both == {name for name in lite if name.endswith("lite.norm2.bias")}


@pytest.mark.parametrize("method", ["norm_last", "tinytl_bias", "tinytl_lite", "tinytl_lite_bias"])
@pytest.mark.parametrize("blocks", [3, None])
def test_baselines_start_at_the_original_and_learn(method, blocks):
    model = pretrained("mobilenetv2_050")
    net = mobiletl.baseline(model, method, blocks=blocks, image_size=64)
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        want = model(x)
        scale = want.abs().max().item()
        torch.testing.assert_close(net.eval()(x), want, rtol=1e-5, atol=1e-5 * scale)
    net.train()(x).square().mean().backward()
    silent = {n for n, p in net.named_parameters() if p.requires_grad and p.grad is None}
    assert not silent
    assert all(p.grad is None for p in net.trunk.parameters())


def test_frozen_scales_keep_their_statistics():
    net = mobiletl.baseline(pretrained("mobilenetv2_050"), "tinytl_bias", blocks=2)
    before = copy.deepcopy(dict(net.named_buffers()))
    net.train()(torch.randn(4, 3, 64, 64))
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())


@pytest.mark.parametrize(
    ("size", "kernel"),
    [(112, 5), (14, 5), (12, 5), (10, 5), (8, 3), (7, 3), (4, 1), (3, 1), (1, 1)],
)
def test_lite_residual_kernel_fits_the_pooled_map(size, kernel):
    lite = LiteResidual(16, 24, stride=1, size=size)
    assert lite.conv_group.kernel_size == (kernel, kernel) and lite.conv_group.groups == 2
    nn.init.ones_(lite.norm2.weight)
    out = lite(torch.randn(2, 16, size, size), torch.Size((size, size)))
    assert out.shape == (2, 24, size, size)


def test_weights_are_standardized():
    weight = standardize(torch.randn(6, 4, 3, 3) * 7 + 2)
    torch.testing.assert_close(weight.mean(dim=(1, 2, 3)), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(weight.flatten(1).std(dim=1), torch.ones(6), atol=1e-4, rtol=0)


def test_baselines_refuse_what_does_not_fit():
    model = pretrained("mobilenetv2_050")
    with pytest.raises(ValueError, match="ft_all"):
        mobiletl.baseline(model, "everything")
    with pytest.raises(ValueError, match="blocks=k"):
        mobiletl.baseline(model, "ft_blocks")
    with pytest.raises(ValueError, match="remove blocks=3"):
        mobiletl.baseline(model, "last_layer", blocks=3)
    with pytest.raises(ValueError, match="1 to 17"):
        mobiletl.baseline(model, "tinytl_bias", blocks=99)

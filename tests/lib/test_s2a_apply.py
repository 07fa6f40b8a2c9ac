"""S2A on timm's networks: what is trained, how far the gradients are off, what is refused."""

import copy
import functools

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from course_lib import s2a
from course_lib.measure import saved_activations
from course_lib.s2a import (
    CodedActivation,
    CodedAttention,
    CodedLayerNorm,
    FrozenConv2d,
    LiteSideBranch,
    LowRankPrompt,
)


pytestmark = pytest.mark.lab11

CODED = (CodedActivation, CodedAttention, CodedLayerNorm)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@functools.cache
def network(name: str = "vit_tiny_patch16_224", **options) -> nn.Module:
    torch.manual_seed(0)
    size = {} if "net" in name else {"img_size": 64, "depth": 3}
    model = timm.create_model(name, num_classes=5, **size, **options)
    with torch.no_grad():
        for _ in range(3):  # norms of a CNN get statistics
            model.train()(torch.randn(8, 3, 64, 64))
        for p in model.parameters():
            p += 0.02 * torch.randn_like(p)
    return model.eval()


def perturb(net: nn.Module) -> nn.Module:
    """Move B and U away from 0, so that gradients reach A and the branch."""
    torch.manual_seed(3)
    for module in net.modules():
        if isinstance(module, LowRankPrompt):
            nn.init.normal_(module.b, std=0.1)
        if isinstance(module, LiteSideBranch):
            nn.init.normal_(module.up.weight, std=0.1)
    return net


def gradients(net: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    net.zero_grad()
    F.cross_entropy(net(x), torch.arange(len(x)) % 5).backward()
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def error(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> float:
    assert got.keys() == want.keys()
    a, b = (torch.cat([grads[name].flatten() for name in want]) for grads in (got, want))
    return ((a - b).norm() / b.norm()).item()


def converted(**options) -> nn.Module:
    model = network()  # made once, with a seed of its own
    torch.manual_seed(2)
    return perturb(s2a.apply(model, **options)).train()


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        (("bias",), (".bias",)),
        (("lrp",), (".prompt.",)),
        (("lsb",), (".phi.", ".up.")),
        (("bias", "lrp", "lsb"), (".bias", ".prompt.", ".phi.", ".up.")),
    ],
)
def test_what_is_trained(modules, words):
    net = s2a.apply(network(), modules)
    for name, p in net.named_parameters():
        promised = name.startswith("head.") or any(word in f".{name}" for word in words)
        assert p.requires_grad == promised, name


def test_everything_that_can_be_coded_is():
    kinds = [type(m) for m in s2a.apply(network()).modules() if isinstance(m, CODED)]
    assert kinds.count(CodedActivation) == 3
    assert kinds.count(CodedAttention) == 3
    assert kinds.count(CodedLayerNorm) == 2 * 3 + 1  # and the last one
    plain = s2a.apply(network(), bits=32)
    assert not [m for m in plain.modules() if isinstance(m, CODED)]
    fused = s2a.apply(network(), fused=True)
    assert all(block.attn.fused_attn for block in (wrap.block for wrap in fused.blocks.blocks))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_functions_in_32_bits_have_the_gradients_of_autograd(dtype):
    """Bias, A and B of the prompts, and the side branch; all through coded modules."""
    x = torch.randn(4, 3, 64, 64, dtype=dtype)
    net = converted().to(dtype)
    for module in net.modules():
        if isinstance(module, CODED):
            module.bits = 32
    want = gradients(converted(bits=32).to(dtype), x)
    got = gradients(net, x)
    assert {name.split(".")[-1] for name in want} >= {"a", "b", "bias", "weight"}
    assert error(got, want) <= 1e-6
    for part in (".a", ".b", ".bias", "phi"):
        some = {name for name in want if part in name}
        assert error({n: got[n] for n in some}, {n: want[n] for n in some}) <= 1e-6, part


@pytest.mark.parametrize(
    ("bits", "qkv_bits", "bar"), [(8, 32, 0.005), (4, 32, 0.08), (4, 4, 0.08), (2, 32, 0.3)]
)
def test_coded_gradients_are_near(bits, qkv_bits, bar):
    x = torch.randn(4, 3, 64, 64)
    want = gradients(converted(bits=32), x)
    assert error(gradients(converted(bits=bits, qkv_bits=qkv_bits), x), want) <= bar


def test_prompts_cost_no_bytes_in_the_whole_network():
    x = torch.randn(2, 3, 64, 64)
    kept = []
    for modules in (("bias",), ("bias", "lrp")):
        net = s2a.apply(network(), modules).train()
        kept.append(saved_activations(lambda net=net: net(x), model=net).total)
    assert kept[0] == kept[1]


def test_whole_network_keeps_a_quarter_of_full_fine_tuning():
    x = torch.randn(2, 3, 64, 64)
    nets = [s2a.baseline(network(), "full"), s2a.apply(network(), ("bias", "lrp"))]
    full, coded = (
        saved_activations(lambda net=net: net.train()(x), model=net).total for net in nets
    )
    assert coded <= full / 3.5


def test_distilled_deit_with_two_heads():
    model = timm.create_model(
        "deit_tiny_distilled_patch16_224", num_classes=5, img_size=32, depth=1
    ).eval()
    net, x = s2a.apply(model), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(net.eval()(x), model(x), atol=1e-5)
    got = gradients(net.train(), x)
    assert {"head.weight", "head_dist.weight"} <= got.keys()


@pytest.mark.parametrize(
    "name", ["mobilenetv2_050", "mobilenetv3_small_050", "tf_efficientnet_lite0"]
)
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float32, 5e-6), (torch.float64, 1e-12)])
def test_cnn_has_the_gradients_of_autograd_through_frozen_norms(name, dtype, bar):
    """With 32 bits: every shift, every bias of a convolution, and the classifier."""
    model = copy.deepcopy(network(name)).to(dtype)
    x = torch.randn(4, 3, 64, 64, dtype=dtype)
    exact, coded = (
        {n.replace("norm.beta", "bias"): g for n, g in gradients(net.train(), x).items()}
        for net in (s2a.apply(model, ("bias",), bits=32), s2a.apply(model, ("bias",)))
    )
    model.requires_grad_(False)
    for part, p in model.named_parameters():
        p.requires_grad_(part.endswith(".bias") or part.startswith("classifier"))
    assert error(exact, gradients(model, x)) <= bar
    # Steps are exact in one bit; h-swish has 16 levels.
    assert error(coded, exact) <= (bar if name != "mobilenetv3_small_050" else 0.2)


def test_frozen_convolution_is_the_convolution():
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 4, 3, stride=2, padding=1, groups=2)
    conv.weight.requires_grad_(False)
    x = torch.randn(2, 6, 9, 9, requires_grad=True)
    conv(x).square().sum().backward()
    want = (x.grad.clone(), conv.bias.grad.clone())
    x.grad = conv.bias.grad = None
    frozen = FrozenConv2d(conv)
    frozen(x).square().sum().backward()
    assert torch.equal(x.grad, want[0])
    assert torch.allclose(conv.bias.grad, want[1])
    assert saved_activations(lambda: frozen(x * 1), model=frozen).total == 0
    assert saved_activations(lambda: conv(x * 1), model=conv).total == 4 * x.numel()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: s2a.apply(network(), ()), "one or more of"),
        (lambda: s2a.apply(network(), ("bias", "lora")), "one or more of"),
        (lambda: s2a.apply(network(), "bias"), "give a tuple"),
        (lambda: s2a.apply(network(), bits=3), "choose 1, 2, 4, 8 or 32"),
        (lambda: s2a.apply(network(), bits={"gelu": 4}), "bits go to"),
        (lambda: s2a.apply(network(), qkv_bits=4, fused=True), "only with coded attention"),
        (lambda: s2a.apply(network(), rank=0), "rank of 1 to 17"),
        (lambda: s2a.apply(network(), pool=7), "does not divide the width 192"),
        (lambda: s2a.apply(nn.Linear(2, 2)), "vit_\\* or deit_\\*"),
        (lambda: s2a.apply(network("mobilenetv2_050")), "has no tokens"),
        (
            lambda: s2a.apply(timm.create_model("mobilenetv2_035", num_classes=0), ("bias",)),
            "no classifier",
        ),
        (
            lambda: s2a.apply(timm.create_model("efficientnet_b0_gn", num_classes=2), ("bias",)),
            "Use a network with BatchNorm2d",
        ),
        (lambda: FrozenConv2d(nn.Conv2d(1, 1, 1)), "Freeze the convolution first"),
    ],
)
def test_bad_arguments_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()

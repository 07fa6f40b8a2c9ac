"""The methods that S2A is compared with: what each trains, keeps and leaves alone."""

import copy
import functools

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from course_lib import s2a
from course_lib.measure import saved_activations


pytestmark = pytest.mark.lab11

# What each method trains beside the classifier, by a part of the parameter's name.
TRAINS = {
    "full": ("",),
    "linear_probe": (),
    "bitfit": (".bias",),
    "lora_qkv": ("qkv.lora_",),
    "lora_all": ("lora_",),
    "adapter": (".adapter.",),
    "vpt_deep": (".prompts",),
    "lst": ("blocks.alpha", "blocks.down.", "blocks.side.", "blocks.norm.", "blocks.up."),
    "checkpointing": ("",),
    "activation_coding": ("",),
}
CHANGES_THE_OUTPUT = ("vpt_deep", "lst")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@functools.cache
def network(name: str = "vit_tiny_patch16_224") -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5, img_size=64, depth=2).eval()
    with torch.no_grad():
        for p in model.parameters():  # biases start at 0 in timm: give them something to lose
            p += 0.02 * torch.randn_like(p)
    return model


def promised(method: str, name: str) -> bool:
    parts = TRAINS[method]
    if "head" in name.split("."):
        return True
    return any(part in name for part in parts)


@pytest.mark.parametrize("method", TRAINS)
def test_one_step_trains_what_is_promised_and_nothing_else(method):
    model = network()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(1)
    net = s2a.baseline(model, method).train()
    x, labels = torch.randn(4, 3, 64, 64), torch.arange(4)
    start = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):  # in the first step LoRA's A has gradient 0, because B is 0
        optimizer.zero_grad()
        F.cross_entropy(net(x), labels).backward()
        optimizer.step()
    for name, p in net.named_parameters():
        assert torch.equal(p, start[name]) != promised(method, name), name
        assert (p.grad is not None) == promised(method, name), name
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("method", TRAINS)
def test_output_at_first(method):
    model, x = network(), torch.randn(2, 3, 64, 64)
    torch.manual_seed(1)
    net = s2a.baseline(model, method).eval()
    with torch.no_grad():
        difference = (net(x) - model(x)).abs().max().item()
    if method in CHANGES_THE_OUTPUT:
        assert difference > 1e-3
    else:
        assert difference <= 1e-6


def test_prompts_do_not_reach_the_next_block():
    """As in the paper: block l sees its own prompts, not the outputs of those before."""
    torch.manual_seed(1)
    net = s2a.baseline(network(), "vpt_deep", prompts=3).eval()
    x = torch.randn(2, 17, 192)
    with torch.no_grad():
        y = torch.cat([x[:, :1], net.blocks[0].prompts.expand(2, -1, -1), x[:, 1:]], dim=1)
        y = net.blocks[0].block(y)
        y = torch.cat([y[:, :1], net.blocks[1].prompts.expand(2, -1, -1), y[:, 4:]], dim=1)
        want = net.blocks[1].block(y)
        assert torch.allclose(net.blocks(x)[:, 0], want[:, 0], atol=1e-6)
    bound = (6 / (3 * 16 * 16 + 192)) ** 0.5
    largest = net.blocks[0].prompts.abs().max().item()
    assert 0.9 * bound < largest <= bound


def test_prompted_backbone_stays_in_eval_mode():
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, depth=1, drop_path_rate=0.5, pos_drop_rate=0.5
    )
    net = s2a.baseline(model, "vpt_deep").train()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(net(x), net(x))
    assert net.training and not net.blocks[0].block.training


def test_ladder_keeps_its_side_only():
    """The backbone runs without autograd; pooled ladders keep no features of it either."""
    x = torch.randn(2, 3, 64, 64)
    kept = {}
    for down in ("linear", "pool"):
        net = s2a.baseline(network(), "lst", reduction=8, down=down).train()
        report = saved_activations(lambda net=net: net(x), model=net)
        kept[down] = report.total
        assert not [t for t in report.tensors if t.module.startswith("blocks.backbone")]
    stream = 4 * 2 * 17 * 192
    # x_0, x_1, x_2, whose down-projections are trained, and 1 - mu of both gates.
    assert kept["linear"] - kept["pool"] == 3 * stream + 2 * 4
    side = s2a.BlockShape(2, 17, 24, 3)
    assert kept["pool"] > 2 * s2a.saved_bytes(side, "full", fused=True)


def test_checkpointing_has_the_gradients_of_full_fine_tuning():
    x = torch.randn(2, 3, 64, 64)
    grads = []
    for method in ("full", "checkpointing"):
        net = s2a.baseline(network(), method).train()
        net(x).square().mean().backward()
        grads.append([p.grad for p in net.parameters()])
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*grads, strict=True))


def gradients(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    net.train().zero_grad()
    F.cross_entropy(net(x), torch.arange(len(x))).backward()
    return torch.cat([p.grad.flatten() for p in net.parameters()])


def test_coded_activations_have_nearly_the_gradients_of_full_fine_tuning():
    x = torch.randn(4, 3, 64, 64)
    exact = gradients(s2a.baseline(network(), "full"), x)
    errors = {}
    for bits in (2, 4, 8, 32):
        coded = gradients(s2a.baseline(network(), "activation_coding", bits=bits), x)
        errors[bits] = ((coded - exact).norm() / exact.norm()).item()
    assert errors[32] <= 1e-6 < errors[8] < 0.02 < errors[4] < 0.5 < errors[2]


def test_activation_coding_keeps_an_eighth_and_lets_go_of_it():
    x = torch.randn(2, 3, 64, 64)
    full, coded = (
        saved_activations(lambda net=net: net(x), model=net).total
        for net in (
            s2a.baseline(network(), "full").train(),
            s2a.baseline(network(), "activation_coding").train(),
        )
    )
    assert full / 8 < coded < full / 5


class LoRAByHand(nn.Module):
    """y = W x + bias + (alpha / r) B A x, written down once more."""

    def __init__(self, linear, a, b, scale):
        super().__init__()
        self.linear, self.scale = linear, scale
        self.a, self.b = nn.Parameter(a.clone()), nn.Parameter(b.clone())

    def forward(self, x):
        return self.linear(x) + self.scale * F.linear(F.linear(x, self.a), self.b)


@pytest.mark.parametrize(
    ("method", "layers"), [("lora_qkv", ["qkv"]), ("lora_all", ["qkv", "proj", "fc1", "fc2"])]
)
def test_lora_of_peft_is_the_equation(method, layers):
    """Same start, outputs, gradients and bytes as the equation in each layer, and nowhere else."""
    model, x = network(), torch.randn(2, 3, 64, 64)
    theirs = s2a.baseline(model, method, rank=4, alpha=5).train()
    assert torch.equal(theirs(x), model.train()(x))
    hand, weights = s2a.baseline(model, "linear_probe").train(), {}
    for i, block in enumerate(theirs.blocks):
        for name in layers:
            owner, ours = (
                getattr(b, "mlp" if "fc" in name else "attn") for b in (block, hand.blocks[i])
            )
            added = getattr(owner, name)
            a, b = added.lora_A["default"].weight, added.lora_B["default"].weight
            nn.init.normal_(b)
            setattr(ours, name, LoRAByHand(getattr(ours, name), a.detach(), b.detach(), 5 / 4))
            weights |= {f"{i}.{name}.a": (a, getattr(ours, name).a)}
            weights |= {f"{i}.{name}.b": (b, getattr(ours, name).b)}
    assert len(weights) == 2 * len(layers) * len(model.blocks)
    trained = {id(p) for p in theirs.parameters() if p.requires_grad}
    assert trained == {id(a) for a, _ in weights.values()} | {
        id(p) for p in theirs.head.parameters()
    }
    assert torch.allclose(theirs(x), hand(x), atol=1e-5)
    for net in (theirs, hand):
        net(x).square().mean().backward()
    for name, (a, b) in weights.items():
        assert torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-6), name
    tokens = torch.randn(2, 17, 192, requires_grad=True)
    kept = [
        saved_activations(lambda net=net: net.blocks[1](tokens * 1), model=net).total
        for net in (theirs, hand)
    ]
    assert kept[0] == kept[1]


def test_deit_with_two_heads_trains_both():
    model = timm.create_model(
        "deit_tiny_distilled_patch16_224", num_classes=5, img_size=32, depth=1
    )
    net = s2a.baseline(model, "linear_probe").train()
    net(torch.randn(2, 3, 32, 32)).sum().backward()
    got = {name for name, p in net.named_parameters() if p.grad is not None}
    assert got == {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}


@pytest.mark.parametrize("method", ["lora_all", "adapter", "vpt_deep", "lst"])
def test_what_is_added_has_the_dtype_of_the_model(method):
    net = s2a.baseline(copy.deepcopy(network()).to(torch.bfloat16), method)
    assert {p.dtype for p in net.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: s2a.baseline(network(), "lora"), "Unknown baseline 'lora'"),
        (lambda: s2a.baseline(network(), "full", rank=4), "takes no options"),
        (lambda: s2a.baseline(network(), "lst", rank=4), "takes reduction, down"),
        (lambda: s2a.baseline(network(), "lora_all", rank=0), "at least 1"),
        (lambda: s2a.baseline(network(), "adapter", bottleneck=0), "at least 1"),
        (lambda: s2a.baseline(network(), "vpt_deep", prompts=0), "at least 1 prompt"),
        (lambda: s2a.baseline(network(), "lst", reduction=7), "does not divide the width 192"),
        (lambda: s2a.baseline(network(), "activation_coding", bits=3), "must be 1, 2, 4, 8"),
        (lambda: s2a.baseline(network(), "lst", down="conv"), '"linear" or "pool"'),
        (lambda: s2a.baseline(nn.Linear(2, 2), "full"), "vit_\\* or deit_\\*"),
        (
            lambda: s2a.baseline(
                VisionTransformer(img_size=32, embed_dim=32, num_heads=2, depth=1, num_classes=0),
                "full",
            ),
            "no classifier",
        ),
    ],
)
def test_bad_arguments_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()

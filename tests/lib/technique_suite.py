"""What every technique of the course must pass, whatever it does inside.

A technique registers one or more `Case`s in `CASES`, below: a small network, the conversion,
an input, and what it promises. `test_technique_suite.py` runs every check on every case.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from torch import Tensor, nn

from course_lib import mobiletl, s2a
from course_lib.measure import saved_activations
from course_lib.measure._saved import HIDDEN


Function = type[torch.autograd.Function]
Call = Callable[[], Tensor]


@dataclass(frozen=True)
class Case:
    """One way to use a technique.

    `model` builds the pretrained stand-in, `convert` gives the technique's version of it, `inputs`
    one batch. `trained(name)` tells whether the parameter of that name is promised a gradient.
    `changed` is the largest difference that conversion may make to the output in eval mode.
    `bad` maps what is wrong to a call that must raise ValueError. `functions` maps each
    autograd.Function of the technique to a maker: it prepares the inputs, and returns the call
    whose result that Function makes.
    """

    name: str
    model: Callable[[], nn.Module]
    convert: Callable[[nn.Module], nn.Module]
    inputs: Callable[[], Tensor]
    trained: Callable[[str], bool]
    changed: float = 1e-5
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64, torch.bfloat16)
    bad: dict[str, Callable[[], Any]] = field(default_factory=dict)
    functions: dict[Function, Callable[[], Call]] = field(default_factory=dict)

    def build(self, seed: int = 0) -> tuple[nn.Module, nn.Module, Tensor]:
        """The original, the converted network, and an input, the same for the same seed."""
        torch.manual_seed(seed)
        original = self.model().eval()
        converted = self.convert(original)
        return original, converted, self.inputs()


def step(network: nn.Module, x: Tensor, optimizer: torch.optim.Optimizer | None = None) -> Tensor:
    """One training step on a made-up loss; returns the output."""
    out = network.train()(x)
    network.zero_grad()
    out.square().mean().backward()
    if optimizer is not None:
        optimizer.step()
    return out.detach()


def sgd(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1e-2)


def check_gradients_only_where_promised(case: Case) -> None:
    original, network, x = case.build()
    step(network, x)
    got = {name for name, p in network.named_parameters() if p.grad is not None}
    promised = {name for name, p in network.named_parameters() if case.trained(name)}
    assert promised, "the case promises no gradient at all"
    assert got == promised, f"unexpected: {got - promised}; missing: {promised - got}"
    moved = [n for n, p in network.named_parameters() if n in got and not p.grad.isfinite().all()]
    assert not moved, f"gradients are not finite: {moved}"
    assert all(p.grad is None for p in original.parameters()), "the original got a gradient"


def check_frozen_stay_frozen(case: Case) -> None:
    original, network, x = case.build()
    before = copy.deepcopy(original.state_dict())
    frozen = {n: p.detach().clone() for n, p in network.named_parameters() if not case.trained(n)}
    optimizer = sgd(network)
    for _ in range(2):
        step(network, x, optimizer)
    after = dict(network.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in frozen.items())
    now = original.state_dict()
    assert all(torch.equal(now[name], value) for name, value in before.items())


def check_everything_kept_is_visible(case: Case) -> None:
    _, network, x = case.build()
    network.train()
    report = saved_activations(lambda: network(x), model=network)
    hidden = [t for t in report.tensors if t.op == HIDDEN]
    assert report.total > 0, "a training forward pass that keeps nothing trains nothing"
    assert not hidden, f"kept outside save_for_backward: {hidden}"


def check_eval_forward_is_unchanged(case: Case) -> None:
    original, network, x = case.build()
    with torch.no_grad():
        want, got = original.eval()(x), network.eval()(x)
    assert got.shape == want.shape
    difference = (got - want).abs().max().item()
    assert difference <= case.changed, f"largest difference {difference}"
    kept = saved_activations(lambda: network(x).detach(), model=network)
    assert kept.total == 0, "a detached evaluation keeps nothing"


def check_state_dict_round_trip(case: Case) -> None:
    _, network, x = case.build()
    optimizer = sgd(network)
    step(network, x, optimizer)
    _, fresh, _ = case.build(seed=1)
    fresh.load_state_dict(copy.deepcopy(network.state_dict()))
    with torch.no_grad():
        assert torch.equal(fresh.eval()(x), network.eval()(x))


def check_dtype_is_kept(case: Case, dtype: torch.dtype) -> None:
    _, network, x = case.build()
    network, x = network.to(dtype), x.to(dtype)
    assert step(network, x).dtype == dtype
    grads = {p.grad.dtype for p in network.parameters() if p.grad is not None}
    assert grads == {dtype}
    assert all(b.dtype == dtype for b in network.buffers() if b.is_floating_point())


def check_seeds_give_the_same_numbers(case: Case) -> None:
    runs = []
    for _ in range(2):
        _, network, x = case.build()
        optimizer = sgd(network)
        torch.manual_seed(7)
        outs = [step(network, x, optimizer) for _ in range(2)]
        runs.append([*outs, *(p.detach().clone() for p in network.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def check_function_saves_visibly(function: Function, prepare: Callable[[], Call]) -> None:
    """What the Function declares is what the meter finds, and nothing else is kept."""
    call = prepare()
    report = saved_activations(call)
    node: Any = call().grad_fn
    assert node is not None and type(node).__name__ == f"{function.__name__}Backward", node
    declared = sum(t.untyped_storage().nbytes() for t in node.saved_tensors if t is not None)
    found = sum(t.nbytes for t in report.tensors if function.__name__ in t.op)
    assert declared == found, f"declared {declared} bytes, the meter finds {found}"
    assert not [t for t in report.tensors if t.op == HIDDEN]


# ---- the registered cases ----------------------------------------------------------------------


def pretrained(name: str, **options: Any) -> nn.Module:
    """A timm network whose norms have the statistics of some data, as after pretraining."""
    model = timm.create_model(name, num_classes=5, **options).train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, 3, 48, 48))
    return model.eval()


def _trained_by_mobiletl(name: str) -> bool:
    return name.startswith("top.")


def _mask_act(kind: str, mask: Any) -> Call:
    x = torch.randn(3, 7, requires_grad=True)
    return lambda: mobiletl.mask_act(x, kind, mask)


def _shift_norm() -> Call:
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    gamma, mu, var, beta = (torch.rand(3) for _ in range(4))
    return lambda: mobiletl.shift_norm(x, gamma, mu, var, beta)


def _coded_layers(model: nn.Module) -> nn.Module:
    """A copy that trains biases alone, with coded norm and activation."""
    model = copy.deepcopy(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    model[0] = s2a.CodedLayerNorm.from_norm(model[0])
    model[2] = s2a.CodedActivation.from_module(model[2])
    return model


def _coded(function: Callable[..., Tensor], *shapes: tuple[int, ...], **options: Any) -> Call:
    tensors = [torch.randn(shape, requires_grad=True) for shape in shapes]
    return lambda: function(*tensors, **options)


def transformer(name: str) -> nn.Module:
    """A timm transformer whose biases and norms are not those of a fresh network."""
    model = timm.create_model(name, num_classes=5, img_size=32, depth=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return model


def _trained_by_s2a(name: str) -> bool:
    added = any(part in name for part in (".prompt.", ".phi.", ".up."))
    return added or name.endswith(".bias") or name.startswith("head")


def _frozen_conv() -> Call:
    x, weight = torch.randn(2, 3, 6, 6, requires_grad=True), torch.randn(4, 3, 3, 3)
    how = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    return lambda: s2a.FrozenConv2dFunction.apply(x, weight, None, how)


CASES = [
    Case(
        name="mobiletl, ReLU6, exact",
        model=lambda: pretrained("mobilenetv2_035"),
        convert=lambda model: mobiletl.apply(model, blocks=3),
        inputs=lambda: torch.randn(4, 3, 48, 48),
        trained=_trained_by_mobiletl,
        bad={
            "blocks": lambda: mobiletl.apply(timm.create_model("mobilenetv2_035"), blocks=18),
            "integers": lambda: mobiletl.mask_act(torch.arange(3), "relu6"),
            "network": lambda: mobiletl.apply(nn.Linear(2, 2), blocks=1),
        },
        functions={
            mobiletl.MaskActFunction: lambda: _mask_act("relu6", "exact"),
            mobiletl.ShiftNormFunction: _shift_norm,
        },
    ),
    Case(
        name="mobiletl, h-swish and SE, sign, head converted",
        model=lambda: pretrained("mobilenetv3_small_050"),
        convert=lambda model: mobiletl.apply(model, blocks=5, mask="sign", head="converted"),
        inputs=lambda: torch.randn(4, 3, 48, 48),
        trained=_trained_by_mobiletl,
        bad={
            "mask": lambda: mobiletl.mask_act(torch.randn(3), "hardswish", "exact"),
            "activation": lambda: mobiletl.mask_act(torch.randn(3), "gelu", "sign"),
        },
        functions={mobiletl.MaskActFunction: lambda: _mask_act("hardswish", "sign")},
    ),
    Case(
        name="s2a, layers, 4 bits",
        model=lambda: nn.Sequential(
            nn.LayerNorm(12), nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 12)
        ),
        convert=_coded_layers,
        inputs=lambda: torch.randn(4, 7, 12),
        trained=lambda name: name.endswith("bias"),
        bad={
            "bits": lambda: s2a.coded_activation(torch.randn(3), "gelu", bits=3),
            "qkv_bits": lambda: s2a.coded_attention(*torch.randn(3, 2, 4, 5), qkv_bits=16),
            "bits of the softmax": lambda: s2a.coded_softmax(torch.randn(2, 3), bits=5),
            "activation": lambda: s2a.coded_activation(torch.randn(3), "mish"),
            "module": lambda: s2a.CodedActivation.from_module(nn.Mish()),
            "integers": lambda: s2a.coded_softmax(torch.arange(3)),
            "trained scale": lambda: s2a.CodedLayerNorm.from_norm(nn.LayerNorm(4)),
            "features": lambda: s2a.coded_layer_norm(torch.randn(2, 3), torch.ones(4), None),
            "shapes": lambda: s2a.coded_attention(*torch.randn(2, 2, 4, 5), torch.randn(2, 3, 5)),
            "attention": lambda: s2a.CodedAttention.from_attention(nn.MultiheadAttention(4, 2)),
        },
        functions={
            s2a.CodedActivationFunction: lambda: _coded(s2a.coded_activation, (3, 7), kind="gelu"),
            s2a.CodedSoftmaxFunction: lambda: _coded(s2a.coded_softmax, (2, 5)),
            s2a.CodedLayerNormFunction: lambda: _coded(
                s2a.coded_layer_norm, (2, 7), weight=None, bias=None
            ),
            s2a.CodedAttentionFunction: lambda: _coded(
                s2a.coded_attention, (2, 3, 4), (2, 3, 4), (2, 3, 4), qkv_bits=4
            ),
        },
    ),
    Case(
        name="s2a, ViT with prompts and a side branch, 4 bits",
        model=lambda: transformer("vit_tiny_patch16_224"),
        convert=s2a.apply,
        inputs=lambda: torch.randn(3, 3, 32, 32),
        trained=_trained_by_s2a,
        bad={
            "modules": lambda: s2a.apply(transformer("vit_tiny_patch16_224"), ("lora",)),
            "network": lambda: s2a.apply(nn.Linear(2, 2)),
            "tokens": lambda: s2a.LowRankPrompt(5, 8)(torch.randn(1, 6, 8)),
            "pool": lambda: s2a.cap(torch.randn(1, 6, 8), 3),
        },
        functions={s2a.FrozenConv2dFunction: _frozen_conv},
    ),
    Case(
        name="s2a, DeiT with biases, q, k, v in 4 bits, the rest mixed",
        model=lambda: transformer("deit_tiny_distilled_patch16_224"),
        convert=lambda model: s2a.apply(
            model, ("bias",), bits={"activation": 2, "norm": 8, "attention": 4}, qkv_bits=4
        ),
        inputs=lambda: torch.randn(3, 3, 32, 32),
        trained=_trained_by_s2a,
    ),
    Case(
        name="s2a, h-swish and SE, 4 bits",
        model=lambda: pretrained("mobilenetv3_small_050"),
        convert=lambda model: s2a.apply(model, ("bias",)),
        inputs=lambda: torch.randn(3, 3, 48, 48),
        trained=lambda name: name.endswith((".bias", ".beta")) or name.startswith("classifier."),
        bad={"prompt": lambda: s2a.apply(pretrained("mobilenetv3_small_050"), ("lrp",))},
    ),
]

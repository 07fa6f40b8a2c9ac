"""Low-rank prompt, channel pooling, side branch: gradients, bytes, and what is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.measure import saved_activations
from course_lib.s2a import (
    BlockShape,
    LiteSideBranch,
    LowRankPrompt,
    branch_bytes,
    cap,
    low_rank_prompt,
)


pytestmark = pytest.mark.lab11


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    return ((got - want).norm() / want.norm()).item()


def after(x: torch.Tensor) -> torch.Tensor:
    """A tensor in the middle of a graph, as a block gets it."""
    return x.requires_grad_(True) * 1


def test_prompt_starts_as_the_identity():
    x = torch.randn(2, 17, 64)
    prompt = LowRankPrompt(17, 64)
    assert torch.equal(prompt(x), x)
    assert sum(p.numel() for p in prompt.parameters()) == 4 * (17 + 64)
    assert 0.01 < prompt.a.std().item() < 0.03


@pytest.mark.parametrize(("dtype", "bar"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_prompt_gradients_are_those_of_the_dense_matrix(dtype, bar):
    torch.manual_seed(0)
    prompt = LowRankPrompt(17, 64, rank=4).to(dtype)
    nn.init.normal_(prompt.b)
    x = torch.randn(3, 17, 64, dtype=dtype, requires_grad=True)
    weight = torch.randn(3, 17, 64, dtype=dtype)
    dense = (prompt.a @ prompt.b).detach().requires_grad_(True)
    (torch.sin(x + dense) * weight).sum().backward()
    for_x = x.grad.clone()
    x.grad = None
    (torch.sin(prompt(x)) * weight).sum().backward()
    # dA = (sum G) B^T, dB = A^T (sum G), and the dense gradient is sum G.
    assert relative(prompt.a.grad, dense.grad @ prompt.b.T) <= bar
    assert relative(prompt.b.grad, prompt.a.T @ dense.grad) <= bar
    assert relative(x.grad, for_x) <= bar


def test_prompt_keeps_zero_bytes():
    prompt = LowRankPrompt(50, 192, rank=8)
    x = torch.randn(4, 50, 192)
    assert saved_activations(lambda: prompt(after(x)), model=prompt).total == 0
    # LoRA of the same rank keeps x: the gradient of its A needs it.
    lora = nn.Linear(192, 8, bias=False)
    assert saved_activations(lambda: lora(after(x)), model=lora).total == 4 * x.numel()


@pytest.mark.parametrize(
    ("shape", "words"),
    [((2, 16, 64), "batch, 17, 64"), ((2, 17, 63), "batch, 17, 64"), ((17, 64), "batch, 17, 64")],
)
def test_prompt_refuses_other_tokens(shape, words):
    with pytest.raises(ValueError, match=words):
        LowRankPrompt(17, 64)(torch.randn(shape))


def test_prompt_refuses_integers_and_impossible_ranks():
    a, b = torch.zeros(3, 2), torch.zeros(2, 5)
    with pytest.raises(ValueError, match="int64"):
        low_rank_prompt(torch.zeros(1, 3, 5, dtype=torch.int64), a, b)
    for rank in (0, 18):
        with pytest.raises(ValueError, match="1 to 17"):
            LowRankPrompt(17, 64, rank=rank)


def test_pooling_is_the_mean_of_k_channels_and_keeps_nothing():
    x = torch.randn(2, 5, 24, requires_grad=True)
    y = cap(x, 8)
    assert torch.allclose(y, F.avg_pool1d(x, 8), atol=1e-7)
    g = torch.randn_like(y)
    y.backward(g)
    assert torch.equal(x.grad, (g / 8).repeat_interleave(8, -1))
    assert saved_activations(lambda: cap(after(x.detach()), 8)).total == 0


def test_pooling_refuses_what_does_not_divide():
    for k in (0, -1, 7):
        with pytest.raises(ValueError, match="divide the width 24"):
            cap(torch.randn(1, 2, 24), k)
    with pytest.raises(ValueError, match="divide the width 24"):
        LiteSideBranch(nn.Sequential(nn.Identity()), 24, pool=5)


def branch(width: int = 16, layers: int = 3, pool: int = 4) -> LiteSideBranch:
    torch.manual_seed(0)
    return LiteSideBranch(
        nn.Sequential(*(nn.Linear(width, width) for _ in range(layers))), width, pool
    )


def test_branch_is_the_definition():
    """z_l = u_l + phi_l(u_l), u_l = z_{l-1} + CAP(x_l), and x_L + U z_L; gradients included."""
    net = branch()
    nn.init.normal_(net.up.weight)
    x = torch.randn(2, 5, 16)
    net(x).square().sum().backward()
    got = {name: p.grad.clone() for name, p in net.named_parameters()}
    net.zero_grad()
    z, stream = torch.zeros(2, 5, 4), x
    for block, phi in zip(net.blocks, net.phi, strict=True):
        stream = block(stream)
        u = z + F.avg_pool1d(stream.detach(), 4)
        z = u + phi[2](torch.relu(phi[0](u)))
    (stream + z @ net.up.weight.T).square().sum().backward()
    for name, p in net.named_parameters():
        assert relative(got[name], p.grad) <= 1e-6, name


def test_branch_starts_at_the_output_of_the_blocks():
    net, x = branch(), torch.randn(2, 5, 16)
    assert torch.equal(net(x), net.blocks(x))


def test_branch_stops_the_gradient():
    """Beside frozen blocks the branch alone is trained, and alone keeps something."""
    net = branch(width=32, pool=8)
    net.blocks.requires_grad_(False)
    x = torch.randn(2, 5, 32)
    kept = saved_activations(lambda: net(x), model=net).total
    assert kept == branch_bytes(BlockShape(2, 5, 32, 4), layers=3, pool=8)
    # The blocks' graph is alive above this line only if they train: U z_L adds no path to them.
    net.blocks.requires_grad_(True)
    nn.init.normal_(net.up.weight)
    with_branch = torch.autograd.grad(net(x).sum(), list(net.blocks.parameters()))
    without = torch.autograd.grad(net.blocks(x).sum(), list(net.blocks.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(with_branch, without, strict=True))

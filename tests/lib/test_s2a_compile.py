"""S2A inside torch.compile: one graph, the same codes, no more bytes.

Each backend runs in a process of its own: the type checks of the test run are not for compilers.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from course_lib import s2a
from course_lib.s2a import bench


pytestmark = pytest.mark.lab11

TOKENS, WIDTH, HEADS = 17, 48, 4


def block() -> torch.nn.Module:
    """A timm block that trains biases, with every part of it coded in 4 bits."""
    from timm.models.vision_transformer import Block

    torch.manual_seed(0)
    made: Any = Block(WIDTH, HEADS, qkv_bias=True)
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    made.norm1 = s2a.CodedLayerNorm.from_norm(made.norm1)
    made.norm2 = s2a.CodedLayerNorm.from_norm(made.norm2)
    made.mlp.act = s2a.CodedActivation.from_module(made.mlp.act)
    made.attn = s2a.CodedAttention.from_attention(made.attn)
    return made


def codes_behind(y: Tensor) -> list[Tensor]:
    """Every tensor of bytes that the graph of `y` keeps, small ones first."""
    found, seen, todo = [], set(), [y.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        saved = getattr(node, "saved_tensors", ())
        found += [t for t in saved if t is not None and t.dtype == torch.uint8]
        todo += [following for following, _ in node.next_functions]
    return sorted(found, key=lambda t: t.numel())


def results(network: Any) -> dict[str, Any]:
    torch.manual_seed(1)
    x = torch.randn(2, TOKENS, WIDTH, requires_grad=True)
    y = network(x)
    codes = codes_behind(y)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    grads = torch.autograd.grad(y.square().sum(), [x, *trained])
    return {"y": y.detach(), "codes": codes, "grads": grads}


def check_against_plain(backend: str, folder: Path, differing: float) -> None:
    file = folder / "results.pt"
    env = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(folder / "cache")}
    run = [sys.executable, "-W", "error::UserWarning:course_lib", __file__, backend, str(file)]
    made = subprocess.run(run, env=env, capture_output=True, text=True, timeout=1200)
    assert made.returncode == 0, made.stderr[-3000:]
    got, want = torch.load(file, weights_only=True), results(block())
    torch.testing.assert_close(got["y"], want["y"])
    assert [c.shape for c in got["codes"]] == [c.shape for c in want["codes"]]
    for codes in want["codes"]:  # the two norms have equally many
        alike = [c for c in got["codes"] if c.shape == codes.shape]
        assert min((c != codes).float().mean().item() for c in alike) <= differing
    for ours, theirs in zip(got["grads"], want["grads"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * theirs.abs().max().item())


def test_one_graph_with_the_codes_of_plain_torch(tmp_path):
    check_against_plain("aot_eager", tmp_path, differing=0)


@pytest.mark.slow
@pytest.mark.skipif(
    not bench._has_compiler(), reason="no C++ compiler, or no Python.h: nothing to compile with"
)
def test_fused_by_the_compiler_the_codes_are_the_same(tmp_path):
    """Its exponential may differ in the last bit; a code then differs next to a half."""
    check_against_plain("inductor", tmp_path, differing=1e-3)


if __name__ == "__main__":
    backend, file = sys.argv[1:]
    torch.save(results(torch.compile(block(), backend=backend, fullgraph=True)), file)

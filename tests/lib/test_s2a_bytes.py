"""Closed forms of saved bytes against the meter, to the byte, and the sheet of known numbers."""

import functools

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from course_lib import s2a
from course_lib.measure import saved_activations
from course_lib.s2a import BlockShape, branch_bytes, cnn_block_bytes, saved_bytes, units


pytestmark = pytest.mark.lab11

SIZES = {(197, 768, 12): 224, (197, 384, 6): 224, (50, 192, 3): 112, (65, 256, 8): 128}
VIT_B = BlockShape(batch=1, tokens=197, width=768, heads=12)
OPTIONS = {
    "full": {},
    "bitfit": {},
    "lora_qkv": {"rank": 8},
    "lora_all": {"rank": 8},
    "adapter": {"bottleneck": 64},
    "vpt_deep": {"prompts": 5},
}


@functools.cache
def network(tokens: int, width: int, heads: int, depth: int = 1) -> nn.Module:
    """A ViT with random weights: patches of 16 x 16 pixels, a class token."""
    side = SIZES[tokens, width, heads]
    return VisionTransformer(
        img_size=side, embed_dim=width, num_heads=heads, depth=depth, num_classes=2
    )


def measured(block: nn.Module, shape: BlockShape, fused: bool) -> int:
    """Bytes that a block keeps in the middle of a network, where its input has a gradient."""
    for module in block.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused
    x = torch.randn(shape.batch, shape.tokens, shape.width, requires_grad=True)
    block.train()
    return saved_activations(lambda: block(x * 1), model=block).total


@pytest.mark.parametrize("method", OPTIONS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_closed_form_is_measured(size, method):
    options = OPTIONS[method]
    block = s2a.baseline(network(*size), method, **options).blocks[0]
    for batch in (1, 2):
        shape = BlockShape(batch, *size)
        for fused in (False, True):
            closed = saved_bytes(shape, method, fused=fused, **options)
            assert measured(block, shape, fused) == closed, (batch, fused)


S2A = {
    "4 bits": {},
    "q, k, v too": {"qkv_bits": 4},
    "fused": {"fused": True},
    "activation": {"bits": {"activation": 4}},
    "activation and norm": {"bits": {"activation": 4, "norm": 4}},
    "activation, fused": {"bits": {"activation": 4}, "fused": True},
    "mixed": {"bits": {"activation": 2, "norm": 8, "attention": 1}, "qkv_bits": 8},
    "32 bits": {"bits": 32},
}


@pytest.mark.parametrize("options", S2A.values(), ids=S2A)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_closed_form_of_s2a_is_measured(size, options):
    """With a low-rank prompt before the block, which adds nothing."""
    fused = options.get("fused", False)
    net = s2a.apply(network(*size), ("bias", "lrp"), **options)
    for batch in (1, 2):
        shape = BlockShape(batch, *size)
        assert measured(net.blocks[0], shape, fused) == saved_bytes(shape, **options), batch


@pytest.mark.parametrize("bits", [4, 8])
def test_closed_form_of_activation_coding_is_measured(bits):
    """Codes hide from the hooks, so a block is what the second one adds."""
    size, x = (50, 192, 3), torch.randn(2, 3, 112, 112)
    kept = []
    for depth in (1, 2):
        net = s2a.baseline(network(*size, depth=depth), "activation_coding", bits=bits).train()
        kept.append(saved_activations(lambda net=net: net(x), model=net).total)
    closed = saved_bytes(BlockShape(2, *size), "activation_coding", bits=bits)
    assert kept[1] - kept[0] == closed


@pytest.mark.parametrize("down", ["linear", "pool"])
@pytest.mark.parametrize("fused", [True, False])
def test_closed_form_of_the_ladder_is_measured(down, fused):
    """A block is what the second one adds."""
    size, kept = (50, 192, 3), []
    for depth in (2, 3):
        net = s2a.baseline(network(*size, depth=depth), "lst", reduction=4, down=down)
        kept.append(measured(net.blocks, BlockShape(2, *size), fused))
    closed = saved_bytes(BlockShape(2, *size), "lst", fused=fused, reduction=4, down=down)
    assert kept[1] - kept[0] == closed


@pytest.mark.parametrize("pool", [4, 8])
def test_closed_form_of_the_side_branch_is_measured(pool):
    """Alone, it leaves the blocks without a gradient: they keep nothing."""
    size = (50, 192, 3)
    net = s2a.apply(network(*size, depth=2), ("lsb",), pool=pool).train()
    x = torch.randn(2, 50, 192)
    report = saved_activations(lambda: net.blocks(x), model=net)
    assert report.total == branch_bytes(BlockShape(2, *size), layers=2, pool=pool)


def test_a_probed_block_keeps_nothing_and_a_checkpointed_block_its_input():
    size, x = (50, 192, 3), torch.randn(2, 3, 112, 112)
    for method in ("linear_probe", "checkpointing"):
        kept = []
        for depth in (1, 2):
            net = s2a.baseline(network(*size, depth=depth), method).train()
            kept.append(saved_activations(lambda net=net: net(x), model=net).total)
        assert kept[1] - kept[0] == saved_bytes(BlockShape(2, *size), method)


def test_attention_copies_q_k_and_v_in_batches_only():
    """matmul needs contiguous matrices: in a batch of heads q, k, v are strided views of one."""
    one = saved_bytes(BlockShape(1, 50, 192, 3), "bitfit")
    two = saved_bytes(BlockShape(2, 50, 192, 3), "bitfit")
    assert 2 * one - two == 4 * 2 * 50 * 192
    single = [saved_bytes(BlockShape(batch, 50, 192, 1), "bitfit") for batch in (1, 2)]
    assert single[1] == 2 * single[0]
    block = VisionTransformer(img_size=112, embed_dim=192, num_heads=1, depth=1).blocks[0]
    assert measured(block, BlockShape(2, 50, 192, 1), False) == saved_bytes(
        BlockShape(2, 50, 192, 1), "full"
    )


def test_cnn_blocks_are_measured():
    model = timm.create_model("mobilenetv2_100", num_classes=2)
    net = s2a.apply(model, ("bias",)).train()
    x = torch.randn(2, 3, 64, 64)
    kept = saved_activations(lambda: net(x), model=net).by_module(3)
    sizes, pixels = {}, 32 * 32
    for i, stage in enumerate(net.blocks):
        for j, block in enumerate(stage):
            expanded, stride = block.conv_dw.weight.shape[0], block.conv_dw.how["stride"][0]
            out_pixels = pixels // stride**2
            if hasattr(block, "conv_pwl"):
                sizes[f"blocks.{i}.{j}"] = cnn_block_bytes(2, expanded, pixels, out_pixels)
            pixels = out_pixels
    assert len(sizes) == 16
    assert {name: kept[name] for name in sizes} == sizes


GELU = {"activation": 4}
GELU_NORM = {"activation": 4, "norm": 4}


@pytest.mark.parametrize(
    ("expected", "method", "options"),
    [
        (20.083, "full", {}),
        (16.021, "full", {"fused": True}),
        (13.083, "bitfit", {}),
        (10.021, "bitfit", {"fused": True}),
        (14.094, "lora_qkv", {"rank": 8}),
        (20.125, "lora_all", {"rank": 8}),
        (14.250, "adapter", {"bottleneck": 64}),
        (9.583, "s2a", {"bits": GELU}),
        (7.836, "s2a", {"bits": GELU_NORM}),
        (4.158, "s2a", {}),
        (1.627, "s2a", {"qkv_bits": 4}),
        (4.77, "s2a", {"fused": True}),
    ],
)
def test_units_of_a_vit_b_block(expected, method, options):
    tolerance = 0.005 if expected == 4.77 else 0.0005
    assert units(saved_bytes(VIT_B, method, **options), VIT_B) == pytest.approx(
        expected, abs=tolerance
    )


def test_formulas_of_the_sheet():
    n, d, h, r = 197, 768, 12, 8
    rows = {
        4 * (17 * n * d + h * n * n + 4 * n): saved_bytes(VIT_B, "full"),
        4 * (10 * n * d + h * n + 4 * n): saved_bytes(VIT_B, "bitfit", fused=True),
        4 * (17 * n * d + h * n * n + 4 * n + 4 * n * r): saved_bytes(VIT_B, "lora_all"),
        12 * n * d + (6 * n * d + h * n * n) // 2 + 24 * n + 4 * h * n: saved_bytes(VIT_B),
        (9 * n * d + h * n * n) // 2 + 24 * n + 28 * h * n: saved_bytes(VIT_B, qkv_bits=4),
        4 * (4 * n * d + h * n) + 3 * n * d + 24 * n: saved_bytes(VIT_B, fused=True),
    }
    assert all(by_hand == closed for by_hand, closed in rows.items())
    # Few trainable parameters, more memory.
    assert saved_bytes(VIT_B, "lora_all") > saved_bytes(VIT_B, "full")


def test_ratios_that_the_lab_shows():
    kept = saved_bytes(VIT_B)
    assert saved_bytes(VIT_B, "full") / kept >= 4.8
    assert saved_bytes(VIT_B, "full", fused=True) / kept >= 3.8
    # In a batch plain attention keeps one stream less, so the first ratio is smaller.
    batch = BlockShape(32, 197, 768, 12)
    ratio = saved_bytes(batch, "full") / saved_bytes(batch)
    assert ratio == pytest.approx(4.589, abs=0.001)
    small = BlockShape(1, 197, 384, 6)
    assert units(saved_bytes(small), small) == pytest.approx(units(kept, VIT_B), abs=0.01)


def test_cnn_blocks_of_the_sheet():
    batch, channels, pixels, expansion = 8, 96, 49, 6
    unit = 4 * batch * channels * pixels
    expanded = expansion * channels
    assert cnn_block_bytes(batch, expanded, pixels, bits=1) / unit == 2 * expansion / 32
    assert cnn_block_bytes(batch, expanded, pixels, bits=4) / unit == 1.5
    assert cnn_block_bytes(1, 3, 5, 2, bits=1) == 2 + 1  # ceil(15 / 8) + ceil(6 / 8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: saved_bytes(VIT_B, "lora"), "Unknown method 'lora'"),
        (lambda: saved_bytes(VIT_B, bits=3), "choose 1, 2, 4, 8 or 32"),
        (lambda: saved_bytes(VIT_B, qkv_bits=5), "choose 1, 2, 4, 8 or 32"),
        (lambda: saved_bytes(VIT_B, bits={"softmax": 4}), "bits go to activation"),
        (lambda: saved_bytes(VIT_B, fused=True, qkv_bits=4), "only with coded attention"),
        (lambda: saved_bytes(VIT_B, fused=True, bits={"attention": 4}), "no map to code"),
        (lambda: BlockShape(1, 197, 768, 7), "do not divide the width 768"),
        (lambda: BlockShape(0, 197, 768, 12), "batch=0"),
        (lambda: saved_bytes(VIT_B, "activation_coding", bits=32), "1, 2, 4 or 8 bits for all"),
        (lambda: saved_bytes(VIT_B, "lst", reduction=7), "does not divide the width 768"),
        (lambda: branch_bytes(VIT_B, layers=2, pool=7), "does not divide the width 768"),
    ],
)
def test_bad_arguments_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()

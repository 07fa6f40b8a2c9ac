"""Closed forms of saved bytes against the meter, to the byte, and the paper's accounting."""

import copy
import functools

import pytest
import timm
import torch
from torch import nn

from course_lib import mobiletl
from course_lib.measure import saved_activations
from course_lib.mobiletl import BlockShape, inverted_residuals, saved_bytes
from course_lib.mobiletl._blocks import parts


pytestmark = pytest.mark.lab10

NETWORKS = {
    "mobilenetv2_100": 16,
    "mobilenetv3_small_100": 10,
    "mobilenetv3_large_100": 14,
    "tf_efficientnet_lite0": 15,
}
# The block of the paper's figure 1.
V2 = BlockShape(batch=8, channels=96, expanded=576, height=7, width=7, out_channels=96)
V3 = BlockShape(8, 96, 576, 7, 7, 96, activation="hardswish", squeeze=144)


@functools.cache
def network(name: str) -> nn.Module:
    return timm.create_model(name, num_classes=10)


def block_inputs(model: nn.Module, size: int) -> dict[str, tuple[int, ...]]:
    """(C, H, W) that each block gets, from one picture."""
    shapes, x = {}, torch.zeros(1, 3, size, size)
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        for part in parts(model):
            shapes[part.name] = tuple(x.shape[1:])
            x = part.module(x)
    return shapes


def measured(block: nn.Module, shape: tuple[int, ...], method: str) -> int:
    block = copy.deepcopy(block).train()
    if method == "mobiletl":
        mobiletl.convert_block(block, "sign")
    x = torch.randn(shape)
    return saved_activations(lambda: block(x), model=block).total


@pytest.mark.parametrize("name", NETWORKS)
def test_closed_form_is_measured_at_224_pixels_and_batch_8(name):
    model = network(name)
    blocks = inverted_residuals(model)
    assert len(blocks) == NETWORKS[name]
    inputs = block_inputs(model, 224)
    for block_name, block in blocks:
        shape = (8, *inputs[block_name])
        for method in ("full", "mobiletl"):
            closed = saved_bytes(block, shape, method)
            assert closed == measured(block, shape, method), (block_name, method)


@pytest.mark.parametrize("name", NETWORKS)
def test_closed_form_is_measured_at_an_odd_size(name):
    """With stride 2, where padding matters, and in the depthwise-separable first block."""
    model = network(name)
    inputs = block_inputs(model, 73)
    for part in parts(model):
        shape = (3, *inputs[part.name])
        strided = part.role == "block" and part.module.conv_dw.stride[0] > 1
        for method in ("full", "mobiletl"):
            if strided or part.name == "blocks_0_0":
                closed = saved_bytes(part.module, shape, method)
                assert closed == measured(part.module, shape, method), (part.name, method)


def test_converted_block_has_the_same_closed_form():
    name, block = inverted_residuals(network("mobilenetv3_small_100"))[-1]
    shape = (8, *block_inputs(network("mobilenetv3_small_100"), 64)[name])
    converted = mobiletl.convert_block(copy.deepcopy(block), "sign")
    assert mobiletl.block_shape(converted, shape) == mobiletl.block_shape(block, shape)


def test_paper_block_without_se():
    kept, full = saved_bytes(V2), saved_bytes(V2, method="full")
    assert kept == 2_163_840 + 768
    assert saved_bytes(V2, statistics=False) == 2_163_840
    assert 100 * (1 - kept / full) == pytest.approx(62.2, abs=0.1)
    paper = saved_bytes(V2, method="full", mask_bits=2, statistics=False)
    assert paper == 4_026_624
    assert 100 * (1 - saved_bytes(V2, statistics=False) / paper) == pytest.approx(46.3, abs=0.1)


def test_paper_block_with_se():
    kept, full = saved_bytes(V3), saved_bytes(V3, method="full")
    assert (kept, full) == (3_127_680, 6_693_120)
    assert 100 * (1 - kept / full) == pytest.approx(53.3, abs=0.1)


def test_units_of_the_sheet():
    """In units of the input map, at e = 6, without the norms' vectors."""
    unit = 4 * V2.batch * V2.channels * V2.pixels
    relu = BlockShape(8, 96, 576, 7, 7, 96, activation="relu")
    smooth = BlockShape(8, 96, 576, 7, 7, 96, activation="hardswish")
    cases = {
        14.375: (V2, "mobiletl", None),
        17.0: (V2, "mobiletl", 8),
        38.0: (V2, "full", None),
        26.75: (V2, "full", 2),
        26.375: (V2, "full", 1),
        26.0: (relu, "full", None),
        0.375: (V2, "bias", None),
        13.375: (V2, "norm", None),
        12.0: (smooth, "bias", None),
    }
    for units, (shape, method, bits) in cases.items():
        assert saved_bytes(shape, method=method, mask_bits=bits, statistics=False) == units * unit


@pytest.mark.parametrize(
    ("method", "megabytes"),
    [({"blocks": 3}, 23.14), ({"blocks": 5}, 35.92), ({}, 129.37)],
    ids=["3", "5", "all"],
)
def test_fine_tuning_bytes_of_the_paper(method, megabytes):
    name = "ft_blocks" if method else "ft_all"
    net = mobiletl.baseline(network("mobilenetv3_small_100"), name, **method).train()
    x = torch.randn(8, 3, 224, 224)
    # The classifier has 10 outputs here, which autograd does not keep.
    kept = saved_activations(lambda: net(x), model=net).total
    assert kept / 1e6 == pytest.approx(megabytes, rel=0.005)


def test_bytes_grow_with_the_number_of_blocks():
    x = torch.randn(8, 3, 96, 96)
    kept = []
    for blocks in range(1, 6):
        net = mobiletl.apply(network("tf_efficientnet_lite0"), blocks=blocks).train()
        kept.append(saved_activations(lambda n=net: n(x), model=net).total)
    assert kept == sorted(set(kept))


def test_share_of_fine_tuning_at_96_pixels():
    model, x = network("tf_efficientnet_lite0"), torch.randn(8, 3, 96, 96)
    nets = [
        mobiletl.baseline(model, "ft_blocks", blocks=3),
        mobiletl.apply(model, blocks=3),
        mobiletl.apply(model, blocks=3, head="converted"),
    ]
    plain, ordinary, converted = (
        saved_activations(lambda n=net: n.train()(x), model=net).total for net in nets
    )
    assert ordinary / plain <= 0.46
    assert converted / plain <= 0.36


def test_flags_alone_save_nothing():
    _, block = inverted_residuals(network("mobilenetv2_100"))[-1]
    shape = (8, 160, 7, 7)
    plain = measured(block, shape, "full")
    frozen = copy.deepcopy(block).eval()
    for norm in (frozen.bn1, frozen.bn2):
        norm.requires_grad_(False)
    x = torch.randn(shape)
    kept = saved_activations(lambda: frozen(x), model=frozen).total
    assert kept >= 0.99 * plain
    assert measured(block, shape, "mobiletl") < 0.45 * plain


def test_memory_model_orders_the_methods():
    model, shape = network("mobilenetv3_small_100"), (8, 3, 96, 96)

    def total(net):
        return mobiletl.training_memory(net, shape)

    last = total(mobiletl.baseline(model, "last_layer"))
    ours = total(mobiletl.apply(model, blocks=5, mask="sign"))
    plain = total(mobiletl.baseline(model, "ft_blocks", blocks=5))
    everything = total(mobiletl.baseline(model, "ft_all"))
    assert last.total < ours.total <= plain.total < everything.total
    count = sum(p.numel() for p in model.parameters())
    assert everything.parameters == 4 * count
    classifier = sum(p.numel() for p in model.classifier.parameters())
    assert last.parameters == 4 * classifier + (count - classifier)


def test_memory_model_by_hand():
    """Two layers: a frozen one, then a trained one whose input is kept."""
    from course_lib.mobiletl._blocks import Part

    net = mobiletl.CutNetwork(
        [Part("a", nn.Conv2d(3, 4, 1, bias=False), "stem")],
        [
            Part("b", nn.Conv2d(4, 2, 1, bias=False), "head"),
            Part("act", nn.ReLU6(), "head"),
            Part("flatten", nn.Flatten(), "head"),
        ],
    )
    memory = mobiletl.training_memory(net, (8, 3, 2, 2))
    assert memory.parameters == 12 * 1 + 8 * 4
    # Layer a: 3 + 4 maps. Layer b: 4 + 2. ReLU6: 4 kept + 2. Each map has 4 pixels of 4 bytes.
    assert memory.activations == 8 * 7 * 16
    assert memory.total == memory.parameters + memory.activations


def test_bad_questions_are_refused():
    _, block = inverted_residuals(network("mobilenetv2_100"))[-1]
    with pytest.raises(ValueError, match="input_shape"):
        saved_bytes(block)
    with pytest.raises(ValueError, match="160 channels"):
        saved_bytes(block, (8, 3, 7, 7))
    with pytest.raises(ValueError, match="expanded=0"):
        BlockShape(8, 96, 0, 7, 7, 96)
    with pytest.raises(ValueError, match="gelu"):
        BlockShape(8, 96, 576, 7, 7, 96, activation="gelu")
    with pytest.raises(ValueError, match="Linear"):
        saved_bytes(nn.Linear(2, 2), (8, 3, 7, 7))

"""The meter of saved activations: exact bytes, right owners, nothing hidden."""

import functools

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from course_lib import measure
from course_lib.measure._modules import check_callable


HIDDEN = "kept outside save_for_backward"


class Square(torch.autograd.Function):
    """Saves its input as the rules want."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * x * grad


class HidesOnCtx(torch.autograd.Function):
    """Keeps tensors where autograd's hooks do not look."""

    @staticmethod
    def forward(ctx, x, how):
        made = x.detach().clone()
        if how == "attribute":
            ctx.made = made
        elif how == "container":
            ctx.stuff = {"list": [(1, made)]}
        elif how == "closure":
            ctx.again = lambda: made * 2
        elif how == "partial":
            ctx.again = functools.partial(torch.mul, made)
        elif how == "input":
            ctx.x = x
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2, None


def block_at(name: str, stage: int, index: int) -> nn.Module:
    return timm.create_model(name).blocks[stage][index].train()


def irb_bytes(block: nn.Module, batch: int, side: int) -> int:
    """S_full of an inverted residual block, written out from its layers."""
    channels, expanded = block.conv_pw.in_channels, block.conv_pw.out_channels
    out = block.conv_pwl.out_channels
    stride, kernel = block.conv_dw.stride[0], block.conv_dw.kernel_size[0]
    inner = -(-side // stride)
    pixels, inner_pixels = side**2, inner**2
    padded = pixels
    if type(block.conv_dw).__name__ == "Conv2dSame":  # pads a copy, and keeps the copy
        padded = (max((inner - 1) * stride + kernel, side)) ** 2
    extra = 0 if isinstance(block.bn1.act, nn.ReLU) else 1
    maps = channels * pixels + expanded * (pixels * (1 + extra) + padded)
    maps += (2 + extra) * expanded * inner_pixels + out * inner_pixels
    squeeze = getattr(block, "se", None)
    if isinstance(squeeze, nn.Module) and not isinstance(squeeze, nn.Identity):
        maps += expanded * inner_pixels + 3 * expanded + squeeze.conv_reduce.out_channels
    return 4 * batch * maps + 8 * (2 * expanded + out)


@pytest.mark.parametrize(
    ("name", "stage", "index"),
    [
        ("mobilenetv2_100", 1, 0),
        ("mobilenetv2_100", 2, 1),
        ("mobilenetv3_small_100", 1, 0),
        ("mobilenetv3_small_100", 2, 0),
        ("mobilenetv3_small_100", 2, 1),
        ("mobilenetv3_large_100", 2, 0),
        ("mobilenetv3_large_100", 3, 1),
        ("tf_efficientnet_lite0", 2, 0),
        ("tf_efficientnet_lite0", 2, 1),
    ],
)
def test_inverted_residual_block_equals_the_closed_form(name, stage, index):
    block = block_at(name, stage, index)
    x = torch.randn(2, block.conv_pw.in_channels, 12, 12)
    report = measure.saved_activations(lambda: block(x))
    assert report.total == irb_bytes(block, batch=2, side=12)


def test_named_shape_of_the_paper():
    # C = 96, e = 6, 7x7, batch 8, ReLU6: 38 maps of 4BCP bytes and the vectors of three norms.
    block = timm.models._efficientnet_blocks.InvertedResidual(
        96, 96, exp_ratio=6.0, act_layer=nn.ReLU6
    )
    x = torch.randn(8, 96, 7, 7)
    total = measure.saved_activations(lambda: block(x)).total
    assert total == 38 * 4 * 8 * 96 * 49 + 8 * (2 * 576 + 96)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    ("activation", "extra_maps"), [(nn.ReLU, 0), (nn.ReLU6, 1), (nn.Hardswish, 1), (nn.SiLU, 1)]
)
def test_activation_between_convolutions(activation, extra_maps, inplace):
    net = nn.Sequential(nn.Conv2d(3, 8, 1), activation(inplace=inplace), nn.Conv2d(8, 4, 1))
    x = torch.randn(2, 3, 5, 5)
    report = measure.saved_activations(lambda: net(x))
    assert report.total == 4 * 2 * 25 * (3 + 8 * (1 + extra_maps))


def test_storage_counts_once_and_parameters_never():
    linear = nn.Linear(6, 6)
    x = torch.randn(4, 6)
    report = measure.saved_activations(lambda: linear(x) + linear(x.view(2, 2, 6)).view(4, 6))
    assert report.total == x.nbytes
    # The gradient of x needs the weight, a parameter: nothing more is kept.
    assert measure.saved_activations(lambda: linear(x.requires_grad_())).total == x.nbytes


def test_parameter_without_module_and_functional_call():
    weight = nn.Parameter(torch.randn(6, 5))
    x = torch.randn(4, 6, requires_grad=True)
    assert measure.saved_activations(lambda: x @ weight).total == x.nbytes
    linear = nn.Linear(6, 5)
    values = {name: p.detach().clone().requires_grad_() for name, p in linear.named_parameters()}
    report = measure.saved_activations(lambda: torch.func.functional_call(linear, values, x))
    assert report.total == x.nbytes


def test_buffers_of_a_module_do_not_count():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", torch.rand(5))

        def forward(self, x):
            return x * self.scale

    x = torch.randn(4, 5, requires_grad=True)
    assert measure.saved_activations(lambda: Scale()(x)).total == 0


def test_model_adds_parts_that_do_not_run_as_modules():
    linear = nn.Linear(5, 5)
    x = torch.randn(4, 5, requires_grad=True)
    buffer_holder = nn.BatchNorm1d(5)
    used = buffer_holder.running_var
    assert measure.saved_activations(lambda: x * used).total == used.nbytes
    both = nn.Sequential(linear, buffer_holder)
    assert measure.saved_activations(lambda: x * used, model=both).total == 0


def test_slices_of_a_data_set_count_as_slices():
    data = torch.randn(1000, 3, 4, 4)
    conv = nn.Conv2d(3, 2, 1)
    row = data[0].nbytes
    assert measure.saved_activations(lambda: conv(data[0:8])).total == 8 * row
    overlapping = measure.saved_activations(lambda: conv(data[0:8]) + conv(data[4:12]))
    assert overlapping.total == 12 * row
    batch = data[8:16]
    assert measure.saved_activations(lambda: conv(batch)).total == 8 * row
    columns = torch.randn(100, 50)[:, :5]
    linear = nn.Linear(5, 2)
    assert measure.saved_activations(lambda: linear(columns)).total == 100 * 5 * 4


def test_view_of_a_storage_made_inside_pins_it_whole():
    x = torch.randn(10, 8, requires_grad=True)
    report = measure.saved_activations(lambda: (x + 1)[:2].exp().log())
    # exp saves its result (2 rows), log saves its input: the same storage, two rows.
    assert report.total == 2 * 8 * 4
    pinned = measure.saved_activations(lambda: (x + 1)[:2].sin())
    assert pinned.total == 10 * 8 * 4


def test_output_counts_only_if_saved():
    x = torch.randn(10, requires_grad=True)
    assert measure.saved_activations(lambda: x + 1).total == 0
    assert measure.saved_activations(lambda: x.exp()).total == x.nbytes


def test_no_grad_is_empty():
    linear = nn.Linear(5, 5)
    x = torch.randn(4, 5)
    with torch.no_grad():
        assert measure.saved_activations(lambda: linear(x)).total == 0
    with torch.inference_mode():
        assert measure.saved_activations(lambda: linear(x)).total == 0

    def frozen_trunk():
        with torch.no_grad():
            features = linear(x)
        return linear(features)

    assert measure.saved_activations(frozen_trunk).total == 4 * 5 * 4


def test_dropped_graph_does_not_count():
    x = torch.randn(10, requires_grad=True)

    def fn():
        x.exp().sum()
        return x.sin().sum()

    assert measure.saved_activations(fn).total == x.nbytes


def test_backward_inside_leaves_nothing():
    linear = nn.Linear(5, 5)
    x = torch.randn(4, 5)

    def fn():
        loss = linear(x).square().mean()
        loss.backward()
        return loss

    assert measure.saved_activations(fn).total == 0


def test_custom_function_is_named():
    x = torch.randn(10, requires_grad=True)
    (row,) = measure.saved_activations(lambda: Square.apply(x)).tensors
    assert (row.op, row.nbytes, row.shape) == ("Square", x.nbytes, (10,))


@pytest.mark.parametrize("how", ["attribute", "container", "closure", "partial", "input"])
@pytest.mark.parametrize("stashed", [False, True])
def test_hidden_tensors_are_seen(how, stashed):
    x = torch.randn(10, requires_grad=True)
    stash = []

    def fn():
        out = HidesOnCtx.apply(x, how).sum()
        if stashed:
            stash.append(out)
        return out

    (row,) = measure.saved_activations(fn).tensors
    assert row.op == HIDDEN
    assert row.nbytes == x.nbytes


@pytest.mark.parametrize("stashed", [False, True])
def test_tensor_in_a_backward_hook_is_seen(stashed):
    x = torch.randn(10, requires_grad=True)
    stash = []

    def fn():
        out = x + 1
        mask = torch.ones(10, dtype=torch.bool)
        out.register_hook(lambda grad: grad * mask)
        loss = out.sum()
        if stashed:
            stash.append(loss)
        return loss

    (row,) = measure.saved_activations(fn).tensors
    assert (row.op, row.nbytes) == (HIDDEN, 10)


def test_user_hooks_that_pack_are_seen():
    x = torch.randn(64, requires_grad=True)

    def fn():
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: t.to(torch.float16), lambda t: t.float()
        ):
            return x.sin().sum()

    (row,) = measure.saved_activations(fn).tensors
    assert (row.op, row.dtype, row.nbytes) == (HIDDEN, torch.float16, 128)


def test_caches_outside_the_graph_do_not_count():
    class Caches(nn.Module):
        def forward(self, x):
            self.cache = x.detach() * 3
            return x * 2

    net = Caches()
    x = torch.randn(10, requires_grad=True)
    assert measure.saved_activations(lambda: net(x)).total == 0


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpoint_keeps_only_its_input(use_reentrant):
    net = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8))
    x = torch.randn(4, 8, requires_grad=True)
    plain = measure.saved_activations(lambda: net(x)).total
    kept = measure.saved_activations(lambda: checkpoint(net, x, use_reentrant=use_reentrant))
    assert plain == 4 * 4 * (8 + 32 + 32)
    assert kept.total == x.nbytes


def test_checkpoint_of_a_map_made_inside():
    first, second = nn.Linear(8, 32), nn.Sequential(nn.GELU(), nn.Linear(32, 8))
    x = torch.randn(4, 8)
    report = measure.saved_activations(
        lambda: checkpoint(second, first(x), use_reentrant=False).sum()
    )
    assert report.total == 4 * 4 * (8 + 32)


def test_autocast_keeps_half():
    net = nn.Sequential(nn.Linear(64, 64), nn.Sigmoid())
    x = torch.randn(4, 64, requires_grad=False)

    def fn():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return net(x)

    report = measure.saved_activations(fn)
    assert {row.dtype for row in report.tensors} == {torch.bfloat16}
    assert report.total == 2 * (x.numel() + 4 * 64)


@pytest.mark.parametrize("form", ["module", "function"])
def test_compiled_code_is_refused(form):
    linear = nn.Linear(5, 5)
    x = torch.randn(4, 5)
    if form == "module":
        compiled = torch.compile(linear, backend="eager")
    else:
        compiled = torch.compile(lambda x: linear(x), backend="eager")
    for meter in (measure.saved_activations, measure.peak_memory, measure.flops):
        with pytest.raises(RuntimeError, match="measure the uncompiled model"):
            meter(lambda: compiled(x))
    assert measure.saved_activations(lambda: linear(x)).total == x.nbytes


def test_owners_nested_and_outside():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(6, 6), nn.Tanh())

        def forward(self, x):
            return self.inner(x).sin()

    net = nn.Sequential(Block(), nn.Linear(6, 3))
    x = torch.randn(2, 6)
    labels = torch.tensor([0, 1])
    report = measure.saved_activations(lambda: nn.CrossEntropyLoss()(net(x), labels).exp())
    owners = [(row.module, row.kind) for row in report.tensors]
    assert owners[:4] == [
        ("0.inner.0", "Linear"),
        ("0.inner.1", "Tanh"),
        ("1", "Linear"),
        ("CrossEntropyLoss", "CrossEntropyLoss"),
    ]
    assert owners[-1] == ("(outside modules)", "(outside modules)")
    assert list(report.by_module(depth=1))[:2] == ["0", "1"]
    assert sum(report.by_module().values()) == report.total
    assert sum(report.by_kind().values()) == report.total
    assert report.by_kind()["Linear"] == 2 * (2 * 6 * 4)


def test_block_own_operations_belong_to_the_block():
    class Block(nn.Module):
        def forward(self, x):
            return x.sin()

    net = nn.Sequential(nn.Identity(), Block())
    (row,) = measure.saved_activations(lambda: net(torch.ones(3, requires_grad=True))).tensors
    assert (row.module, row.kind, row.op) == ("1", "Block", "Sin")


def test_model_names_parts_that_are_called_alone():
    net = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 2))
    x = torch.randn(2, 4)
    report = measure.saved_activations(lambda: net[1](net[0](x)), model=net)
    assert list(report.by_module()) == ["0.0", "0.1", "1"]


def test_report_shows_itself():
    conv = nn.Conv2d(3, 2, 1)
    report = measure.saved_activations(lambda: F.relu(conv(torch.randn(1, 3, 4, 4))).sum())
    assert len(report.table()) == len(report.tensors)
    assert report.table()["bytes"].sum() == report.total
    assert "Conv2d" in report._repr_html_()
    assert "SavedReport" in repr(report)


def test_outputs_in_structures():
    x = torch.randn(10, requires_grad=True)
    assert measure.saved_activations(lambda: {"a": [x.exp()], "n": 3}).total == x.nbytes


def test_same_result_and_gradient_with_the_meter():
    net = nn.Sequential(nn.Linear(5, 5), nn.ReLU6(inplace=True), nn.Linear(5, 1))
    x = torch.randn(4, 5)
    outputs = []
    measure.saved_activations(lambda: outputs.append(net(x).sum()) or outputs[-1])
    outputs[0].backward()
    seen = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    net(x).sum().backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(seen, net.parameters(), strict=True))


def test_in_place_change_of_a_saved_tensor_still_raises():
    def fn():
        x = torch.randn(4, requires_grad=True)
        y = x * 2
        z = y.sin()
        y.add_(1)
        z.sum().backward()

    with pytest.raises(RuntimeError, match="changed in place"):
        measure.peak_memory(fn)


def test_bad_input():
    with pytest.raises(TypeError, match=r"saved_activations\(lambda: model\(x\)\)"):
        check_callable(torch.ones(3), "saved_activations")
    with pytest.raises(TypeError):
        measure.saved_activations(torch.ones(3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="returned no tensor"):
        measure.saved_activations(lambda: None)
    report = measure.saved_activations(lambda: torch.ones(2, requires_grad=True).sin())
    with pytest.raises(ValueError, match="depth"):
        report.by_module(depth=0)


def test_error_in_fn_leaves_no_hooks():
    linear = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="shapes"):
        measure.saved_activations(lambda: linear(torch.ones(3, 3)))
    assert not torch.nn.modules.module._global_forward_hooks
    assert not torch.nn.modules.module._global_forward_pre_hooks
    assert measure.saved_activations(lambda: linear(torch.ones(3, 2))).total == 24

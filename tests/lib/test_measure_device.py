"""The virtual device: refuses the first byte too many, and leaves nothing behind."""

import gc

import pytest
import torch
from torch import nn

from course_lib import measure
from course_lib.measure import MiB, OutOfBudget, virtual_device


def live_bytes() -> int:
    gc.collect()
    # Asked by type, not by isinstance, which would import lazy modules.
    tensors = [o for o in gc.get_objects() if issubclass(type(o), torch.Tensor)]
    storages = [t.untyped_storage() for t in tensors if t.layout == torch.strided]
    return sum({s.data_ptr(): s.nbytes() for s in storages}.values())


def wide(width: int = 256, depth: int = 6) -> nn.Sequential:
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.Sigmoid())]
    return nn.Sequential(*layers)


def test_forward_raises_and_everything_is_released():
    net, x = wide(), torch.randn(4096, 256)
    before = live_bytes()

    def train():
        hidden = net(x)
        return hidden.sum()

    with pytest.raises(OutOfBudget) as caught, virtual_device(memory=16 * MiB):
        train()
    error = caught.value
    # The exception and its traceback are still here; the tensors are not.
    assert error.__traceback__ is not None
    assert "the forward pass of" in str(error)
    assert live_bytes() == before
    assert error.budget == 16 * MiB < error.needed
    assert sum(n for _, n in error.live) == error.needed
    assert error.live == sorted(error.live, key=lambda item: -item[1])
    net(x[:8]).sum().backward()  # the process goes on


def test_message_names_budget_groups_modules_and_help():
    net, x = wide(), torch.randn(4096, 256)
    with pytest.raises(OutOfBudget) as caught, virtual_device(memory=16 * MiB, name="watch"):
        net(x)
    text = str(caught.value)
    assert text.startswith("watch: this needs ")
    for words in ("16.0 MiB", "saved activations", "parameters", "of 1", "MobileTL", "checkpoint"):
        assert words in text


def test_backward_raises_and_everything_is_released():
    net, x = wide(width=1024, depth=2), torch.randn(64, 1024)
    before = live_bytes()
    with virtual_device(memory=2**40) as device:
        loss = net(x).sum()
        forward_peak = device.peak
    del loss

    def train():
        net(x).sum().backward()

    with pytest.raises(OutOfBudget) as caught, virtual_device(memory=forward_peak + MiB):
        train()
    assert "the backward pass" in str(caught.value)
    net.zero_grad()
    assert live_bytes() == before


def test_optimizer_step_raises():
    net, x = wide(width=512, depth=4), torch.randn(2, 512)
    optimizer = torch.optim.Adam(net.parameters())

    def train():
        net(x).sum().backward()
        optimizer.step()

    weights = sum(p.nbytes for p in net.parameters())
    with pytest.raises(OutOfBudget) as caught, virtual_device(memory=3 * weights):
        train()
    labels = dict(caught.value.live)
    assert labels["parameters"] == labels["gradients"] == weights
    assert labels["optimizer state"] > 0
    # Adam stopped half-way through making its state: a new one is needed, as on a real device.
    optimizer = torch.optim.Adam(net.parameters())
    with virtual_device(memory=6 * weights):
        train()


@pytest.mark.parametrize(
    ("part", "words"),
    [("parameters", "fewer bits per weight"), ("temporaries", "no_grad")],
)
def test_help_follows_the_largest_part(part, words):
    net, x = wide(width=512), torch.randn(2, 512)
    with pytest.raises(OutOfBudget) as caught, virtual_device(memory=MiB), torch.no_grad():
        if part == "parameters":
            net(x)
        else:
            torch.ones(MiB)
    assert caught.value.live[0][0].startswith(part)
    assert words in str(caught.value)


def test_a_run_that_fits_is_unchanged():
    def train(device):
        torch.manual_seed(0)
        net, x = wide(width=16, depth=2), torch.randn(8, 16)
        optimizer = torch.optim.Adam(net.parameters())
        with device:
            for _ in range(3):
                optimizer.zero_grad()
                net(x).square().mean().backward()
                optimizer.step()
        return net.state_dict()

    plain = train(torch.enable_grad())
    inside = train(virtual_device())
    assert all(torch.equal(plain[name], inside[name]) for name in plain)


def test_the_cap_is_the_peak_to_the_byte():
    net, x = wide(width=64, depth=3), torch.randn(32, 64)

    def forward():
        return net(x).sum()

    with virtual_device() as device:
        forward()
    peak = device.peak
    with virtual_device(memory=peak):
        forward()
    with pytest.raises(OutOfBudget), virtual_device(memory=peak - 1):
        forward()


def test_what_is_freed_does_not_count():
    with virtual_device(memory=3 * MiB) as device:
        for _ in range(10):
            block = torch.ones(MiB // 4)  # 1 MiB
            del block
        assert device.used == 0
    assert device.used == 0
    assert device.peak == MiB


def test_tensors_from_before_count_when_used():
    big, small = torch.ones(MiB), torch.ones(MiB // 4)
    with virtual_device(memory=3 * MiB):
        small.sum()
        big[:100].sum()
        with pytest.raises(OutOfBudget):
            big.sum()


def test_caught_inside_the_block():
    with virtual_device(memory=MiB) as device:
        with pytest.raises(OutOfBudget) as caught:
            torch.ones(MiB)
        del caught
        gc.collect()
        assert torch.ones(10).sum() == 10
        assert device.used < MiB


def test_nested_devices_count_for_themselves():
    with virtual_device(memory=8 * MiB) as outer:
        kept = torch.ones(MiB // 4)
        with virtual_device(memory=2 * MiB, name="watch") as inner:
            torch.ones(MiB // 4)
            with pytest.raises(OutOfBudget, match="^watch"):
                torch.ones(MiB)
        assert inner.peak > 2 * MiB
        assert outer.used == kept.nbytes
        with (
            pytest.raises(OutOfBudget, match="^phone"),
            virtual_device(memory=100 * MiB, name="laptop"),
        ):
            torch.ones(4 * MiB)


def test_other_meters_work_inside():
    net, x = nn.Sequential(nn.Linear(8, 8), nn.Sigmoid()), torch.randn(4, 8)
    plain = measure.saved_activations(lambda: net(x)).total
    with virtual_device() as device:
        assert measure.saved_activations(lambda: net(x)).total == plain
        assert device.peak > plain


def test_state_is_restored_after_each_end():
    device = virtual_device(memory=MiB)
    for failing in (False, True, True, False):
        try:
            with device:
                torch.ones(MiB if failing else 1)
            assert not failing
        except OutOfBudget:
            assert failing
        torch.ones(MiB)
        assert not torch.nn.modules.module._global_forward_hooks
        assert torch.utils._python_dispatch._get_current_dispatch_mode() is None


def test_one_device_cannot_be_entered_twice():
    with virtual_device() as device, pytest.raises(RuntimeError, match="make a second one"):
        device.__enter__()


def test_other_errors_pass_through():
    with pytest.raises(ZeroDivisionError), virtual_device():
        _ = 1 / 0


@pytest.mark.parametrize("memory", [0, -1, True, float("nan")])
def test_bad_memory(memory):
    with pytest.raises(ValueError, match="positive number of bytes"):
        virtual_device(memory=memory)

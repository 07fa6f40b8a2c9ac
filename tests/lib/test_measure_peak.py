"""Peak memory against an independent account: the allocator's events in torch's profiler."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile

from course_lib import measure


PARTS = ["parameters", "gradients", "optimizer state", "saved activations", "temporaries"]

# The profiler says so once per process when a block from before it is freed (a small scalar).
UNKNOWN_BLOCK = pytest.mark.filterwarnings("ignore:Memory block of unknown size")

NETWORKS = {
    "mobilenetv3_small_100": {},
    "tf_efficientnet_lite0": {},
    "vit_tiny_patch16_224": {"img_size": 96, "depth": 4},
}


def distinct_bytes(tensors) -> int:
    storages = [t.untyped_storage() for t in tensors]
    return sum({s.data_ptr(): s.nbytes() for s in storages}.values())


def peak_of_allocator(step) -> int:
    """Highest sum of allocated minus freed bytes during `step`."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
        step()
    events = []
    waiting = list(prof.profiler.kineto_results.experimental_event_tree())
    while waiting:
        event = waiting.pop()
        waiting += event.children
        if event.tag == torch._C._profiler._EventType.Allocation:
            events.append((event.start_time_ns, event.extra_fields.alloc_size))
    events.sort(key=lambda event: event[0])
    live = peak = 0
    for _, nbytes in events:
        live += nbytes
        peak = max(peak, live)
    return peak


def make_step(name: str, batch: int):
    net = timm.create_model(name, **NETWORKS[name]).train()
    optimizer = torch.optim.Adam(net.parameters())
    x, y = torch.randn(batch, 3, 96, 96), torch.randint(0, 1000, (batch,))

    def step():
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()

    def before() -> int:
        state = [t for values in optimizer.state.values() for t in values.values()]
        return distinct_bytes([*net.parameters(), *net.buffers(), *state, x, y])

    return net, optimizer, step, before


@UNKNOWN_BLOCK
@pytest.mark.parametrize("name", NETWORKS)
def test_training_step_agrees_with_the_allocator(name):
    net, optimizer, step, before = make_step(name, batch=8)
    # The first step makes the optimizer's state; the second finds it there.
    for turn in ("first", "second"):
        at_start = before()
        expected = at_start + peak_of_allocator(step)
        if turn == "first":
            optimizer.state.clear()
        report = measure.peak_memory(step, model=net, optimizer=optimizer)
        assert report.total == pytest.approx(expected, rel=0.02), turn
        assert report.total == max(report.timeline)
        assert list(report.parts) == PARTS
        assert sum(report.parts.values()) == report.total
        parameters = distinct_bytes([*net.parameters(), *net.buffers()])
        assert report.parts["parameters"] == parameters


def test_parts_of_one_layer_by_hand():
    linear = nn.Linear(1000, 500, bias=False)
    x = torch.randn(64, 1000)
    weight, kept, out = 4 * 1000 * 500, 4 * 64 * 1000, 4 * 64 * 500
    report = measure.peak_memory(lambda: linear(x))
    assert report.parts == {
        "parameters": weight,
        "gradients": 0,
        "optimizer state": 0,
        "saved activations": kept,
        "temporaries": out,
    }
    with torch.no_grad():
        report = measure.peak_memory(lambda: linear(x))
    assert report.parts["saved activations"] == 0
    assert report.parts["temporaries"] == kept + out


def test_gradients_and_state_from_before_count():
    linear = nn.Linear(100, 100, bias=False)
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1, momentum=0.9)
    x = torch.randn(2, 100)
    linear(x).sum().backward()
    optimizer.step()
    parts = measure.peak_memory(lambda: linear(x), optimizer=optimizer).parts
    assert parts["gradients"] == parts["optimizer state"] == parts["parameters"] == 40_000


def test_optimizer_is_found_when_it_steps():
    linear = nn.Linear(100, 100, bias=False)
    optimizer = torch.optim.Adam(linear.parameters())
    x = torch.randn(2, 100)

    def step():
        linear(x).sum().backward()
        optimizer.step()

    parts = measure.peak_memory(step).parts
    assert parts["optimizer state"] >= 2 * 40_000
    assert parts["gradients"] == 40_000


def test_saved_part_equals_the_meter_of_saved_activations():
    net = nn.Sequential(nn.Linear(20, 400), nn.Sigmoid(), nn.Linear(400, 300), nn.Tanh())
    x = torch.randn(32, 20)
    saved = measure.saved_activations(lambda: net(x)).total
    at_the_end = measure.peak_memory(lambda: net(x).repeat(50, 1)).parts
    assert at_the_end["saved activations"] == saved


def test_checkpoint_lowers_the_peak():
    layers = [nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64)) for _ in range(8)]
    x = torch.randn(512, 64, requires_grad=True)

    def run(wrap):
        h = x
        for layer in layers:
            h = wrap(layer, h)
        h.sum().backward()

    plain = measure.peak_memory(lambda: run(lambda layer, h: layer(h)))
    for reentrant in (False, True):
        lean = measure.peak_memory(
            lambda r=reentrant: run(
                lambda layer, h: torch.utils.checkpoint.checkpoint(layer, h, use_reentrant=r)
            )
        )
        assert lean.total < 0.5 * plain.total


def test_rows_of_a_data_set_count_as_rows():
    data = torch.randn(10_000, 10)
    order = torch.randperm(10_000)
    linear = nn.Linear(10, 1, bias=False)
    with torch.no_grad():
        sliced = measure.peak_memory(lambda: linear(data[:8])).total
        picked = measure.peak_memory(lambda: linear(data[order[:8]])).total
    assert sliced == 8 * 40 + 40 + 8 * 4
    assert picked == sliced + 8 * 8


def test_timeline_starts_with_what_was_there_and_report_shows_itself():
    linear = nn.Linear(10, 10, bias=False)
    x = torch.randn(4, 10)
    report = measure.peak_memory(lambda: linear(x).sum().backward())
    assert report.timeline[0] == 400 + 160
    assert "saved activations" in report._repr_html_()
    assert "PeakReport" in repr(report)
    with pytest.raises(TypeError):
        measure.peak_memory(None)  # type: ignore[arg-type]


def test_same_training_with_the_meter():
    def train(wrap):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU6(), nn.Linear(8, 1))
        optimizer = torch.optim.Adam(net.parameters())
        x = torch.randn(6, 5)

        def step():
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()

        for _ in range(3):
            wrap(step)
        return net.state_dict()

    plain, metered = train(lambda step: step()), train(measure.peak_memory)
    assert all(torch.equal(plain[name], metered[name]) for name in plain)

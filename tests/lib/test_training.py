import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from course_lib import training


@pytest.fixture(autouse=True)
def one_thread():
    """These networks are tiny: a second thread only waits for the first."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def blobs(count=64, classes=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=random)
    inputs = torch.randn(count, 5, generator=random) * 0.3
    inputs[torch.arange(count), labels] += 2
    return inputs, labels


def network(classes=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(5, 16), nn.BatchNorm1d(16), nn.Dropout(0.1), nn.Linear(16, classes)
    )


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_learns_separable_blobs(optimizer):
    model = network()
    history = training.fit(
        model, blobs(), val=blobs(seed=1), epochs=6, lr=0.02, optimizer=optimizer, progress=False
    )
    assert history.val_accuracy[-1] > 0.95
    assert len(history.val_accuracy) == 6
    assert len(history.loss) == 6 * 8
    assert history.loss[-1] < history.loss[0]
    assert history.seconds > 0
    assert not model.training


def test_same_seed_same_numbers_and_other_seed_others():
    runs = [
        training.fit(network(), blobs(), epochs=2, seed=seed, progress=False).loss
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_leaves_the_random_state_of_the_caller():
    model = network()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    training.fit(model, blobs(), epochs=1, progress=False)
    assert torch.equal(torch.rand(3), expected)


def test_seed_everything_repeats_all_three_generators():
    import random

    import numpy

    def draw():
        training.seed_everything(3)
        return random.random(), float(numpy.random.rand()), float(torch.rand(()))

    assert draw() == draw()


def test_frozen_parameters_stay():
    model = network()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    last = model[3].weight.detach().clone()
    training.fit(model, blobs(), epochs=1, progress=False)
    assert torch.equal(model[0].weight, before)
    assert not torch.equal(model[3].weight, last)


def test_respects_the_models_own_train():
    class FrozenTrunk(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk, self.head = nn.BatchNorm1d(5), nn.Linear(5, 3)

        def train(self, mode: bool = True):
            super().train(mode)
            self.trunk.eval()
            return self

        def forward(self, x):
            return self.head(self.trunk(x))

    model = FrozenTrunk()
    training.fit(model, blobs(), val=blobs(), epochs=2, progress=False)
    assert torch.equal(model.trunk.running_mean, torch.zeros(5))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_integer_labels_of_any_kind(dtype):
    inputs, labels = blobs()
    accuracy = training.evaluate(network(), (inputs, labels.to(dtype)))
    assert 0 <= accuracy <= 1


def test_a_data_loader_gives_the_same_accuracy_as_its_tensors():
    model, data = network(), blobs(30)
    loader = DataLoader(TensorDataset(*data), batch_size=7)
    assert training.evaluate(model, loader) == training.evaluate(model, data)
    history = training.fit(model, loader, epochs=2, progress=False)
    assert len(history.loss) == 2 * len(loader)


def test_evaluate_restores_the_mode_and_keeps_statistics():
    model = network().train()
    mean = model[1].running_mean.clone()
    training.evaluate(model, blobs())
    assert model.training
    assert torch.equal(model[1].running_mean, mean)


def test_last_batch_of_one_is_left_out():
    history = training.fit(network(), blobs(17), epochs=1, batch_size=8, progress=False)
    assert len(history.loss) == 2


class RecordingSGD(torch.optim.SGD):
    rates: list[float] = []

    def step(self, closure=None):
        self.rates.append(self.param_groups[0]["lr"])
        return super().step(closure)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_learning_rate_follows_the_schedule(monkeypatch, schedule):
    monkeypatch.setattr(torch.optim, "SGD", RecordingSGD)
    monkeypatch.setattr(RecordingSGD, "rates", [])
    options = {"optimizer": "sgd", "schedule": schedule, "progress": False}
    training.fit(network(), blobs(), epochs=1, lr=0.1, **options)
    rates = RecordingSGD.rates
    assert rates[0] == pytest.approx(0.1)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0.1 if schedule == "constant" else 0 < rates[-1] < 0.01


def test_on_step_sees_each_loss():
    seen = []
    history = training.fit(
        network(), blobs(), epochs=1, progress=False, on_step=lambda s, loss: seen.append((s, loss))
    )
    assert seen == list(enumerate(history.loss))


def test_plain_lines_without_a_terminal(capsys):
    training.fit(network(), blobs(), val=blobs(), epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2: loss ")
    assert "accuracy" in lines[1]


def test_at_most_ten_lines(capsys):
    training.fit(network(), blobs(16), epochs=25)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[-1].startswith("epoch 25/25: loss ")


def test_a_bar_in_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    training.fit(network(), blobs(), epochs=1)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "epoch 1/1" in captured.err


def test_nan_loss_names_step_rate_and_mend():
    model = network()

    def poison(step, loss):
        if step == 2:
            with torch.no_grad():
                model[3].weight.fill_(float("nan"))

    with pytest.raises(FloatingPointError, match=r"nan at step 3 of 8, with lr=.*smaller: lr="):
        training.fit(model, blobs(), epochs=1, progress=False, on_step=poison)


def test_nan_inputs_are_named():
    inputs, labels = blobs()
    inputs[:] = float("nan")
    with pytest.raises(FloatingPointError, match="inputs of this batch hold NaN"):
        training.fit(network(), (inputs, labels), epochs=1, progress=False)


def wrong_settings():
    inputs, labels = blobs()
    yield {"epochs": 0}, "at least 1"
    yield {"optimizer": "lion"}, "adam, adamw, sgd"
    yield {"schedule": "step"}, "constant, cosine"
    yield {"batch_size": 0}, "batch_size is 0"
    yield {"train": (inputs, labels[:-1])}, "64 inputs but 63 labels"
    yield {"train": (inputs[:0], labels[:0])}, "train is empty"
    yield {"train": (inputs.to(torch.uint8), labels)}, "to_input"
    yield {"train": (inputs, labels.float())}, "one integer per input"
    yield {"train": (inputs, labels + 1)}, "model has 3 outputs"
    yield {"val": (inputs, labels[:-1])}, "val has 64 inputs"


@pytest.mark.parametrize(("settings", "message"), list(wrong_settings()))
def test_bad_input_is_refused_in_words(settings, message):
    call = {"train": blobs(), "epochs": 1, "progress": False, **settings}
    with pytest.raises(ValueError, match=message):
        training.fit(network(), call.pop("train"), **call)


def test_nothing_to_train():
    with pytest.raises(ValueError, match="requires_grad_"):
        training.fit(network().requires_grad_(False), blobs(), epochs=1, progress=False)


def test_one_step_trains_what_asks_for_gradients_each_time_it_is_called():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3)).eval()
    model[0].requires_grad_(False)
    x, y = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    seen = [model[2].weight.detach().clone()]
    step = training.one_step(model, x, y, lr=0.01)
    assert model.training
    for _ in range(2):
        assert step() is None
        seen.append(model[2].weight.detach().clone())
        assert all(p.grad is None for p in model.parameters())
    assert not torch.equal(seen[0], seen[1]) and not torch.equal(seen[1], seen[2])
    assert (seen[1] - seen[0]).abs().max() <= 0.0101

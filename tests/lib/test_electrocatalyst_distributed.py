"""Training on two processes gives what one process gives."""

import socket

import pytest
import torch
import torch.multiprocessing
from lib.electrocatalyst_worker import TRAIN, share_of_training, weights_and_gradients
from safetensors.torch import load_file

from course_lib.electrocatalyst.learning.distributed import Share, process_group
from course_lib.electrocatalyst.learning.train_checkpoint import write_is2re
from course_lib.electrocatalyst.models import load_model, model_facts


pytestmark = pytest.mark.lab70

WORLD = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes leave behind; the last batch of each training has one structure."""
    folder = tmp_path_factory.mktemp("group")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(share_of_training, args=(WORLD, port, str(folder)), nprocs=WORLD)
    return folder


@pytest.fixture(scope="module")
def several(folder):
    return [load_file(folder / f"weights.{rank}") for rank in range(WORLD)]


@pytest.fixture(scope="module")
def alone():
    return weights_and_gradients()


@pytest.mark.parametrize("task", ["is2re", "s2ef"])
def test_two_processes_end_with_the_weights_of_one(task, several, alone):
    names = [name for name in alone if name.startswith(task)]
    assert any("gradient" in name for name in names)
    for found in several:
        assert sorted(found) == sorted(alone)
        for name in names:
            torch.testing.assert_close(found[name], alone[name], rtol=1e-9, atol=1e-10, msg=name)


def test_both_processes_hold_the_same(several):
    first, second = several
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_command_writes_what_one_process_writes(folder, tmp_path):
    file = folder / "electrocatalyst_schnet_seed0.safetensors"
    write_is2re(tmp_path / "one.safetensors", epochs=2, train=TRAIN, progress=False)
    facts, alone = model_facts(file), model_facts(tmp_path / "one.safetensors")
    assert facts.pop("processes") == WORLD
    assert alone.pop("processes") == 1
    assert facts == alone
    found = load_model(file).state_dict()
    for name, weight in load_model(tmp_path / "one.safetensors").state_dict().items():
        torch.testing.assert_close(found[name], weight, rtol=1e-3, atol=1e-5, msg=name)
    assert not list(folder.glob(".*.part")), "a file was left half written"


def test_a_batch_is_dealt_out_once():
    shares = [Share(rank, 3) for rank in range(3)]
    seen: list[tuple[int, ...]] = []

    def loss_of(net, mine, pick):
        seen.append(tuple(mine))
        return torch.tensor(float(len(mine)) / len(pick))

    parts = [share.loss(loss_of, torch.nn.Identity(), [7, 8, 9, 4]) for share in shares]
    assert seen == [(7, 4), (8,), (9,)]
    assert sum(parts) == 1
    last = [share.loss(loss_of, torch.nn.Identity(), [5]) for share in shares]
    assert seen[3:] == [(5,), (5,), (5,)]  # all take part in backward, two with weight 0
    assert last == [1, 0, 0]


def test_without_a_group_one_process_has_everything():
    assert Share.current() == Share(0, 1)
    net = torch.nn.Linear(1, 1)
    assert Share().wrap(net) is net


def test_no_group_to_join(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(RuntimeError, match=r"torch\.distributed\.run"), process_group():
        pass

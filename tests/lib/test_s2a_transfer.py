"""The transfer task: the checkpoint, its script, every method by name, and what codes cost.

Digits 5 to 9, 8x8 pixels, on a ViT that learned 0 to 4; 627 pictures to train, 269 to test.
"""

import hashlib
import json
from statistics import mean

import pytest
import torch
from safetensors import safe_open
from timm.models.vision_transformer import VisionTransformer

from course_lib import assets, measure, s2a, training
from course_lib.s2a import pretrain


pytestmark = pytest.mark.lab11

NAME = "s2a_vit_digits"
SEEDS = (0, 1, 2)
EPOCHS = 5  # enough to compare, not to finish: the default of `transfer` is 20


@pytest.fixture(scope="module")
def model():
    return assets.model(NAME, num_classes=5)


@pytest.fixture(scope="module")
def task():
    return s2a.transfer_task()


# ---------------------------------------------------------------- the checkpoint and its script


def facts_of(file):
    with safe_open(file, "pt") as opened:
        return json.loads(opened.metadata()["vision_transformer"])


def test_the_checkpoint_is_as_good_as_it_says_on_the_digits_it_learned():
    file = assets.path(NAME)
    facts = facts_of(file)
    test = s2a.digits_task(s2a.SOURCE_CLASSES, "test")
    accuracy = 100 * training.evaluate(assets.model(NAME), test)
    assert accuracy == pytest.approx(facts["test_accuracy"], abs=0.8)  # one picture of 135
    assert accuracy >= 92
    assert facts["classes"] == list(s2a.SOURCE_CLASSES) and file.stat().st_size < 1_000_000


def test_the_model_by_name_is_a_small_vision_transformer(model):
    trained = assets.model(NAME)
    assert type(model) is VisionTransformer and not model.training
    assert sum(p.numel() for p in model.parameters()) == 201_861
    assert torch.equal(model.blocks[0].attn.qkv.weight, trained.blocks[0].attn.qkv.weight)
    assert not torch.equal(model.head.weight, trained.head.weight)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 5)
    random = assets.model(NAME, num_classes=3, pretrained=False)
    assert random.num_classes == 3 and random.embed_dim == 64
    assert not torch.equal(random.blocks[0].attn.qkv.weight, trained.blocks[0].attn.qkv.weight)


def test_the_script_writes_the_same_file_twice_and_prints_its_digest(tmp_path, capsys):
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for file in files:
        pretrain.main(["--epochs", "1", "--file", str(file)])
    digest = hashlib.sha256(files[0].read_bytes()).hexdigest()
    assert capsys.readouterr().out.count(f'sha256 = "{digest}"') == 2
    assert files[0].stat().st_mode & 0o777 == 0o644 and len(list(tmp_path.iterdir())) == 2
    assert facts_of(files[0]) | {"epochs": 0, "test_accuracy": 0} == facts_of(assets.path(NAME)) | {
        "epochs": 0,
        "test_accuracy": 0,
    }


# ---------------------------------------------------------------- the digits


def test_the_two_halves_and_their_splits_share_no_picture():
    parts = [
        s2a.digits_task(classes, split)
        for classes in (s2a.SOURCE_CLASSES, s2a.TARGET_CLASSES)
        for split in ("train", "val", "test")
    ]
    assert sum(len(labels) for _, labels in parts) == len(assets.load("digits", split="all"))
    for inputs, labels in parts:
        assert inputs.shape[1:] == (1, 8, 8) and -1 <= inputs.min() < inputs.max() <= 1
        assert sorted(set(labels.tolist())) == [0, 1, 2, 3, 4]
    both = s2a.digits_task(s2a.TARGET_CLASSES, "val", "test")
    assert torch.equal(both[0], torch.cat([parts[4][0], parts[5][0]]))
    assert len(s2a.digits_task()[1]) == len(parts[3][1])


@pytest.mark.parametrize("classes", [range(0), range(3, 4), range(0, 10, 2), range(6, 11)])
def test_digits_that_are_none(classes):
    with pytest.raises(ValueError, match=r"no consecutive digits. Take for example range\(5, 10\)"):
        s2a.digits_task(classes)


# ---------------------------------------------------------------- every method by name


TRAINED = {
    "full": 201_861,
    "linear_probe": 325,
    "bitfit": 3_269,
    "lora_all": 16_709,
    "checkpointing": 201_861,
    "activation_coding": 201_861,
    "s2a_bias": 3_269,
    "s2a": 4_565,
    "s2a_exact": 4_565,
}


@pytest.fixture(scope="module")
def quick(model, task):
    """Each method on 64 pictures, one epoch."""
    few = tuple(t[:64] for t in task[0])
    return {
        name: s2a.transfer(model, name, few, few, epochs=1, seed=3) for name in s2a.TRANSFER_METHODS
    }


def test_every_method_runs_and_is_weighed(quick):
    assert set(TRAINED) < set(quick)
    for name, result in quick.items():
        assert result.method == name and result.seed == 3
        assert 0 <= result.accuracy <= 100 and result.seconds > 0
        assert TRAINED.get(name, result.trainable) == result.trainable


def test_the_order_of_the_kept_bytes(quick):
    kept = {name: result.kept_bytes for name, result in quick.items()}
    assert kept["s2a_qkv"] < kept["s2a"] == kept["s2a_bias"] < kept["s2a_lsb"] < kept["bitfit"]
    assert kept["bitfit"] < kept["lora_qkv"] < kept["lora_all"] and kept["bitfit"] < kept["full"]
    assert kept["s2a_exact"] == pytest.approx(kept["bitfit"], rel=0.01)  # a prompt keeps nothing
    assert kept["linear_probe"] < kept["checkpointing"] < kept["activation_coding"] < kept["s2a"]
    assert kept["linear_probe"] < kept["lst"] < kept["bitfit"]


def test_checkpointing_is_full_fine_tuning(quick):
    assert quick["checkpointing"].accuracy == quick["full"].accuracy


def test_the_network_and_the_random_state_stay_as_they_were(model, task, quick):
    few = tuple(t[:32] for t in task[0])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    first, again = (s2a.transfer(model, "s2a", few, few, epochs=1, rank=2) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert first.accuracy == again.accuracy
    assert first.trainable == quick["s2a"].trainable - 2 * 4 * (17 + 64)


def test_a_run_by_names_is_the_same_run(model, task):
    row = s2a.transfer_run("linear_probe", 1, epochs=1)
    run = s2a.transfer(assets.model(NAME), "linear_probe", *task, epochs=1, seed=1)
    assert (row["accuracy"], row["kept_bytes"], row["trainable"]) == (
        run.accuracy,
        run.kept_bytes,
        run.trainable,
    )
    assert row["trainable"] == 325 and row["seconds"] > 0


def test_a_thousand_pictures_of_a_larger_task(monkeypatch):
    """Full scale takes 1,000 random pictures of each split of a data set, at 224 pixels."""
    asked = []

    def load(name, *, split, size):
        asked.append((name, split, size))
        labels = torch.arange(1200) % 7
        images = labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).clone()
        return assets.Pictures(images, labels, list("abcdefg"), [""] * 1200, "")

    monkeypatch.setattr(assets, "load", load)
    (inputs, labels), test = s2a.transfer_task("cifar100")
    assert asked == [("cifar100", "train", 224), ("cifar100", "test", 224)]
    assert inputs.shape == (1000, 3, 2, 2) and len(test[1]) == 1000
    pixels = labels.to(torch.uint8).view(-1, 1, 1, 1)
    assert torch.equal(inputs[:, :1, :1, :1], assets.to_input(pixels))
    assert labels.unique().tolist() == list(range(7)) and not torch.equal(labels, labels.sort()[0])


def test_a_step_of_every_method_trains(model, task):
    for method in ("full", "s2a"):
        step = s2a.transfer_step(model, method, task[0], batch_size=4)
        assert measure.peak_memory(step).total > 0, method
    with pytest.raises(ValueError, match="Unknown method 'lora'"):
        s2a.transfer_step(model, "lora", task[0])


def test_an_unknown_method_or_option(model, task):
    with pytest.raises(ValueError, match="Unknown method 'lora'; choose one of full, linear_probe"):
        s2a.transfer(model, "lora", *task)
    with pytest.raises(ValueError, match="'bitfit' does not take rank"):
        s2a.transfer(model, "bitfit", *task, rank=2)


# ---------------------------------------------------------------- what the codes cost


def test_codes_cost_no_accuracy_and_the_prompt_adds_much(model, task):
    runs = {
        name: [s2a.transfer(model, name, *task, epochs=EPOCHS, seed=seed) for seed in SEEDS]
        for name in ("bitfit", "s2a_exact", "s2a")
    }
    accuracy = {name: mean(run.accuracy for run in three) for name, three in runs.items()}
    assert abs(accuracy["s2a"] - accuracy["s2a_exact"]) <= 2, accuracy
    assert accuracy["s2a"] >= accuracy["bitfit"] + 5, accuracy
    kept = {name: three[0].kept_bytes for name, three in runs.items()}
    assert kept["s2a"] <= 0.45 * kept["bitfit"], kept

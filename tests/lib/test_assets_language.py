"""Language models by name: prepared once and kept, or from a hub's cache; never half."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from huggingface_hub import constants
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from course_lib import assets
from course_lib.assets import _language, _prepared
from course_lib.assets._prepared import prepared


pytestmark = pytest.mark.lab30


# ---------------------------------------------------------------- the real model


@pytest.fixture(scope="module")
def smollm2():
    return assets.language_model("smollm2_135m")


def test_smollm2_is_ready_to_be_read(smollm2):
    parameters = list(smollm2.parameters())
    assert sum(weight.numel() for weight in parameters) == 134_515_008
    assert {weight.dtype for weight in parameters} == {torch.float32}
    assert not smollm2.training and not any(weight.requires_grad for weight in parameters)
    assert len(smollm2.model.layers) == 30 and smollm2.config.hidden_size == 576


def test_smollm2_knows_a_capital(smollm2):
    words = assets.tokenizer("smollm2_135m")
    tokens = words("The capital of France is")["input_ids"]
    assert words.decode(tokens) == "The capital of France is"  # nothing added in front
    with torch.no_grad():
        best = smollm2(torch.tensor([tokens])).logits[0, -1].argmax()
    assert words.decode([int(best)]).strip() == "Paris"


def test_float16_would_not_hold_the_weights(smollm2):
    weight = smollm2.model.embed_tokens.weight
    assert (weight.half().float() != weight).float().mean() > 0.5


def test_later_loads_take_seconds_and_no_network(smollm2, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was used, or the model prepared again")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(_language, "_prepare_smollm2", refuse)
    monkeypatch.setattr(_prepared, "_verified", {})  # as in a new process
    start = time.process_time()
    again = assets.language_model("smollm2_135m")
    assets.tokenizer("smollm2_135m")
    assert time.process_time() - start <= 3.0
    pairs = zip(again.parameters(), smollm2.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


# ---------------------------------------------------------------- folders made once


def write_two(folder):
    (folder / "a").write_bytes(b"weights" * 1000)
    (folder / "b").write_text("configuration")


def test_a_folder_is_made_once(tmp_path):
    made = []

    def make(folder):
        made.append(folder)
        write_two(folder)

    place = tmp_path / "cache" / "model"
    assert prepared(place, make, "model") == place == prepared(place, make, "model")
    assert len(made) == 1 and (place / "b").read_text() == "configuration"
    assert sorted(file.name for file in place.parent.iterdir()) == ["model", "model.lock"]
    assert all(file.stat().st_mode & 0o044 == 0o044 for file in place.iterdir())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda place: (place / "a").write_bytes(b"Weights" * 1000), "a has a wrong sha256"),
        (lambda place: (place / "a").write_bytes(b"weights"), "a has 7 of 7,000 bytes"),
        (lambda place: (place / "b").unlink(), "b cannot be read"),
        (lambda place: (place / "sha256.json").unlink(), "sha256.json is missing"),
        (lambda place: (place / "sha256.json").write_text("{"), "sha256.json cannot be read"),
    ],
)
def test_what_is_damaged_is_named_and_made_again(tmp_path, damage, words):
    place = prepared(tmp_path / "model", write_two, "model")
    damage(place)
    for file in place.iterdir():
        os.utime(file, ns=(0, 0))  # a new time, as any later writer leaves
    with pytest.warns(assets.AssetWarning, match=f"{words}.*making it again"):
        prepared(place, write_two, "model")
    assert _prepared.fault(place) == "" and (place / "a").stat().st_size == 7000
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model", "model.lock"]


def test_a_failure_leaves_nothing(tmp_path):
    def fail(folder):
        write_two(folder)
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        prepared(tmp_path / "model", fail, "model")
    assert [file.name for file in tmp_path.iterdir()] == ["model.lock"]


MAKER = """
import sys, time
from pathlib import Path
from course_lib.assets._prepared import prepared
def make(folder):
    (folder / "a").write_bytes(b"half")
    Path(sys.argv[2]).write_text("started")
    while not Path(sys.argv[3]).exists():
        time.sleep(0.02)
    (folder / "b").write_text(sys.argv[2])
prepared(Path(sys.argv[1]), make, "model")
"""


def maker(place, mark, leave):
    """Start a process that makes `place`: it writes `mark`, then ends when `leave` exists."""
    command = [sys.executable, "-c", MAKER, str(place), str(mark), str(leave)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for(file, process):
    deadline = time.monotonic() + 60
    while not file.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_preparation_leaves_nothing_half(tmp_path):
    place, mark = tmp_path / "model", tmp_path / "mark"
    process = maker(place, mark, tmp_path / "never")
    wait_for(mark, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not place.exists()
    prepared(place, write_two, "model")
    assert _prepared.fault(place) == "" and not place.with_name("model.part").exists()


def test_of_two_processes_one_makes_and_one_waits(tmp_path):
    place = tmp_path / "model"
    first = maker(place, tmp_path / "first", tmp_path / "leave")
    wait_for(tmp_path / "first", first)
    second = maker(place, tmp_path / "second", tmp_path / "leave")
    said = second.stdout.readline()
    assert said == "model: another process is fetching it; waiting.\n"
    (tmp_path / "leave").touch()
    for process in (first, second):
        process.communicate(timeout=120)
    assert first.returncode == second.returncode == 0
    assert (place / "b").read_text() == str(tmp_path / "first")
    assert not (tmp_path / "second").exists()


# ---------------------------------------------------------------- the hub, without a network


@pytest.fixture
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def fill(folder, revision):
    """Lay a tiny random Pythia down as the hub's client does: blobs, and links to them."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": 0, "eos_token_id": 0}
    model = GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=64, intermediate_size=64, **shape, **ids))
    repository = folder / "models--EleutherAI--pythia-14m"
    snapshot = repository / "snapshots" / ("1" * 40)
    model.half().save_pretrained(snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / revision).write_text("1" * 40)
    (repository / "blobs").mkdir()
    weights = snapshot / "model.safetensors"
    blob = repository / "blobs" / hashlib.sha256(weights.read_bytes()).hexdigest()
    shutil.move(weights, blob)
    weights.symlink_to(blob)
    return model.float(), blob


def test_pythia_loads_from_a_filled_cache(offline):
    source, _ = fill(offline, "step1000")
    model = assets.language_model("pythia-14m", revision="step1000")
    assert not model.training and model.dtype == torch.float32
    pairs = zip(model.parameters(), source.parameters(), strict=True)
    assert all(torch.equal(a, b) and not a.requires_grad for a, b in pairs)
    with pytest.raises(assets.AssetError, match="revision step2000 of EleutherAI/pythia-14m"):
        assets.language_model("pythia-14m", revision="step2000")


def test_damaged_weights_of_the_hub_are_found(offline):
    _, blob = fill(offline, "main")
    body = bytearray(blob.read_bytes())
    body[-1] ^= 1
    blob.write_bytes(body)
    with (
        pytest.warns(assets.AssetWarning, match="is damaged; fetching it again"),
        pytest.raises(assets.AssetError, match="is damaged in .* connect to the internet"),
    ):
        assets.language_model("pythia-14m")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: assets.language_model("pythia-70"), "did you mean 'pythia-70m'"),
        (lambda: assets.tokenizer("smollm2"), "smollm2_135m"),
        (lambda: assets.language_model("gpt-5"), "Unknown language model"),
        (lambda: assets.language_model("pythia-70m", revision="step999"), "no revision 'step999'"),
        (lambda: assets.language_model("smollm2_135m", revision="main"), "one revision only"),
        (lambda: assets.language_model("pythia-70m"), "missing in .* connect to the internet"),
        (lambda: assets.tokenizer("pythia-70m"), "missing in .* connect to the internet"),
        (lambda: assets.path("pythia-70m"), "assets.language_model"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_sentence(offline, call, words):
    with pytest.raises(assets.AssetError, match=words) as error:
        call()
    assert "\n" not in str(error.value)

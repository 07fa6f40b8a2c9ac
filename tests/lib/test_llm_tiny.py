"""The tiny language model: its shape, its training, its file; and the texts it learns from."""

import json
import math

import pytest
import torch

from course_lib import assets
from course_lib.assets import _text
from course_lib.llm import (
    BOS,
    LMConfig,
    TinyLM,
    block_outputs,
    byte_tokens,
    learning_rate,
    lm_facts,
    load_lm,
    mean_loss,
    save_lm,
    train_lm,
    windows,
    with_bos,
)


pytestmark = pytest.mark.lab30

SMALL = LMConfig(blocks=2, width=32, heads=2, context=32)
TEXT = "The quick brown fox jumps over the lazy dog, and the dog does not mind. " * 40


def small(seed: int = 0, **change) -> TinyLM:
    torch.manual_seed(seed)
    return TinyLM(LMConfig(**{"blocks": 2, "width": 32, "heads": 2, "context": 32} | change))


def some_tokens(config: LMConfig = SMALL, seed: int = 0) -> torch.Tensor:
    chosen = torch.Generator().manual_seed(seed)
    return torch.randint(config.vocab, (3, config.context), generator=chosen)


def test_the_number_of_parameters():
    model = TinyLM()
    assert sum(weight.numel() for weight in model.parameters()) == 1_234_816
    assert len(model.blocks) == 6
    learned = TinyLM(LMConfig(positions="learned"))
    assert sum(weight.numel() for weight in learned.parameters()) == 1_234_816 + 128 * 128


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_a_later_byte_changes_no_earlier_logit(positions):
    model, tokens = small(positions=positions), some_tokens()
    changed = tokens.clone()
    changed[:, 20] = (changed[:, 20] + 1) % 257
    with torch.no_grad():
        before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :20], after[:, :20])
    assert (before[:, 20:] != after[:, 20:]).any(dim=2).all()


def test_logits_are_those_of_llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = SMALL
    ours = small()
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocab,
            hidden_size=config.width,
            intermediate_size=config.inner,
            num_hidden_layers=config.blocks,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            max_position_embeddings=config.context,
            rms_norm_eps=1e-5,
            tie_word_embeddings=False,
            attn_implementation="eager",
        )
    ).eval()
    weights = {
        "model.embed_tokens.weight": ours.embedding.weight,
        "model.norm.weight": ours.norm.weight,
        "lm_head.weight": ours.head.weight,
    }
    for number, block in enumerate(ours.blocks):
        at = f"model.layers.{number}"
        torch.nn.init.normal_(block.attention_norm.weight)  # gains of 1 would hide their place
        torch.nn.init.normal_(block.mlp_norm.weight)
        weights[f"{at}.input_layernorm.weight"] = block.attention_norm.weight
        weights[f"{at}.post_attention_layernorm.weight"] = block.mlp_norm.weight
        for name, part in zip("qkv", block.attention.qkv.weight.chunk(3), strict=True):
            weights[f"{at}.self_attn.{name}_proj.weight"] = part
        weights[f"{at}.self_attn.o_proj.weight"] = block.attention.out.weight
        gate, up = block.mlp.gate_up.weight.chunk(2)
        weights[f"{at}.mlp.gate_proj.weight"], weights[f"{at}.mlp.up_proj.weight"] = gate, up
        weights[f"{at}.mlp.down_proj.weight"] = block.mlp.down.weight
    llama.load_state_dict({name: weight.detach() for name, weight in weights.items()})
    tokens = some_tokens()
    with torch.no_grad():
        difference = (ours(tokens) - llama(tokens).logits).abs().max()
    assert difference <= 1e-5


def test_rotary_logits_depend_on_distances_and_learned_ones_on_places():
    tokens = torch.full((1, 32), 7)
    with torch.no_grad():
        rotary, learned = small()(tokens), small(positions="learned")(tokens)
    # Equal tokens everywhere: attention mixes equal values, so only added positions can differ.
    assert torch.allclose(rotary[0, 0], rotary[0, 31], atol=1e-5)
    assert (learned[0, 0] - learned[0, 31]).abs().max() > 0.1


def test_a_learned_position_is_added_once():
    model, tokens = small(positions="learned"), some_tokens()
    with torch.no_grad():
        before = model(tokens)
        model.positions.weight[5] += 1.0
        after = model(tokens)
    assert torch.equal(before[:, :5], after[:, :5])
    assert (before[:, 5] != after[:, 5]).any()


def test_bytes_and_the_beginning():
    tokens = byte_tokens("aé€")
    assert tokens.tolist() == list("aé€".encode())
    assert tokens.dtype == torch.int64
    started = with_bos(windows(tokens, 3, 2))
    assert started.tolist() == [[BOS, *"aé".encode()], [BOS, *"€".encode()]]
    with pytest.raises(ValueError, match="empty"):
        byte_tokens("")


def test_the_model_with_bos_trains_on_it_and_the_other_does_not():
    seen = []

    def watch(_, inputs):
        seen.append(inputs[0])

    for bos in (True, False):
        model = small(bos=bos)
        model.register_forward_pre_hook(watch)
        train_lm(model, byte_tokens(TEXT), steps=2, progress=False)
    assert [window.shape for window in seen] == [(16, 32)] * 4
    assert [(window[:, 0] == BOS).all().item() for window in seen] == [True, True, False, False]
    assert not any((window[:, 1:] == BOS).any() for window in seen)


def test_the_schedule():
    peak = 3e-3
    assert learning_rate(0, 4000) == pytest.approx(peak / 80)
    assert learning_rate(39, 4000) == pytest.approx(peak / 2)
    assert learning_rate(79, 4000) == learning_rate(80, 4000) == pytest.approx(peak)
    assert learning_rate(2040, 4000) == pytest.approx(0.55 * peak)
    assert learning_rate(4000, 4000) == pytest.approx(peak / 10)
    assert learning_rate(0, 1) == pytest.approx(peak)
    rates = [learning_rate(step, 500) for step in range(500)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_same_seed_same_losses_and_another_seed_others():
    tokens = byte_tokens(TEXT)
    one, two, other = (
        train_lm(small(), tokens, steps=5, seed=seed, progress=False) for seed in (3, 3, 4)
    )
    assert one == two
    assert one != other


def test_a_short_run_repeats_the_first_steps_of_a_long_schedule():
    tokens = byte_tokens(TEXT)
    long, short = small(), small()
    kept = {}
    losses = train_lm(
        long,
        tokens,
        steps=12,
        progress=False,
        checkpoints=[0, 7],
        on_checkpoint=lambda step, model: kept.update({step: model.head.weight.clone()}),
    )
    first = train_lm(short, tokens, steps=7, schedule_steps=12, progress=False)
    assert first == losses[:7]
    assert torch.equal(short.head.weight, kept[7])
    assert torch.equal(small().head.weight, kept[0])
    own = train_lm(small(), tokens, steps=7, progress=False)
    assert own != losses[:7]


def test_it_learns_and_tells(capsys):
    model, tokens = small(), byte_tokens(TEXT)
    told = []
    losses = train_lm(model, tokens, steps=60, on_step=lambda *at: told.append(at))
    assert told == list(enumerate(losses))
    assert not model.training
    assert losses[0] == pytest.approx(math.log(257), abs=0.6)
    # The text has about 30 different bytes; one that knows their frequencies needs 2.9 nats.
    assert sum(losses[-5:]) / 5 < 2.6
    held = mean_loss(model, with_bos(windows(tokens, 31, 4)))
    assert held == pytest.approx(losses[-1], abs=0.4)
    printed = capsys.readouterr().out
    assert "step 5 of 60" in printed
    assert "60 steps: loss" in printed
    train_lm(model, tokens, steps=1, progress=False)
    assert capsys.readouterr().out == ""


def test_the_random_state_of_the_caller_stays(tmp_path):
    model, tokens = small(), byte_tokens(TEXT)
    save_lm(tmp_path / "m.safetensors", model)
    before = torch.get_rng_state()
    train_lm(model, tokens, steps=2, progress=False)
    load_lm(tmp_path / "m.safetensors")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_a_checkpoint_comes_back(tmp_path, positions):
    model, tokens = small(positions=positions, bos=False), some_tokens()
    file = tmp_path / "deep" / "m.safetensors"
    save_lm(file, model, facts={"seed": 3})
    again = load_lm(file)
    assert again.config == model.config
    assert lm_facts(file) == {"seed": 3}
    with torch.no_grad():
        assert torch.equal(again(tokens), model(tokens))
    save_lm(tmp_path / "twin.safetensors", model, facts={"seed": 3})
    assert (tmp_path / "twin.safetensors").read_bytes() == file.read_bytes()


def test_eight_bits_keep_each_weight_within_half_a_step(tmp_path):
    model = small()
    with torch.no_grad():
        model.head.weight[5] = 0.0  # a row without any step
    exact, short = tmp_path / "32.safetensors", tmp_path / "8.safetensors"
    save_lm(exact, model)
    save_lm(short, model, bits=8)
    assert short.stat().st_size < 0.4 * exact.stat().st_size
    for name, weight in load_lm(short).state_dict().items():
        old = model.state_dict()[name]
        if old.ndim == 2:
            half = old.abs().amax(dim=1, keepdim=True) / 127 / 2
            assert ((weight - old).abs() <= half * 1.0001).all(), name
        else:
            assert torch.equal(weight, old)
    with pytest.raises(ValueError, match="8 or 32"):
        save_lm(short, model, bits=4)


def test_a_damaged_file_is_named(tmp_path):
    file = tmp_path / "m.safetensors"
    with pytest.raises(FileNotFoundError, match="m.safetensors"):
        load_lm(file)
    save_lm(file, small())
    whole = file.read_bytes()
    for data in (whole[:-100], b"", b"not a checkpoint", whole.replace(b"tiny_lm", b"other!!")):
        file.write_bytes(data)
        with pytest.raises(ValueError, match="m.safetensors is damaged"):
            load_lm(file)
    file.write_bytes(whole.replace(b"norm.weight", b"norm.wrong!"))
    with pytest.raises(ValueError, match="damaged"):
        load_lm(file)


def test_the_blocks_are_read_before_the_final_norm():
    model, tokens = small(), some_tokens()
    outputs = block_outputs(model, tokens)
    assert [tuple(h.shape) for h in outputs] == [(3, 32, 32)] * 2
    with torch.no_grad():
        assert torch.equal(model.head(model.norm(outputs[-1])), model(tokens))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"width": 30, "heads": 4}, "does not split"),
        ({"width": 12, "heads": 4}, "pairs"),
        ({"blocks": 0}, "blocks is 0"),
        ({"positions": "sine"}, "'rotary' or 'learned'"),
        ({"width": 2, "heads": 1}, "at least 6"),
    ],
)
def test_shapes_that_cannot_be(shape, message):
    with pytest.raises(ValueError, match=message):
        LMConfig(**shape)


def test_tokens_and_texts_that_do_not_fit():
    model = small()
    with pytest.raises(ValueError, match="0 to 256"):
        model(torch.full((1, 4), 257))
    with pytest.raises(ValueError, match="0 to 256"):
        train_lm(model, torch.full((100,), -1), steps=1, progress=False)
    with pytest.raises(ValueError, match="1 to 32"):
        model(torch.zeros((1, 33), dtype=torch.int64))
    with pytest.raises(ValueError, match="longer text"):
        train_lm(model, byte_tokens("a" * 32), steps=1, progress=False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "at least 1"),
        ({"steps": 2, "batch": 0}, "at least 1"),
        ({"steps": 5, "schedule_steps": 4}, "schedule"),
        ({"steps": 5, "checkpoints": [6]}, "0 to 5"),
    ],
)
def test_trainings_that_cannot_be(given, message):
    with pytest.raises(ValueError, match=message):
        train_lm(small(), byte_tokens(TEXT), progress=False, **given)


def test_a_loss_of_nan_stops_the_training():
    model = small()
    torch.nn.init.constant_(model.head.weight, float("nan"))
    with pytest.raises(FloatingPointError, match="lr=0.003"):
        train_lm(model, byte_tokens(TEXT), steps=3, progress=False)


def test_the_texts_of_python():
    docs, source = assets.text("python_docs"), assets.text("python_source")
    assert len(docs) > 400_000
    assert len(source) > 3_000_000
    assert docs.index('The "assert" statement') < docs.index('The "while" statement')
    assert "class Fraction(" in source
    assert "build_time_vars = {" not in source  # written when a Python is built: differs by machine
    assert "\r" not in source


def test_texts_that_cannot_be():
    with pytest.raises(assets.AssetError, match="did you mean 'python_docs'"):
        assets.text("python_doc")
    with pytest.raises(TypeError, match="no option 'seed'"):
        assets.text("python_docs", seed=1)
    with pytest.raises(ValueError, match="at least 1"):
        assets.text("redpajama_sample", documents=0)


def test_redpajama_is_drawn_over_all_parts(tmp_path, monkeypatch):
    for part in _text.REDPAJAMA_PARTS:
        rows = [json.dumps({"text": f"{part} {n} é", "meta": {}}) for n in range(4)]
        (tmp_path / f"{part}_sample.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    monkeypatch.setattr(_text, "_hub_file", lambda name: tmp_path / name)
    every = assets.text("redpajama_sample", documents=28, seed=1).split("\n\n")
    assert len(set(every)) == 28
    assert every != sorted(every)  # drawn, not read in order
    few = assets.text("redpajama_sample", documents=5, seed=1)
    assert few == assets.text("redpajama_sample", documents=5, seed=1)
    assert few != assets.text("redpajama_sample", documents=5, seed=2)
    with pytest.raises(ValueError, match="28 documents"):
        assets.text("redpajama_sample", documents=29)


def test_without_a_network_the_mend_is_named(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(assets.AssetError, match="connect to the internet"):
        assets.text("redpajama_sample", documents=2)

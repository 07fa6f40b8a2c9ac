"""The full-scale run on one published checkpoint, with a small model in the place of Pythia."""

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from course_lib import assets, llm
from course_lib import massive_activations as ma


pytestmark = pytest.mark.lab30


class Words:
    """A tokenizer of bytes that remembers how it was called."""

    asked = None

    def __call__(self, text, *, add_special_tokens):
        self.asked = add_special_tokens
        return {"input_ids": list(text.encode())}


def test_a_run_asks_for_the_revision_and_averages_the_probe(monkeypatch):
    torch.manual_seed(0)
    shape = dict(vocab_size=256, hidden_size=32, num_hidden_layers=3, num_attention_heads=2)
    model = GPTNeoXForCausalLM(GPTNeoXConfig(**shape, intermediate_size=64)).eval()
    asked, words, text = [], Words(), "the quick brown fox " * 20

    def language_model(name, *, revision):
        asked.append((name, revision))
        return model

    monkeypatch.setattr(assets, "language_model", language_model)
    monkeypatch.setattr(assets, "tokenizer", lambda name: words)
    monkeypatch.setattr(assets, "text", lambda name: text)
    rows = ma.revision_run("70m", 512, length=24, count=3)
    assert asked == [("pythia-70m", "step512")] and words.asked is False
    table = ma.probe(model, llm.windows(llm.byte_tokens(text), 24, 3), progress=False)
    assert [row["block"] for row in rows] == [0, 1, 2]
    for row in rows:
        one = table[table.block == row["block"]]
        assert row["ratio"] == pytest.approx(one.ratio.mean())
        assert row["at_start"] == pytest.approx((one.position == 0).mean())
        assert row["ratio"] == pytest.approx(ma.initial_ratio(24 * 32), rel=0.35)

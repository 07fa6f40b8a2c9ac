"""Outputs of decoder blocks, edits of them, and perplexity, on four families of models."""

import math

import pytest
import torch
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from course_lib import llm


pytestmark = pytest.mark.lab30

BLOCKS, WIDTH, VOCAB, LENGTH = 3, 32, 64, 20
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2}
SHAPE = {"hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "num_attention_heads": 2}
MAKERS = {
    "TinyLM": lambda: llm.TinyLM(llm.LMConfig(BLOCKS, WIDTH, 2, LENGTH, vocab=VOCAB)),
    "Llama": lambda: LlamaForCausalLM(
        LlamaConfig(vocab_size=VOCAB, intermediate_size=64, **SHAPE, **SPECIAL)
    ),
    "GPT-NeoX": lambda: GPTNeoXForCausalLM(
        GPTNeoXConfig(vocab_size=VOCAB, intermediate_size=64, **SHAPE, **SPECIAL)
    ),
    "GPT-2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCAB, n_embd=WIDTH, n_layer=BLOCKS, n_head=2, **SPECIAL)
    ),
}


class Wrapped(nn.Module):
    """A block that returns a tuple, as blocks of older versions of transformers do."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block

    def forward(self, *arguments, **options):
        return (self.block(*arguments, **options), "something else")


class TupleLM(llm.TinyLM):
    def __init__(self, config: llm.LMConfig):
        super().__init__(config)
        self.blocks = nn.ModuleList(Wrapped(block) for block in self.blocks)

    def forward(self, tokens):
        handles = [
            block.register_forward_hook(lambda _, __, output: output[0]) for block in self.blocks
        ]
        try:
            return super().forward(tokens)
        finally:
            for handle in handles:
                handle.remove()


@pytest.fixture(scope="module", params=MAKERS)
def model(request):
    torch.manual_seed(0)
    return MAKERS[request.param]()


@pytest.fixture(scope="module")
def tokens():
    chosen = torch.Generator().manual_seed(0)
    return llm.windows(torch.randint(VOCAB, (400,), generator=chosen), LENGTH, 5)


def logits_of(model, tokens):
    model.eval()
    with torch.no_grad():
        output = model(tokens)
    return output if isinstance(output, torch.Tensor) else output.logits


# ---------------------------------------------------------------- blocks and their outputs


def test_each_family_has_its_blocks(model):
    blocks = llm.decoder_blocks(model)
    assert len(blocks) == BLOCKS
    assert all(any(block is module for module in model.modules()) for block in blocks)


def test_models_without_their_head_have_blocks_too(tokens):
    whole = MAKERS["Llama"]()
    assert llm.decoder_blocks(whole.model) == llm.decoder_blocks(whole)
    pairs = zip(
        llm.block_outputs(whole.model, tokens), llm.block_outputs(whole, tokens), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)


def test_outputs_are_those_between_the_blocks(model, tokens):
    """What block l returns is what block l + 1 is given."""
    given = []
    handles = [
        block.register_forward_pre_hook(
            lambda _, args, options: given.append(args[0] if args else options["hidden_states"]),
            with_kwargs=True,
        )
        for block in llm.decoder_blocks(model)
    ]
    outputs = llm.block_outputs(model, tokens)
    for handle in handles:
        handle.remove()
    assert [h.shape for h in outputs] == [(5, LENGTH, WIDTH)] * BLOCKS
    assert all(torch.equal(a, b) for a, b in zip(outputs[:-1], given[1:], strict=True))
    assert not any(h.requires_grad for h in outputs)


@pytest.mark.parametrize("name", ["Llama", "GPT-NeoX", "GPT-2"])
def test_the_last_output_stands_before_the_final_norm(name, tokens):
    """`output_hidden_states` of transformers begins with the embeddings and ends after the norm."""
    torch.manual_seed(0)
    model = MAKERS[name]().eval()
    ours = llm.block_outputs(model, tokens)
    with torch.no_grad():
        theirs = model(tokens, output_hidden_states=True).hidden_states
    assert len(theirs) == len(ours) + 1
    assert all(torch.equal(a, b) for a, b in zip(ours[:-1], theirs[1:-1], strict=True))
    assert not torch.allclose(ours[-1], theirs[-1], atol=1e-2)
    norm = {"Llama": "norm", "GPT-NeoX": "final_layer_norm", "GPT-2": "ln_f"}[name]
    with torch.no_grad():
        normed = model.base_model.get_submodule(norm)(ours[-1])
    assert torch.allclose(normed, theirs[-1], atol=1e-6)


def test_the_model_is_left_as_it_was(model, tokens):
    model.train()
    llm.block_outputs(model, tokens)
    llm.mean_loss(model, tokens)
    assert all(module.training for module in model.modules())
    model.eval()
    assert not any(block._forward_hooks for block in llm.decoder_blocks(model))


def test_dropout_is_off_while_a_model_in_training_is_read(tokens):
    model = MAKERS["GPT-2"]().train()  # drops 10 %
    first, second = llm.block_outputs(model, tokens), llm.block_outputs(model, tokens)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_hooks_go_when_the_model_fails(tokens):
    model = MAKERS["Llama"]()
    with pytest.raises(IndexError):
        llm.block_outputs(model, tokens + VOCAB)
    assert not any(block._forward_hooks for block in llm.decoder_blocks(model))


# ---------------------------------------------------------------- edits


def test_an_edited_scalar_is_seen_by_all_that_follows(model, tokens):
    before, logits = llm.block_outputs(model, tokens), logits_of(model, tokens)
    with llm.edit_output(model, 1, llm.set_scalar(0, 3, 50.0)):
        after, changed = llm.block_outputs(model, tokens), logits_of(model, tokens)
    assert torch.equal(before[0], after[0])
    wanted = before[1].clone()
    wanted[:, 0, 3] = 50.0
    assert torch.equal(after[1], wanted)
    assert not torch.allclose(before[2], after[2]) and not torch.allclose(logits, changed)
    again = logits_of(model, tokens)
    assert torch.equal(again, logits)  # the context took its hook away


def test_an_edit_that_changes_nothing_changes_nothing(model, tokens):
    logits = logits_of(model, tokens)
    with llm.edit_output(model, 0, lambda h: h):
        assert torch.equal(logits_of(model, tokens), logits)


def test_edits_can_be_nested(model, tokens):
    with (
        llm.edit_output(model, 1, llm.set_scalar(0, 3, 5.0)),
        llm.edit_output(model, 1, lambda h: 2 * h),
    ):
        assert (llm.block_outputs(model, tokens)[1][:, 0, 3] == 10).all()


def test_blocks_that_return_tuples(tokens):
    config = llm.LMConfig(BLOCKS, WIDTH, 2, LENGTH, vocab=VOCAB)
    torch.manual_seed(0)
    plain = llm.TinyLM(config)
    torch.manual_seed(0)
    wrapped = TupleLM(config)
    pairs = zip(llm.block_outputs(plain, tokens), llm.block_outputs(wrapped, tokens), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    edit = llm.set_scalar(2, 1, -4.0)
    with llm.edit_output(plain, 0, edit), llm.edit_output(wrapped, 0, edit):
        assert torch.equal(logits_of(plain, tokens), logits_of(wrapped, tokens))


# ---------------------------------------------------------------- perplexity


def test_loss_is_the_mean_over_all_predicted_tokens(model, tokens):
    logits = logits_of(model, tokens).double()
    # (5, LENGTH, VOCAB) -> (5, LENGTH - 1, VOCAB), log of the probability of the next token
    chosen = logits[:, :-1].log_softmax(-1).gather(2, tokens[:, 1:, None])
    assert llm.mean_loss(model, tokens) == pytest.approx(-chosen.mean().item(), abs=1e-6)
    assert llm.perplexity(model, tokens) == pytest.approx(math.exp(-chosen.mean()), rel=1e-6)


def test_long_windows_are_summed_in_parts():
    torch.manual_seed(0)
    model = llm.TinyLM(llm.LMConfig(1, 16, 2, context=700, vocab=VOCAB))
    tokens = torch.randint(VOCAB, (2, 700))
    chosen = (
        logits_of(model, tokens).double()[:, :-1].log_softmax(-1).gather(2, tokens[:, 1:, None])
    )
    assert llm.mean_loss(model, tokens) == pytest.approx(-chosen.mean().item(), abs=1e-6)


class Constant(nn.Module):
    """A model with one answer for everything."""

    def __init__(self, logits: list[float]):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, tokens):
        return self.logits.expand(*tokens.shape, -1)


def test_perplexity_of_known_models():
    tokens = torch.zeros(2, 9, dtype=torch.int64)
    assert llm.perplexity(Constant([0.0] * 50), tokens) == pytest.approx(50, rel=1e-6)
    assert llm.perplexity(Constant([1000.0, 0.0]), tokens) == 1.0
    assert llm.perplexity(Constant([0.0, 1000.0]), tokens) == math.inf
    assert llm.mean_loss(Constant([0.0, 1000.0]), tokens) == pytest.approx(1000)


# ---------------------------------------------------------------- windows


def test_windows_follow_each_other_or_begin_at_random():
    tokens = torch.arange(1000)
    assert torch.equal(llm.windows(tokens, 8, 3), torch.arange(24).reshape(3, 8))
    some = llm.windows(tokens, 8, 50, seed=1)
    assert torch.equal(some - some[:, :1], torch.arange(8).expand(50, 8))
    assert torch.equal(some, llm.windows(tokens, 8, 50, seed=1))
    assert not torch.equal(some, llm.windows(tokens, 8, 50, seed=2))
    assert some.max() < 999 and len(some[:, 0].unique()) > 40


# ---------------------------------------------------------------- what is refused


def edited(block=0, edit=None, name="Llama"):
    model = MAKERS[name]()
    with llm.edit_output(model, block, edit or llm.set_scalar(0, 0, 0.0)):
        llm.block_outputs(model, torch.zeros(1, LENGTH, dtype=torch.int64))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: llm.decoder_blocks(nn.Linear(2, 2)), "Linear has no decoder blocks"),
        (lambda: llm.decoder_blocks(nn.Sequential()), "expected a list"),
        (lambda: edited(block=BLOCKS), "from 0 to 2, got 3; this model has 3 blocks"),
        (lambda: edited(block=-1), "from 0 to 2, got -1"),
        (lambda: edited(edit=llm.set_scalar(LENGTH, 0, 0.0)), "position must be from 0 to 19"),
        (lambda: edited(edit=llm.set_scalar(-1, 0, 0.0)), "position .* got -1"),
        (lambda: edited(edit=llm.set_scalar(0, WIDTH, 0.0)), "dimension must be from 0 to 31"),
        (lambda: edited(edit=lambda h: h[:, :1]), r"must return the shape \(1, 20, 32\)"),
        (lambda: edited(edit=lambda h: None), "got NoneType"),
        (lambda: llm.block_outputs(MAKERS["Llama"](), torch.arange(5)), r"tokens\[None\]"),
        (lambda: llm.mean_loss(Constant([0.0]), torch.arange(5)), r"\(batch, tokens\)"),
        (lambda: llm.mean_loss(Constant([0.0]), torch.zeros(2, 1).long()), "at least 2 tokens"),
        (lambda: llm.mean_loss(Constant([math.nan]), torch.zeros(1, 4).long()), "NaN"),
        (lambda: llm.windows(torch.arange(99), 10, 10), "need 100 tokens, got 99"),
        (lambda: llm.windows(torch.arange(9), 10, 1, seed=0), "too few for windows of 10"),
        (lambda: llm.windows(torch.arange(9)[None], 2, 1), r"got shape \(1, 9\)"),
        (lambda: llm.windows(torch.arange(9), 1, 1), "length >= 2"),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()

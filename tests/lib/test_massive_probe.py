"""Massive activations found: in a real model, in random ones, and in the published numbers."""

import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import constants
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from course_lib import assets, llm
from course_lib._paths import repo_root
from course_lib.massive_activations import (
    extremes,
    fit_varpro,
    initial_ratio,
    is_massive,
    load_release,
    mean_ratios,
    parse_stats,
    probe,
    read_excerpt,
    shape_class,
    stats_table,
)
from course_lib.massive_activations._release import DATA_SET


pytestmark = pytest.mark.lab30

SINK, BLOCK = (0, 507), 11  # position and dimension of SmolLM2's largest scalar; where it appears
MASSIVE = range(11, 28)


# ---------------------------------------------------------------- a real model


@pytest.fixture(scope="module")
def smollm2():
    return assets.language_model("smollm2_135m")


@pytest.fixture(scope="module")
def windows():
    """Ten windows of 512 tokens of English, no symbol added."""
    text = assets.text("python_docs")[:400_000]
    tokens = torch.tensor(assets.tokenizer("smollm2_135m")(text)["input_ids"])
    return llm.windows(tokens, 512, 10, seed=0)


@pytest.fixture(scope="module")
def table(smollm2, windows):
    return probe(smollm2, windows, progress=False)


def test_one_scalar_is_the_largest_in_every_window(table):
    found = table[table["block"].isin(MASSIVE)]
    assert len(found) == 10 * len(MASSIVE)
    assert (found["position"] == SINK[0]).all() and (found["dimension"] == SINK[1]).all()


def test_it_is_thousands_of_medians_and_gone_one_block_earlier(table):
    ratio = table.pivot(index="window", columns="block", values="ratio")
    assert (ratio[BLOCK] > 5000).all()
    assert (ratio[BLOCK - 1] < 200).all()
    assert (ratio[29] < 1000).all()  # taken away again before the head


def test_the_criterion_holds_in_seventeen_blocks(table):
    massive = table.assign(massive=is_massive(table["top1"], table["median"]))
    everywhere = massive.groupby("block")["massive"].all()
    assert list(everywhere.index[everywhere]) == list(MASSIVE)


def test_the_second_and_third_are_far_below(table):
    at = table[table["block"] == BLOCK]
    assert (at["top1"] > 5 * at["top2"]).all() and (at["top2"] > at["top3"]).all()
    assert (at["top3"] > 100 * at["median"]).all()


@pytest.fixture(scope="module")
def few(windows):
    return windows[:2]


@pytest.fixture(scope="module")
def untouched(smollm2, few):
    return llm.perplexity(smollm2, few)


def with_scalar(model, few, position, dimension, value):
    with llm.edit_output(model, BLOCK, llm.set_scalar(position, dimension, value)):
        return llm.perplexity(model, few)


def test_zeroing_that_scalar_breaks_the_model(smollm2, few, untouched):
    assert 5 < untouched < 50
    assert with_scalar(smollm2, few, *SINK, 0.0) > 100 * untouched


def test_its_mean_over_windows_does_as_well(smollm2, few, untouched, table):
    mean = table[table["block"] == BLOCK]["top1"].mean()  # of |h|; the sign is checked below
    with torch.no_grad():
        sign = llm.block_outputs(smollm2, few[:1, :2])[BLOCK][0, *SINK].sign().item()
    assert with_scalar(smollm2, few, *SINK, sign * mean) == pytest.approx(untouched, rel=0.02)


def test_zeroing_a_median_scalar_does_nothing(smollm2, few, untouched):
    sizes = llm.block_outputs(smollm2, few[:1])[BLOCK][0].abs()
    position, dimension = divmod(int((sizes == sizes.median()).flatten().nonzero()[0]), 576)
    assert with_scalar(smollm2, few, position, dimension, 0.0) == pytest.approx(
        untouched, rel=0.005
    )


# ---------------------------------------------------------------- models before training

SHAPE = {"hidden_size": 128, "num_attention_heads": 4, "vocab_size": 257}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2}
UNTRAINED = {
    "TinyLM": lambda: llm.TinyLM(llm.LMConfig()),
    "Pythia-14M": lambda: GPTNeoXForCausalLM(
        GPTNeoXConfig(num_hidden_layers=6, intermediate_size=512, **SHAPE, **SPECIAL)
    ),
    "Llama": lambda: LlamaForCausalLM(
        # Weights of variance 1 / width; with much smaller ones, position 0 alone is large.
        LlamaConfig(
            num_hidden_layers=8,
            intermediate_size=344,
            initializer_range=128**-0.5,
            **SHAPE,
            **SPECIAL,
        )
    ),
    "GPT-2": lambda: GPT2LMHeadModel(
        GPT2Config(n_embd=128, n_layer=8, n_head=4, vocab_size=257, **SPECIAL)
    ),
}


@pytest.mark.parametrize("name", UNTRAINED)
def test_untrained_models_are_near_the_null_in_every_block(name):
    torch.manual_seed(0)
    table = probe(UNTRAINED[name](), torch.randint(257, (4, 128)), progress=False)
    ratios = table.groupby("block")["ratio"].mean() / initial_ratio(128 * 128)
    assert ((ratios > 0.65) & (ratios < 1.35)).all(), ratios


def test_null_in_closed_form():
    known = {4096: 5.58, 2048 * 128: 6.96, 2048 * 2048: 7.76, 2048 * 5120: 8.01, 128 * 128: 6.07}
    for n, ratio in known.items():
        assert initial_ratio(n) == pytest.approx(ratio, abs=0.005)
    assert initial_ratio(1) == pytest.approx(1)
    draws = np.abs(np.random.default_rng(0).standard_normal((2000, 512)))
    sampled = np.median(draws.max(1) / np.median(draws, axis=1))
    assert initial_ratio(512) == pytest.approx(sampled, rel=0.02)
    values = [initial_ratio(10**k) for k in range(1, 15)]
    assert values == sorted(values)


# ---------------------------------------------------------------- the numbers of a hidden state


def test_extremes_of_a_known_state():
    # |h| = 1 .. 12, signs alternate; the lower of the two in the middle is 6
    h = torch.arange(1.0, 13.0).reshape(3, 4) * torch.tensor([1.0, -1.0]).repeat(6).reshape(3, 4)
    h[1, 2] = -700.0  # was 7
    found = extremes(h)
    assert found[:4] == (700, 12, 11, 6)
    assert (found.position, found.dimension) == (1, 2)
    assert found.ratio == pytest.approx(700 / 6)
    assert extremes(-3 * h).ratio == pytest.approx(found.ratio)
    assert extremes(h.bfloat16()).top1 == 700


def test_probe_measures_every_block_of_every_window():
    torch.manual_seed(0)
    model, tokens = llm.TinyLM(llm.LMConfig(3, 32, 2, 16)), torch.randint(257, (4, 16))
    table = probe(model, tokens, progress=False)
    assert len(table) == 12
    assert list(table.columns) == ["window", "block", *extremes(torch.ones(2, 2))._fields]
    for window in range(4):
        for block, h in enumerate(llm.block_outputs(model, tokens[[window]])):
            (row,) = table[(table["window"] == window) & (table["block"] == block)].itertuples()
            sizes = h.abs().numpy().flatten()
            ordered = np.sort(sizes)
            assert [row.top3, row.top2, row.top1] == ordered[-3:].tolist()
            assert row.median == ordered[len(ordered) // 2 - 1]  # the lower one in the middle
            assert row.ratio == row.top1 / row.median
            assert row.position * 32 + row.dimension == sizes.argmax()


def test_probe_sees_an_edit():
    torch.manual_seed(0)
    model, tokens = llm.TinyLM(llm.LMConfig(3, 32, 2, 16)), torch.randint(257, (2, 16))
    with llm.edit_output(model, 1, llm.set_scalar(5, 7, -1e5)):
        table = probe(model, tokens, progress=False)
    later = table[table["block"] >= 1]
    assert (later["position"] == 5).all() and (later["dimension"] == 7).all()
    assert is_massive(later["top1"], later["median"]).all()


def test_criterion_needs_both_conditions():
    assert is_massive(-2000.0, 2.0) is True
    assert is_massive(1999.0, 2.0) is False  # below 1000 medians
    assert is_massive(99.0, 0.01) is False  # far above 1000 medians, but small
    assert is_massive([2000.0, 90.0], [2.0, 0.01]).tolist() == [True, False]


def broken_lm():
    model = llm.TinyLM(llm.LMConfig(2, 32, 2, 16))
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    return model


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: extremes(torch.zeros(4, 4)), "median of .* is 0"),
        (lambda: extremes(torch.ones(2, 4, 4)), r"got \(2, 4, 4\); take one window"),
        (lambda: extremes(torch.ones(4)), r"\(tokens, width\), got \(4,\)"),
        (lambda: extremes(torch.tensor([[1.0, math.nan], [2.0, 3.0]])), "holds nan"),
        (lambda: extremes(torch.tensor([[1.0, -math.inf], [2.0, 3.0]])), "float32"),
        (lambda: probe(broken_lm(), torch.zeros(1, 16).long(), progress=False), "must be finite"),
        (lambda: probe(nn.Linear(2, 2), torch.zeros(1, 16).long()), "no decoder blocks"),
        (lambda: probe(broken_lm(), torch.arange(16)), r"\(count, length\), got \(16,\)"),
        (lambda: is_massive(5.0, 0.0), "must be positive"),
        (lambda: initial_ratio(0), "at least 1 entry"),
        (lambda: parse_stats("[[1.0, 2.0], [3.0]]"), "4 rows of equal length"),
        (lambda: parse_stats("<html>"), "4 rows of equal length"),
        (lambda: parse_stats("[[1.0, x], [1, 1], [1, 1], [1, 1]]"), "numbers only; .*'x'"),
        (lambda: parse_stats("[[[1.0], [1.0], [1.0], [nan]]]"), "NaN"),
        (lambda: mean_ratios(stats_table(np.zeros((1, 4, 2)), model="x", step=0)), "median of 0"),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# ---------------------------------------------------------------- the published measurements


def published_file(seed: int, sequences: int = 10, blocks: int = 6) -> tuple[str, np.ndarray]:
    """A text in the form of the published files, and its numbers."""
    stats = np.sort(np.random.default_rng(seed).gamma(1.0, 9.0, (sequences, 4, blocks)), axis=1)
    stats = stats[:, ::-1]  # top1, top2, top3, median
    return "\n".join(str(rows.tolist()) for rows in stats), stats


def test_statistics_files_are_parsed_exactly():
    text, stats = published_file(0)
    assert np.array_equal(parse_stats(text), stats)
    assert np.array_equal(parse_stats(str(stats.tolist())), stats)  # one list of all
    assert parse_stats("[[[2e4],[-1.5E-3],[3],[.5e1]]]").tolist() == [[[2e4], [-1.5e-3], [3], [5]]]


def test_table_of_a_file_keeps_sequence_and_block():
    _, stats = published_file(1, sequences=3)
    table = stats_table(stats, model="14m", step=512)
    row = table[(table["seq"] == 2) & (table["layer"] == 4)].iloc[0]
    assert row[["top1", "top2", "top3", "median"]].tolist() == stats[2, :, 4].tolist()
    means = mean_ratios(table)
    assert list(means["layer"]) == list(range(6)) and set(means["step"]) == {512}
    assert np.allclose(means["ratio"], (stats[:, 0] / stats[:, 3]).mean(0))


@pytest.fixture
def release(tmp_path, monkeypatch):
    """Lay three files down as the hub's client does, one of them malformed; no network."""
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "hub" / f"datasets--{DATA_SET.replace('/', '--')}"
    stats = repository / "snapshots" / ("0" * 40) / "pythia_14m" / "stats"
    stats.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    for step in (0, 16):
        (stats / f"exp2_pythia_14m_step{step}").write_text(published_file(step)[0])
    (stats / "exp2_pythia_14m_step2").write_text("[[1.0, 2.0], [3.0")
    return tmp_path / "hub"


def test_release_is_read_from_a_filled_cache(release, monkeypatch):
    table = load_release("14m", [0, 16])
    assert list(table.columns) == [
        "model",
        "step",
        "seq",
        "layer",
        "top1",
        "top2",
        "top3",
        "median",
    ]
    assert len(table) == 2 * 10 * 6
    assert table["top1"].iloc[0] == published_file(0)[1][0, 0, 0]
    files = [f"pythia_14m/stats/exp2_pythia_14m_step{step}" for step in (16, 0)]
    others = ["README.md", "pythia_1.4b/stats/exp2_pythia_1.4b_step3", "params/x_step5.json"]
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda *_, **__: files + others)
    assert load_release("14m").equals(table)


def test_malformed_file_of_the_release_is_named_and_left_out(release):
    with pytest.warns(assets.AssetWarning, match="exp2_pythia_14m_step2 is left out"):
        assert set(load_release("14m", [0, 2])["step"]) == {0}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: load_release("15m"), "published are 14m, 70m"),
        (lambda: load_release("14m", [0, 3]), "step3 of .* connect to the internet"),
        (lambda: load_release("14m"), "Cannot list the files"),
        (lambda: load_release("14m", []), "None of the files"),
    ],
)
def test_release_that_cannot_be_had(release, call, words):
    with pytest.raises(assets.AssetError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_excerpt_with_other_columns_is_refused(tmp_path):
    pd.DataFrame({"model": ["14m"], "step": [0]}).to_csv(tmp_path / "x.csv")
    with pytest.raises(ValueError, match="x.csv lacks the columns seq, layer, top1"):
        read_excerpt(tmp_path / "x.csv")


def excerpt_file() -> Path | None:
    """A CSV with real rows of the release, where somebody put one."""
    named = os.environ.get("COURSE_PYTHIA_EXCERPT")
    beside = "../shared/data/massive_activations/pythia_top_activations_subset.csv"
    file = Path(named) if named else (repo_root() or Path()) / beside
    return file if file.is_file() else None


@pytest.mark.skipif(
    excerpt_file() is None,
    reason="needs rows of the hub data set Aimpoint-Digital/pythia-massive-activations as a CSV "
    "(model, step, seq, layer, top1, top2, top3, median); COURSE_PYTHIA_EXCERPT names the file",
)
def test_published_excerpt_of_pythia_14m():
    table = read_excerpt(excerpt_file())
    assert (table["top1"] > 0).all() and table["median"].isna().any()  # some rows have top1 only
    whole = table.dropna()
    assert (whole["top1"] >= whole["top2"]).all() and (whole["top2"] >= whole["top3"]).all()
    ratios = mean_ratios(table[table["model"] == "14m"])
    known = {
        2: [6.8, 6.8, 39.9, 45.1, 46.3, 57.8, 60.8, 65.8],
        4: [6.5, 6.5, 23.2, 35.4, 38.1, 43.5, 31.5, 26.4],
        5: [6.4, 6.4, 19.7, 21.6, 21.7, 22.2, 16.6, 4.1],
    }
    classes = []
    for layer, rows in ratios.groupby("layer"):
        assert rows["step"].tolist() == [0, 2, 12_000, 18_000, 20_000, 22_000, 52_000, 66_000]
        assert rows["ratio"].to_numpy() == pytest.approx(known.get(layer, rows["ratio"]), abs=0.05)
        assert rows["ratio"].iloc[0] == pytest.approx(initial_ratio(2048 * 128), rel=0.35)
        fit = fit_varpro(rows["step"].to_numpy(), rows["ratio"].to_numpy())
        classes.append(shape_class(fit, 66_000))
    assert classes == ["log increase"] * 4 + ["early peak"] * 2

"""How massive activations grow: the experiment, its script, and the table and model it shipped."""

import tomllib

import numpy as np
import pandas
import pytest
import torch
from scipy.stats import norm

from course_lib import assets
from course_lib.llm import LMConfig, TinyLM, byte_tokens, lm_facts, load_lm, mean_loss
from course_lib.massive_activations import initial_ratio, probe, trajectories
from course_lib.massive_activations.trajectories import (
    checkpoint_steps,
    fixed_windows,
    measure,
    plan,
    record,
    split,
    text_digest,
    training_text,
    trajectory,
)


pytestmark = pytest.mark.lab30

TINY = {"blocks": 2, "width": 32, "heads": 2}
ARCHITECTURE = ["blocks", "width", "heads", "positions", "bos"]
MEASURED = ["step", "block", "top1", "median", "ratio", "at_start", "dimension", "val_loss"]


def null(n: int) -> float:
    """The median of largest/median of n Gaussian numbers, from their quantiles."""
    return norm.ppf((1 + 2 ** (-1 / n)) / 2) / norm.ppf(0.75)


@pytest.fixture(scope="module")
def text() -> str:
    return assets.text("python_docs")


@pytest.fixture(scope="module")
def shipped() -> pandas.DataFrame:
    return pandas.read_csv(assets.path("massive_activations_trajectories"))


@pytest.fixture(scope="module")
def about() -> dict:
    file = assets.path("massive_activations_trajectories").with_suffix(".toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def check_grown(rows: pandas.DataFrame) -> None:
    """Assert what a trained reference shows: position 0 in each window, four times the null.

    That in every block; the median grows with depth, and the ratio falls.
    """
    assert (rows["at_start"] == 1).all(), rows["at_start"].tolist()
    over = (rows["ratio"] / null(128 * 128)).tolist()
    assert min(over) >= 4, over
    assert rows["median"].is_monotonic_increasing and rows["ratio"].is_monotonic_decreasing


def reference_of(table: pandas.DataFrame) -> pandas.DataFrame:
    setting = {name: trajectories.REFERENCE[name] for name in [*ARCHITECTURE, "seed"]}
    return table[(table[list(setting)] == list(setting.values())).all(axis=1)]


# The experiment


def test_twenty_steps_give_the_documented_rows(text):
    seen = []
    rows = trajectory(**TINY, steps=20, schedule_steps=20, text=text, on_rows=seen.append)
    assert [list(row) for row in rows] == [MEASURED] * len(rows)
    assert [row for part in seen for row in part] == rows
    steps = checkpoint_steps(20)
    assert [(row["step"], row["block"]) for row in rows] == [(s, b) for s in steps for b in (0, 1)]
    table = pandas.DataFrame(rows)
    assert np.isfinite(table.to_numpy()).all()
    assert table["at_start"].between(0, 1).all()
    assert table["dimension"].between(0, 31).all()
    assert (table.groupby("step")["val_loss"].nunique() == 1).all()
    assert table["val_loss"].iloc[-1] < table["val_loss"].iloc[0] - 0.3
    assert np.allclose(table["ratio"] * table["median"], table["top1"], rtol=0.1)


def test_a_live_run_follows_the_first_steps_of_a_longer_one(text):
    setting = {**TINY, "seed": 1, "text": text, "schedule_steps": 30}
    long = trajectory(**setting, steps=9, checkpoints=[0, 4, 9])
    short = trajectory(**setting, steps=4, checkpoints=[0, 4])
    assert short == long[: len(short)]
    other = trajectory(**{**setting, "seed": 2}, steps=4, checkpoints=[0, 4])
    assert other != short


def test_the_measures_find_a_planted_scalar():
    class Planted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = torch.nn.ModuleList([torch.nn.Identity()])
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, tokens):
            h = torch.ones(*tokens.shape, 4)
            h[..., 1::2] = -2.0  # half of |h| is 1, half is 2: the lower middle is 1
            h[:, 0, 3] = torch.tensor([-50.0, 70.0])
            return self.blocks[0](h)

    rows = measure(Planted(), torch.zeros((2, 8), dtype=torch.int64))
    assert rows == [
        {
            "block": 0,
            "top1": 60.0,
            "median": 1.0,
            "ratio": 60.0,
            "at_start": 1.0,
            "dimension": 3,
        }
    ]


def test_the_measures_are_means_of_the_probe(text):
    torch.manual_seed(0)
    model = TinyLM(LMConfig(**TINY, context=128))
    windows = fixed_windows(split(byte_tokens(text))[1], model.config, 10)
    rows = pandas.DataFrame(measure(model, windows)).set_index("block")
    found = probe(model, windows, progress=False).groupby("block")
    for column in ("top1", "median", "ratio"):
        assert np.allclose(rows[column], found[column].mean(), rtol=1e-5), column
    starts = found["position"].agg(lambda places: (places == 0).mean())
    assert np.allclose(rows["at_start"], starts)
    for block, part in found:
        assert rows["dimension"][block] in part["dimension"].mode().tolist()


def test_an_untrained_model_is_near_the_null(text):
    rows = trajectory(steps=1, checkpoints=[0], text=text)
    ratios = np.array([row["ratio"] for row in rows])
    assert len(ratios) == 6
    assert null(128 * 128) == pytest.approx(6.07, abs=0.01)
    assert initial_ratio(128 * 128) == pytest.approx(null(128 * 128))
    assert (abs(ratios / null(128 * 128) - 1) <= 0.35).all(), ratios


def test_checkpoints_are_dense_shared_and_spread_over_the_logarithm():
    for steps, least in ((800, 60), (8000, 80)):
        found = checkpoint_steps(steps)
        assert found == sorted(set(found))
        assert (found[0], found[-1]) == (0, steps)
        assert len(found) >= least
        inner = np.array(found[1:-1], dtype=float)
        assert (inner[1:] <= np.maximum(inner[:-1] + 1, 1.08 * inner[:-1] + 1)).all()
    assert set(checkpoint_steps(800)[:-1]) <= set(checkpoint_steps(8000))
    assert checkpoint_steps(1) == [0, 1]


def test_held_out_text_is_never_trained_on(text):
    train, held_out = split(byte_tokens(text))
    assert len(held_out) == int(0.05 * len(text.encode()))
    assert torch.equal(torch.cat([train, held_out]), byte_tokens(text))


def test_bad_settings_are_refused(text):
    with pytest.raises(ValueError, match="does not split"):
        trajectory(width=30, steps=1, text=text)
    with pytest.raises(ValueError, match="do not fit"):
        trajectory(**TINY, steps=1, text="too short")
    with pytest.raises(ValueError, match="at least 1"):
        trajectory(**TINY, steps=0, text=text)
    with pytest.raises(ValueError, match="schedule"):
        trajectory(**TINY, steps=5, schedule_steps=4, text=text)


# The script


def test_the_script_writes_keeps_and_replaces(tmp_path, capsys):
    table, model, folder = (tmp_path / name for name in ("t.csv", "m.safetensors", "runs"))
    tiny = trajectories.VARIANTS[0] | TINY | {"positions": "learned"}
    runs = plan([tiny], seeds=[0], steps=2, reference=trajectories.REFERENCE | TINY | {"steps": 3})
    assert [run["steps"] for run in runs] == [3, 2]
    record(runs, table, model, folder=folder)
    first = table.read_bytes()
    found = pandas.read_csv(table)
    assert list(found) == [*ARCHITECTURE, "seed", *MEASURED]
    assert len(found) == 2 * 4 + 2 * 3
    assert found["positions"].unique().tolist() == ["rotary", "learned"]
    assert lm_facts(model)["steps"] == 3
    facts = tomllib.loads(table.with_suffix(".toml").read_text(encoding="utf-8"))
    assert facts["runs"] == runs
    assert facts["torch"] == torch.__version__
    assert facts["text_sha256"] == text_digest(training_text()) == lm_facts(model)["text_sha256"]

    record(runs, table, model, folder=folder)  # all runs were finished before
    assert table.read_bytes() == first
    with pytest.raises(FileExistsError, match="other runs; give --force"):
        record(runs[:1], table, model, folder=folder)
    assert table.read_bytes() == first
    record(runs[:1], table, model, folder=folder, force=True)
    assert len(pandas.read_csv(table)) == 8
    wrong = runs[0] | {"heads": 3}
    with pytest.raises(RuntimeError, match="1 of 2 runs failed.*does not split"):
        record([runs[0], wrong], table, model, folder=folder, force=True)
    assert "finished before" in capsys.readouterr().out


# What it shipped


def test_the_table_is_complete(shipped, about):
    assert list(shipped) == [*ARCHITECTURE, "seed", *MEASURED]
    numbers = shipped.drop(columns="positions")
    assert np.isfinite(numbers.to_numpy(dtype=float)).all()
    runs = shipped.groupby([*ARCHITECTURE, "seed"])
    assert len(shipped[ARCHITECTURE].drop_duplicates()) >= 8
    assert (shipped.groupby(ARCHITECTURE)["seed"].nunique() >= 2).all()
    assert len(runs) == len(about["runs"])
    for axis in ARCHITECTURE:
        assert shipped[axis].nunique() >= 2, axis
    for setting, run in runs:
        steps = run["step"].unique()
        assert len(steps) >= 60, setting
        assert steps.tolist() == sorted(steps)
        assert len(run) == len(steps) * run["blocks"].iloc[0]
        assert sorted(run["block"].unique()) == list(range(run["blocks"].iloc[0]))
    assert assets.path("massive_activations_trajectories").stat().st_size < 1_000_000


def test_the_versions_stand_beside_the_table(about):
    facts = lm_facts(assets.path("massive_activations_lm"))
    for name in ("python", "torch", "text_sha256"):
        assert about[name] == facts[name]
    assert about["runs"] == plan(steps=about["runs"][1]["steps"])


def test_every_run_starts_near_the_null(shipped):
    start = shipped[shipped["step"] == 0]
    assert len(start) == sum(
        run["blocks"].iloc[0] for _, run in start.groupby([*ARCHITECTURE, "seed"])
    )
    expected = start["width"].map(lambda width: null(128 * width))
    off = (start["ratio"] / expected - 1).abs()
    assert off.max() <= 0.35, start[off > 0.35]


def test_every_run_learns(shipped):
    for setting, run in shipped.groupby([*ARCHITECTURE, "seed"]):
        first, last = (run[run["step"] == at]["val_loss"].iloc[0] for at in (0, run["step"].max()))
        assert last < first - 2.5, setting


def test_a_run_here_follows_the_table(shipped, about):
    setting = {name: about["runs"][1][name] for name in [*ARCHITECTURE, "seed"]}
    there = shipped[(shipped[list(setting)] == list(setting.values())).all(axis=1)]
    here = pandas.DataFrame(trajectory(**setting, steps=12, checkpoints=[0, 4, 12]))
    there = there[there["step"].isin([0, 4, 12])].reset_index(drop=True)
    assert (here[["step", "block"]] == there[["step", "block"]]).all(axis=None)
    # Machines add in another order; another version of Python brings another text.
    tolerance = 2e-3 if text_digest(training_text()) == about["text_sha256"] else 0.35
    for column in ("top1", "median", "ratio", "val_loss"):
        assert np.allclose(here[column], there[column], rtol=tolerance), column


def test_the_reference_grows_at_the_beginning_of_the_window(shipped):
    run = reference_of(shipped)
    last = run[run["step"] == trajectories.REFERENCE["steps"]]
    assert len(last) == 6
    check_grown(last)
    for _, block in run.groupby("block"):
        # Until step 100 it lies near the null. Then it never falls by 15 % of what it had reached.
        grown = block[block["step"] >= 100]["ratio"]
        assert (grown >= 0.85 * grown.cummax()).all(), block["block"].iloc[0]


def test_the_shipped_model_agrees_with_its_row_and_the_null(shipped):
    file = assets.path("massive_activations_lm")
    model = load_lm(file)
    assert sum(weight.numel() for weight in model.parameters()) == 1_234_816
    text = training_text()
    same_text = text_digest(text) == lm_facts(file)["text_sha256"]
    _, held_out = split(byte_tokens(text))
    windows = fixed_windows(held_out, model.config, 10)
    found = pandas.DataFrame(measure(model, windows))
    check_grown(found)
    run = reference_of(shipped)
    last = run[run["step"] == trajectories.REFERENCE["steps"]].reset_index(drop=True)
    assert (found["dimension"] == last["dimension"]).all()
    # Eight bits per weight move the values by about a percent; another Python's text by more.
    tolerance = 0.03 if same_text else 0.15
    for column in ("top1", "median", "ratio"):
        assert np.allclose(found[column], last[column], rtol=tolerance), column
    loss = mean_loss(model, fixed_windows(held_out, model.config, 20))
    assert loss == pytest.approx(last["val_loss"].iloc[0], abs=0.02 if same_text else 0.3)

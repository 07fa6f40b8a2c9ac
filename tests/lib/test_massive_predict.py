"""From architecture to curve: the features, the splits, and the leak of a random split."""

import numpy as np
import pandas
import pytest

from course_lib import massive_activations as ma


pytestmark = pytest.mark.lab30
BLOCKS = ma.block_table()


@pytest.fixture(scope="module")
def leak():
    """R2 on a target without any law, 10 draws; a column for each split."""
    return ma.leak_demo(range(10)).pivot(index="seed", columns="split", values="r2")


def test_a_random_split_scores_well_where_nothing_can_be_known(leak):
    assert len(leak) == 10
    assert leak["random 80/20"].mean() >= 0.75
    assert leak["5-fold"].mean() >= 0.75
    assert leak["leave one model out"].mean() <= 0
    # Nine numbers are few: in some draws, similar models have similar ones by chance.
    assert (leak["leave one model out"] <= 0).mean() >= 0.7


def test_the_188_blocks_of_pythia():
    assert len(BLOCKS) == 188 and BLOCKS["model"].nunique() == 9
    assert list(BLOCKS.columns) == ["model", "block", *ma.FEATURES]
    first = BLOCKS.iloc[0]
    assert first["model"] == "pythia-14m" and first["block"] == 0
    expected = (1 / 6, 1 / 36, 1 / 216, 6**-0.5, 4 / 128, 4, 128 / 6, 4 / 6, np.log(128), 6)
    assert [first[name] for name in ma.FEATURES] == pytest.approx(expected)
    last = BLOCKS.iloc[-1]
    assert last["relative_depth"] == 1 and last["block_times_blocks"] == 36 * 36


def test_five_features_name_the_model():
    """They are constant inside a model, and together they tell all nine apart."""
    names = ["heads_per_width", "width_per_block", "heads_per_block", "ffn_per_width", "log_width"]
    assert (BLOCKS.groupby("model")[names].nunique() == 1).all(axis=None)
    assert len(BLOCKS[names[:3]].drop_duplicates()) == 9
    assert BLOCKS["heads_per_width"].nunique() == 5
    assert (BLOCKS["ffn_per_width"] == 4).all()


def test_a_law_that_exists_is_found_in_models_that_were_left_out():
    """The honest split is strict, not blind: a target made from the features passes it."""
    table = BLOCKS.assign(target=3 * BLOCKS["relative_depth"] - BLOCKS["relative_depth_root"])
    scores = ma.prediction_scores(table, "target").set_index(["regressor", "split"])
    assert (scores["r2"] > 0.8).all()
    assert scores.loc[("ridge", "leave one model out"), "r2"] > 0.98
    assert ((scores["mae"] > 0) & (scores["mae"] <= scores["rmse"])).all()


@pytest.mark.parametrize("transform", ["log1p", "yeo-johnson"])
def test_the_transforms_are_undone_before_judging(transform):
    """Judged in the target's unit: without noise, a scale of 1000 stays a scale of 1000."""
    table = BLOCKS.assign(target=1000 * np.exp(BLOCKS["relative_depth"]))
    (row,) = ma.prediction_scores(
        table,
        "target",
        transform=transform,
        regressors=("random forest",),
        splits=("random 80/20",),
    ).to_dict("records")
    assert row["r2"] > 0.99 and 0 < row["rmse"] < 200


def test_any_table_will_do():
    """Other columns, other names: as for trajectories measured in the course."""
    random = np.random.default_rng(0)
    table = pandas.DataFrame({"net": np.repeat(list("abcd"), 10), "depth": np.tile(range(10), 4)})
    table["width"] = np.repeat([16, 32, 64, 128], 10)
    table["ratio"] = table["depth"] + random.standard_normal(40)
    scores = ma.prediction_scores(
        table, "ratio", features=["depth", "width"], group="net", regressors=["ridge"], seed=1
    )
    assert scores["split"].tolist() == ["random 80/20", "5-fold", "leave one model out"]
    assert (scores["r2"] > 0.5).all()
    again = ma.prediction_scores(
        table, "ratio", features=["depth", "width"], group="net", regressors=["ridge"], seed=1
    )
    pandas.testing.assert_frame_equal(scores, again)


def test_the_target_without_a_law():
    target = ma.leak_target(BLOCKS, noise=0.0, seed=3)
    assert (target.groupby(BLOCKS["model"]).std() < 1e-12).all()
    assert target.mean() == pytest.approx(0, abs=1e-12)
    assert target.std(ddof=0) == pytest.approx(1)
    noisy = ma.leak_target(BLOCKS, noise=0.5, seed=3)
    assert (noisy - target).std() == pytest.approx(0.5, rel=0.2)
    assert not np.allclose(target, ma.leak_target(BLOCKS, noise=0.0, seed=4))


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({}, {"target": "K"}, "no column 'K'"),
        ({"y": np.nan}, {}, "188 of 188 rows.*not finite"),
        ({"model": "one"}, {}, "All rows are of one model"),
        ({"y": -2.0}, {"transform": "log1p"}, "log1p needs more than -1.*yeo-johnson"),
        ({}, {"transform": "square"}, "transform is 'square'"),
        ({}, {"splits": ["none"]}, "split is 'none': take one of"),
        ({}, {"regressors": ["xgboost"]}, "regressor is 'xgboost': take one of"),
    ],
)
def test_what_is_refused_and_why(change, options, words):
    table = BLOCKS.assign(**{"y": BLOCKS["relative_depth"], **change})
    arguments = {"target": "y", "regressors": ["ridge"], **options}
    with pytest.raises(ValueError, match=words):
        ma.prediction_scores(table, **arguments)


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ([], "No architecture was given"),
        ([ma.PYTHIA[0], ma.PYTHIA[0]], "share a name"),
    ],
)
def test_tables_that_cannot_be_made(models, words):
    with pytest.raises(ValueError, match=words):
        ma.block_table(models)


def test_an_architecture_has_sizes():
    with pytest.raises(ValueError, match="tiny: heads is 0"):
        ma.Architecture("tiny", 2, 16, 0, 64)

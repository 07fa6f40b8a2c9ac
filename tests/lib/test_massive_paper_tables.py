"""The paper's printed tables, and what follows from them by arithmetic."""

import pytest

from course_lib import massive_activations as ma


pytestmark = pytest.mark.lab30


def test_the_headline_follows_from_one_table_and_not_from_the_other():
    table = ma.paper_tables()
    assert len(table) == 9 and table.blocks.sum() == 188
    assert ma.headline(table, ["table1_best"]) == pytest.approx(0.9843, abs=5e-5)
    assert ma.headline(table, ["table5_eq9", "table5_eq14"]) == pytest.approx(0.9798, abs=5e-5)


def test_table_1_holds_the_best_of_table_5_under_other_names():
    table = ma.paper_tables()
    best = table[["table5_eq9", "table5_eq14"]].max(axis=1)
    assert sorted(table.table1_best) == pytest.approx(sorted(best), abs=2e-3)
    assert (abs(table.table1_best - best) > 2e-3).sum() >= 6


def test_columns_that_the_table_lacks():
    with pytest.raises(ValueError, match="has no table9; choose among table1_best"):
        ma.headline(ma.paper_tables(), ["table9"])
    with pytest.raises(ValueError, match="no column to average"):
        ma.headline(ma.paper_tables(), [])

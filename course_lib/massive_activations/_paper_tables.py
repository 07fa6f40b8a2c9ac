"""What the paper prints about its fits, so that a reader can recompute its headline.

Paper: arXiv 2508.03616, second version, Tables 1 and 5: mean R2 over the blocks of each model.
"""

from typing import TYPE_CHECKING

from course_lib._paths import data_dir


if TYPE_CHECKING:
    import pandas


def paper_tables() -> "pandas.DataFrame":
    """Return the mean R2 of each Pythia model, as printed.

    Columns: model, blocks (number of blocks), table1_best (Table 1), and of Table 5 table5_eq9,
    table5_eq14, table5_first_order and table5_second_order.
    """
    import pandas

    return pandas.read_csv(data_dir() / "massive_activations" / "paper_tables.csv")


def headline(table: "pandas.DataFrame", columns: list[str]) -> float:
    """Return the mean R2 over all blocks: the best of `columns` in each model, weighted by blocks.

    Raises ValueError for columns that the table lacks.
    """
    missing = [column for column in columns if column not in table.columns]
    if missing or not columns:
        raise ValueError(
            f"The table has no {', '.join(missing) or 'column to average'}; "
            f"choose among {', '.join(table.columns[2:])}."
        )
    best = table[columns].max(axis=1)
    return float((best * table["blocks"]).sum() / table["blocks"].sum())

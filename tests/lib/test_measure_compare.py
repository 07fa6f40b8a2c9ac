"""Time, size on disk, and the helpers that show numbers."""

import time
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from course_lib import measure, plotting
from course_lib.measure import MiB, format_bytes


def test_rounds_are_interleaved_after_the_warm_up():
    calls = []
    result = measure.compare(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, warmup=2
    )
    assert "".join(calls) == "abbabaabab"
    assert [len(times) for times in result.samples.values()] == [3, 3]


def test_each_function_is_first_last_and_beside_each_other_one():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "abc"}
    measure.compare(functions, rounds=6, warmup=0)
    rounds = ["".join(calls[i : i + 3]) for i in range(0, 18, 3)]
    assert rounds == ["abc", "cba", "bca", "acb", "cab", "bac"]


def test_median_and_ratio():
    result = measure.Comparison({"fast": (1.0, 9.0, 2.0), "slow": (4.0, 4.0, 5.0)})
    assert result.seconds == {"fast": 2.0, "slow": 4.0}
    assert result.ratio("slow", to="fast") == 2
    assert list(result.table()["ratio to fast"]) == [1, 2]
    assert "median s" in result._repr_html_()
    with pytest.raises(KeyError, match="fast, slow"):
        result.ratio("slow", to="other")


def test_sleep_takes_its_time():
    result = measure.compare({"short": lambda: None, "long": lambda: time.sleep(0.02)}, rounds=3)
    assert result.seconds["long"] >= 0.02
    assert result.ratio("short", to="long") < 1


@pytest.mark.parametrize(
    ("functions", "options"),
    [({}, {}), ({"a": list}, {"rounds": 0}), ({"a": list}, {"warmup": -1})],
)
def test_bad_comparisons(functions, options):
    with pytest.raises(ValueError, match="needs at least|must be"):
        measure.compare(functions, **options)


def test_state_dict_size_is_near_the_file(tmp_path):
    net = nn.Sequential(nn.Linear(300, 200), nn.BatchNorm1d(200), nn.Linear(200, 10))
    state = net.state_dict()
    path = tmp_path / "net.pt"
    torch.save(state, path)
    on_disk = measure.file_size(path)
    assert on_disk == path.stat().st_size == measure.file_size(str(path))
    assert 0 <= on_disk - measure.file_size(state) <= 1024 * (len(state) + 2)


def test_shared_and_viewed_storages_count_as_saved(tmp_path):
    weight = torch.randn(100, 100)
    state = {"a": weight, "tied": weight, "view": weight[:2], "step": {"inner": torch.ones(5)}}
    assert measure.file_size(state) == weight.nbytes + 20
    torch.save(state, tmp_path / "state.pt")
    assert measure.file_size(tmp_path / "state.pt") >= weight.nbytes
    assert measure.file_size({}) == 0


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        measure.file_size(tmp_path / "missing.pt")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        measure.file_size(tmp_path)
    with pytest.raises(TypeError):
        measure.file_size(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (12.25 * MiB, "12.2 MiB"),
        (2**31, "2.00 GiB"),
    ],
)
def test_format_bytes(n, text):
    assert format_bytes(n) == text


def test_table_and_bars():
    rows = [{"method": "plain", "MiB": 7.0}, {"method": "lean", "MiB": 2.5}]
    assert list(measure.table(rows)["MiB"]) == [7.0, 2.5]
    with pytest.raises(ValueError, match="at least one row"):
        measure.table([])
    with pytest.raises(ValueError, match="at least one bar"):
        measure.stacked_bar({}, title="t", alt="a")


def test_stacked_bar_draws_each_segment(monkeypatch):
    drawn = []

    @contextmanager
    def figure(**options):
        with plotting_figure(**options) as (fig, axes):
            drawn.append((options["alt"], fig, axes))
            yield fig, axes

    plotting_figure = plotting.figure
    monkeypatch.setattr(plotting, "figure", figure)
    parts = {"plain": {"conv": 2 * MiB, "norm": MiB}, "lean": {"conv": MiB}}
    measure.stacked_bar(parts, title="Kept for backward", alt="Plain keeps 3 MiB, lean 1 MiB.")
    ((alt, fig, axes),) = drawn
    assert alt == "Plain keeps 3 MiB, lean 1 MiB."
    assert [[bar.get_width() for bar in group] for group in axes.containers] == [[2, 1], [1, 0]]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["conv", "norm"]
    assert [text.get_text().strip() for text in axes.texts] == ["3.0 MiB", "1.0 MiB"]
    with pytest.raises(ValueError, match="alt"):
        measure.stacked_bar(parts, title="t", alt="")

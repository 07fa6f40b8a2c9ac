import ipywidgets
import nbformat
import pandas
import pytest
from nbclient import NotebookClient

from course_lib import lab, plotting
from course_lib.lab import _explore


def compute(channels, scale=1.0, fused=False):
    if channels == 9:
        raise ValueError("9 channels do not fit")
    return {"plain": channels * scale, "ours": channels * scale / (2 if fused else 1)}


CONTROLS = {"channels": (1, 9, 1, 4), "scale": (0.5, 2.0, 0.5, 1.0), "fused": False}


class Drawn(list):
    def __call__(self, data):
        self.append(data)


def panel():
    drawn = Drawn()
    return _explore.build(compute, drawn, CONTROLS, continuous=True), drawn


def test_static_outside_a_notebook_draws_the_defaults_with_a_table(capsys):
    drawn = Drawn()
    lab.explore(compute, drawn, **CONTROLS)
    out = capsys.readouterr().out
    assert drawn == [{"plain": 4.0, "ours": 4.0}]
    assert "Shown for channels = 4, scale = 1.0, fused = False" in out
    assert "plain" in out


def test_each_control_gets_its_widget():
    made, _ = panel()
    kinds = {name: type(widget) for name, widget in made.inputs.items()}
    assert kinds == {
        "channels": ipywidgets.IntSlider,
        "scale": ipywidgets.FloatSlider,
        "fused": ipywidgets.Checkbox,
    }
    menu = _explore.build(lambda mode: mode, Drawn(), {"mode": ["a", "b"]}, continuous=True)
    assert isinstance(menu.inputs["mode"], ipywidgets.Dropdown)
    assert menu.inputs["mode"].value == "a"


def test_moving_a_control_draws_again_with_all_values():
    made, drawn = panel()
    made.inputs["channels"].value = 6
    made.inputs["fused"].value = True
    assert drawn == [{"plain": 6.0, "ours": 6.0}, {"plain": 6.0, "ours": 3.0}]


def test_an_error_is_shown_in_words_and_the_next_move_works(capsys):
    made, drawn = panel()
    made.inputs["channels"].value = 9
    out = capsys.readouterr().out
    assert "This does not work with channels=9" in out
    assert "9 channels do not fit" in out
    made.inputs["channels"].value = 3
    assert drawn == [{"plain": 3.0, "ours": 3.0}]


def test_slow_functions_wait_until_the_slider_is_released():
    for continuous in (True, False):
        made = _explore.build(compute, Drawn(), CONTROLS, continuous=continuous)
        assert made.inputs["channels"].continuous_update is continuous


@pytest.mark.parametrize(
    "control", [(1, 2, 3), (1, 9, 1, 20), (1, 9, 0, 4), [], "text", 3, (0, 1, 1, True)]
)
def test_other_controls_are_refused(control):
    with pytest.raises(ValueError, match="The control channels is"):
        lab.explore(compute, Drawn(), channels=control)


def test_controls_must_fit_the_function():
    with pytest.raises(TypeError, match="compute does not fit the controls width"):
        lab.explore(compute, Drawn(), width=(1, 2, 1, 1))


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        ({"a": 1, "b": 2.5}, [{"name": "a", "value": 1}, {"name": "b", "value": 2.5}]),
        ({"x": [1, 2], "y": (3, 4)}, [{"x": 1, "y": 3}, {"x": 2, "y": 4}]),
        (pandas.DataFrame({"x": [1, 2]}), [{"x": 1}, {"x": 2}]),
        ({"x": [1, 2], "y": [3]}, []),
        ({"x": object()}, []),
        (None, []),
    ],
)
def test_data_become_rows(data, rows):
    assert _explore._rows(data) == rows


def test_long_tables_are_cut(capsys):
    lab.explore(lambda n: {"x": list(range(n))}, Drawn(), n=(1, 50, 1, 30))
    assert "The first 12 of 30 rows" in capsys.readouterr().out


NOTEBOOK = (
    "from course_lib import lab, plotting\n"
    "from course_lib.lab import _explore\n"
    "def compute(n):\n"
    "    return {'n': n}\n"
    "def draw(data):\n"
    "    with plotting.figure(alt=f'A bar of {data[\"n\"]}.') as (fig, ax):\n"
    "        ax.bar(['n'], [data['n']])\n"
    "    return fig\n",
    "made = []\n"
    "build = _explore.build\n"
    "_explore.build = lambda *a, **k: made.append(build(*a, **k)) or made[0]\n"
    "lab.explore(compute, draw, n=(1, 9, 1, 4))",
    "made[0].inputs['n'].value = 7",
)


def seconds(cell):
    """How long nbclient may wait for a cell.

    nbclient stands in for the browser's Output widget and answers the kernel on the socket on which
    it waits for the end of the cell. Now and then that answer swallows the wake-up; the end of the
    cell is then found only when this time is over. So it is short where a widget moves.
    """
    return 120 if cell.source == NOTEBOOK[0] else 20


def run(static, monkeypatch):
    monkeypatch.setenv("COURSE_STATIC", "1" if static else "0")
    cells = [nbformat.v4.new_code_cell(text) for text in NOTEBOOK[: 2 if static else 3]]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout_func=seconds, kernel_name="python3").execute()
    return notebook


def test_a_move_replaces_the_figure_in_the_notebook(monkeypatch):
    notebook = run(False, monkeypatch)
    assert "application/vnd.jupyter.widget-view+json" in notebook.cells[1].outputs[0].data
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    shown = [s["state"]["outputs"] for s in states.values() if s["model_name"] == "OutputModel"]
    assert [[one["data"]["text/plain"] for one in outputs] for outputs in shown] == [
        ["A bar of 7."]
    ]


def test_static_in_a_notebook_shows_figure_and_table_without_widgets(monkeypatch):
    notebook = run(True, monkeypatch)
    outputs = notebook.cells[1].outputs
    kinds = [sorted(one.get("data", {"text": 0})) for one in outputs]
    assert kinds == [["text/html", "text/plain"], ["text"], ["text/html", "text/plain"]]
    assert outputs[0].data["text/plain"] == "A bar of 4."
    assert "widgets" not in notebook.metadata


def test_a_figure_function_is_pure_outside_a_notebook(capsys):
    with plotting.figure(alt="A bar.") as (fig, ax):
        ax.bar(["n"], [1])
    assert fig.axes == [ax]
    assert capsys.readouterr().out == ""

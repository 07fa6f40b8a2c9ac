"""Widgets as a thin layer: model function, figure function, sliders.

`compute(**values)` returns data and `draw(data)` shows it through `plotting.figure`. Both are plain
functions that can be tested without a browser. Only what ipywidgets 7.7 and 8.1 share is used.
"""

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from course_lib import _frontend
from course_lib.lab import _display


__all__ = ["explore"]

SLOW = 0.1  # seconds; a slower function waits until the slider is released
TABLE_ROWS = 12

Compute = Callable[..., Any]
Draw = Callable[[Any], Any]


@dataclass
class Panel:
    """The parts of a live widget."""

    box: Any
    inputs: dict[str, Any]
    output: Any


def explore(compute: Compute, draw: Draw, /, **controls: Any) -> None:
    """Show `draw(compute(**values))` with one control per value; moving it replaces the figure.

    A control is `(min, max, step, default)` for a slider, a list for a menu (the first is the
    default), or True or False for a box to tick. `draw` shows its figure itself, through
    `plotting.figure`. Where no one can move a slider (`COURSE_STATIC=1`, no notebook, no
    ipywidgets) the figure of the defaults appears, with a table of the data.
    Raises ValueError for a control of another form, TypeError when `compute` lacks its name.
    """
    values = {name: _default(name, control) for name, control in controls.items()}
    _check_names(compute, values)
    start = time.perf_counter()
    data = compute(**values)
    seconds = time.perf_counter() - start
    if not _frontend.is_live() or find_spec("ipywidgets") is None:
        draw(data)
        _static_table(data, values)
        return
    from IPython.display import display

    panel = build(compute, draw, controls, continuous=seconds < SLOW)
    display(panel.box)
    with panel.output:
        draw(data)


def build(compute: Compute, draw: Draw, controls: Mapping[str, Any], *, continuous: bool) -> Panel:
    """Return the widgets, wired but not displayed."""
    import ipywidgets

    inputs = {name: _widget(name, control, continuous) for name, control in controls.items()}
    output = ipywidgets.Output()
    box = ipywidgets.VBox([ipywidgets.VBox(list(inputs.values())), output])
    panel = Panel(box, inputs, output)
    for widget in inputs.values():
        widget.observe(lambda _: _refresh(compute, draw, panel), names="value")
    return panel


def _refresh(compute: Compute, draw: Draw, panel: Panel) -> None:
    """Replace the figure by that of the present values, or by the error in words."""
    values = {name: widget.value for name, widget in panel.inputs.items()}
    with panel.output:
        if _frontend.in_notebook():
            from IPython.display import clear_output

            clear_output(wait=True)
        try:
            draw(compute(**values))
        except Exception as problem:
            at = ", ".join(f"{name}={value}" for name, value in values.items())
            text = f"{type(problem).__name__}: {problem}"
            _display.note(f"This does not work with {at}", text, tone="bad")


def _check_names(compute: Compute, values: Mapping[str, Any]) -> None:
    try:
        inspect.signature(compute).bind(**values)
    except TypeError as problem:
        name = getattr(compute, "__name__", "compute")
        raise TypeError(
            f"{name} does not fit the controls {', '.join(values) or '(none)'}: {problem}."
        ) from problem


def _is_slider(control: Any) -> bool:
    return (
        isinstance(control, tuple)
        and len(control) == 4
        and all(isinstance(part, int | float) and not isinstance(part, bool) for part in control)
    )


def _default(name: str, control: Any) -> Any:
    if isinstance(control, bool):
        return control
    if isinstance(control, list) and control:
        return control[0]
    if _is_slider(control):
        low, high, step, default = control
        if low <= default <= high and step > 0:
            return default
    raise ValueError(
        f"The control {name} is {control!r}. It should be (min, max, step, default) with the "
        "default between min and max, a list of options, or True or False."
    )


def _widget(name: str, control: Any, continuous: bool) -> Any:
    import ipywidgets

    look = {"description": name.replace("_", " "), "style": {"description_width": "initial"}}
    value = _default(name, control)
    if isinstance(control, bool):
        return ipywidgets.Checkbox(value=value, **look)
    if isinstance(control, list):
        return ipywidgets.Dropdown(options=control, value=value, **look)
    low, high, step, _ = control
    whole = all(isinstance(part, int) for part in control)
    kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    return kind(value=value, min=low, max=high, step=step, continuous_update=continuous, **look)


def _static_table(data: Any, values: Mapping[str, Any]) -> None:
    """Show the settings of the static figure, and its data when they are tabular."""
    at = ", ".join(f"{name} = {value}" for name, value in values.items())
    print(f"Shown for {at}. In a live notebook these are controls.")
    rows = _rows(data)
    if rows:
        _display.table(rows[:TABLE_ROWS])
    if len(rows) > TABLE_ROWS:
        print(f"The first {TABLE_ROWS} of {len(rows)} rows.")


def _rows(data: Any) -> list[dict[str, Any]]:
    """Return the rows of a data frame, of columns of equal length, or of named numbers."""
    if hasattr(data, "to_dict") and hasattr(data, "columns"):
        return [{str(k): v for k, v in row.items()} for row in data.to_dict("records")]
    if not isinstance(data, Mapping) or not data:
        return []
    if all(isinstance(value, int | float | str) for value in data.values()):
        return [{"name": str(name), "value": value} for name, value in data.items()]
    lists = {str(k): v.tolist() if hasattr(v, "tolist") else v for k, v in data.items()}
    if not all(isinstance(v, list | tuple) for v in lists.values()):
        return []
    if len({len(v) for v in lists.values()}) != 1:
        return []
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]

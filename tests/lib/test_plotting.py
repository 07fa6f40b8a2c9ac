import base64
import io
import re
import sys

import nbformat
import numpy
import pytest
import torch
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from PIL import Image

from course_lib import plotting


ALT = 'Bars: "kept" bytes < those of the <plain> network & its head.'
CELLS = (
    "from course_lib import plotting",
    f"with plotting.figure(alt={ALT!r}) as (fig, ax):\n    ax.bar(['a', 'b'], [1, 2])",
)


def luminance(color):
    rgb = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


@pytest.fixture(scope="module")
def notebook():
    cells = [nbformat.v4.new_code_cell(text) for text in CELLS]
    made = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(made, timeout=120, kernel_name="python3").execute()
    return made


def test_notebook_output_carries_the_alt_text_once(notebook):
    (output,) = notebook.cells[1].outputs
    assert set(output.data) == {"text/html", "text/plain"}
    assert output.data["text/plain"] == ALT
    assert len(nbformat.writes(notebook)) < 90_000


def test_nbconvert_writes_the_alt_text(notebook):
    from bs4 import BeautifulSoup

    page, _ = HTMLExporter().from_notebook_node(notebook)
    alts = [image.get("alt") for image in BeautifulSoup(page, "html.parser").find_all("img")]
    assert alts == [ALT]


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_empty_alt_is_refused_before_drawing(alt):
    with (
        pytest.raises(ValueError, match="needs alt text"),
        plotting.figure(alt=alt),
    ):
        pytest.fail("the body must not run")


def test_html_escapes_the_alt_text_and_holds_a_png():
    with plotting.figure(alt="A line.") as (fig, ax):
        ax.plot([0, 1], [1, 0])
    text = plotting.to_html(fig, alt=ALT)
    assert 'alt="Bars: &quot;kept&quot; bytes &lt; those' in text
    data = base64.b64decode(re.search(r"base64,([^\"]+)", text)[1])
    assert Image.open(io.BytesIO(data)).width >= 600


def test_quiet_outside_a_notebook(capsys):
    with plotting.figure(alt="Four panels.", rows=2, cols=2) as (fig, axes):
        axes[1, 1].plot([1, 2])
    assert capsys.readouterr().out == ""
    assert len(fig.axes) == 4


def test_no_figure_stays_open_in_pyplot():
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    plt.close("all")
    with plotting.figure(alt="Empty axes."):
        pass
    assert plt.get_fignums() == []
    plotting.show(plt.figure(), alt="Nothing but a frame.")
    assert plt.get_fignums() == []
    assert "matplotlib.pyplot" in sys.modules


def test_an_error_in_the_body_shows_no_figure():
    with pytest.raises(KeyError), plotting.figure(alt="Never seen."):
        raise KeyError("learner")


def test_pictures_stay_small():
    random = numpy.random.default_rng(0)
    with plotting.figure(alt="Many points.", width=9, height=6) as (fig, ax):
        for _ in range(8):
            ax.scatter(*random.normal(size=(2, 400)), alpha=0.6)
    assert len(plotting.to_png(fig)) <= plotting.SIZE_LIMIT


def test_style_keeps_text_legible_and_lines_apart_in_grey():
    with plotting.figure(alt="Eight lines.") as (fig, ax):
        lines = [ax.plot([0, 1], [i, i])[0] for i in range(8)]
        ax.set_title("Title")
        ax.set_xlabel("x")
    texts = [ax.title, ax.xaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels()]
    assert min(text.get_fontsize() for text in texts) >= 9
    assert len({(line.get_color()) for line in lines}) == 8
    assert len({str(line._dash_pattern) for line in lines}) == 8
    assert fig.dpi > 0


def test_first_colors_differ_in_grey_and_every_list_is_as_long():
    grey = [luminance(color) for color in plotting.PALETTE[:2]]
    assert abs(grey[0] - grey[1]) > 0.2
    lengths = {
        len(one)
        for one in (plotting.PALETTE, plotting.HATCHES, plotting.LINESTYLES, plotting.MARKERS)
    }
    assert lengths == {8}
    assert len(set(plotting.HATCHES)) == len(set(plotting.MARKERS)) == 8


def test_style_does_not_leak():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with plotting.figure(alt="Empty axes."):
        pass
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("channels", [1, 3])
def test_thumbnails_show_every_picture_under_its_title(channels, monkeypatch):
    shown = []
    monkeypatch.setattr(plotting, "show", lambda fig, alt: shown.append((fig, alt)))
    images = torch.randint(256, (10, channels, 16, 16), dtype=torch.uint8)
    titles = [f"picture {i} of a long row" for i in range(10)]
    assert plotting.thumbnails(images, titles, alt="Ten noisy squares.", cols=4) is None
    ((fig, alt),) = shown
    assert alt == "Ten noisy squares."
    assert len(fig.axes) == 12
    assert sum(bool(ax.images) for ax in fig.axes) == 10
    assert all(len(ax.get_title()) <= 14 for ax in fig.axes)
    drawn = numpy.asarray(fig.axes[3].images[0].get_array())
    expected = images[3].permute(1, 2, 0).numpy().squeeze()
    assert (drawn == expected).all()
    assert len(plotting.to_png(fig)) <= plotting.SIZE_LIMIT


@pytest.mark.parametrize(
    ("shape", "titles", "message"),
    [
        ((0, 3, 4, 4), None, "no picture"),
        ((2, 2, 4, 4), None, "1 or 3 channels"),
        ((2, 3, 4, 4), ["one"], "2 pictures but 1 titles"),
    ],
)
def test_thumbnails_refuse_bad_input(shape, titles, message):
    images = torch.zeros(shape, dtype=torch.uint8)
    with pytest.raises(ValueError, match=message):
        plotting.thumbnails(images, titles, alt="Squares.")

"""What shows our output: a notebook, a terminal, or a file."""

import os
import sys


def in_notebook() -> bool:
    """Tell whether this code runs inside a notebook kernel (JupyterLab, Colab, VS Code)."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def is_live() -> bool:
    """Tell whether a person can move a slider here.

    `COURSE_STATIC=1` says no: outputs are being made for a file, as when notebooks are built.
    """
    return in_notebook() and os.environ.get("COURSE_STATIC") != "1"


def is_watched() -> bool:
    """Tell whether a person sees a progress bar move: in a live notebook, or in a terminal."""
    return is_live() or (not in_notebook() and sys.stderr.isatty())


def show(html: str, text: str) -> None:
    """Show `html` in a notebook, with `text` for viewers without HTML; elsewhere print `text`."""
    if in_notebook():
        from IPython.display import display

        display({"text/html": html, "text/plain": text}, raw=True)
    else:
        print(text)

"""Colab, in shape: its widgets and its IPython, our wheel beside the notebook, no checkout."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import nbformat
import pytest
from house import ROOT
from journey.places import borrow, pip_install
from labs.play import environment
from nbmake.nb_run import NotebookRun

from course_lib.lab import colab
from course_lib.lab.build import lab_environment, watch_children


LAB = "10_mobiletl"
# What Colab brings, and the small packages that its IPython needs and a newer one does not.
COLAB = ("ipywidgets==7.7.1", "ipython==7.34.0", "ipykernel==6.17.1")
NEEDS = ("backcall==0.2.0", "decorator==5.1.1", "ipython_genutils==0.2.0", "pickleshare==0.7.5")
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def colab_python() -> Path:
    """The Python of an environment with Colab's front end, kept in `build/` between runs."""
    if os.name == "nt":
        pytest.skip("Colab is Linux; this environment is laid out as there")
    mark = hashlib.sha256(repr((COLAB, NEEDS, sys.version, sys.prefix)).encode()).hexdigest()[:12]
    folder = ROOT / "build" / f"colab-{mark}"
    python = folder / "bin" / "python"
    if not (folder / "ready").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        borrow(folder)
        if problem := pip_install(python, [*COLAB, *NEEDS]):
            pytest.skip(f"pip cannot reach a package index: {problem}")
        own = _own_packages(folder)
        (own / "google" / "colab").mkdir(parents=True)
        (own / "google" / "colab" / "__init__.py").write_text('"""Stands in for Colab."""\n')
        (own / "colab.pth").write_text("import google.colab\n")
        (folder / "ready").touch()
    for left in _own_packages(folder).glob("*"):  # our package, from an earlier run
        if left.name.startswith(("course_lib", "small_memory")):
            shutil.rmtree(left)
    return python


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Our package as a person uploads it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", folder, ROOT]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode and "hatchling" in made.stderr:
        pytest.skip("pip cannot reach a package index for hatchling, which builds our wheel")
    assert made.returncode == 0, made.stderr
    return next(folder.glob("*.whl"))


def _own_packages(folder: Path) -> Path:
    return Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))


def ask(python: Path, code: str, cwd: Path) -> str:
    """What a short program prints, with this Python, in this folder."""
    made = subprocess.run([python, "-c", code], cwd=cwd, capture_output=True, text=True)
    return made.stdout.strip() if made.returncode == 0 else made.stderr.strip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.lab10
def test_lab_10_runs_as_on_colab(colab_python, wheel, tmp_path):
    versions = "import ipywidgets, IPython; print(ipywidgets.__version__, IPython.__version__)"
    assert ask(colab_python, versions, tmp_path) == "7.7.1 7.34.0"
    where = "import course_lib.lab; print(course_lib.lab.__file__)"
    assert "No module named 'course_lib" in ask(colab_python, where, tmp_path)

    home, kept = tmp_path / "content", tmp_path / "kept"
    home.mkdir()
    kept.mkdir()
    shutil.copy(wheel, home)
    notebook = _without_address(ROOT / "notebooks" / f"{LAB}.ipynb")
    nbformat.write(notebook, home / f"{LAB}.ipynb")
    _offer_kernel(colab_python, tmp_path / "jupyter")

    values = lab_environment(kept) | {"JUPYTER_PATH": str(tmp_path / "jupyter")}
    del values["COURSE_STATIC"]  # on Colab widgets are alive
    with environment(values), watch_children() as watch:
        result = NotebookRun(home / f"{LAB}.ipynb", default_timeout=600, kernel="colab").execute()
    print(f"{LAB}, as on Colab: {watch.seconds:.0f} s, peak {watch.peak / 2**30:.2f} GiB")
    assert result.error is None, result.error.trace

    outputs = [o for cell in result.nb.cells for o in cell.get("outputs", ())]
    assert any(WIDGET in output.get("data", {}) for output in outputs), "no widget was made"
    installed = ask(colab_python, where, tmp_path)
    assert Path(installed).is_relative_to(colab_python.parent.parent), installed
    book = json.loads((kept / "progress.json").read_text())
    assert sum(entry["points"] for entry in book["exercises"].values()) == 0


def _without_address(path: Path):
    """The notebook, installing from the wheel beside it even when a public address is set."""
    notebook = nbformat.read(path, as_version=4)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.source == colab.cell(project, path.stem)
    project["project"].pop("urls", None)
    first.source = colab.cell(project, path.stem)
    return notebook


def _offer_kernel(python: Path, folder: Path) -> None:
    """Describe the environment's kernel where Jupyter looks for it."""
    spec = {
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Colab",
        "language": "python",
    }
    (folder / "kernels" / "colab").mkdir(parents=True)
    (folder / "kernels" / "colab" / "kernel.json").write_text(json.dumps(spec))

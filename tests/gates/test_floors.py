"""A floor of course_lib imports only from the floors below it."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest
from house import ROOT, assert_none, at, library_files, parse


GROUND = {"_paths", "_files", "_weights", "_frontend"}  # everyone may stand on these
FLOOR_0 = {"measure", "assets", "training", "sweep", "plotting"}
SHARED = {"lean", "llm"}  # what several techniques need; a landing between floors 0 and 1
VERBS = {"__init__", "__main__", "_environment", "_serve", "_bench"}  # the command line, on top
LAB = "lab"


def unit_of(path: Path) -> str:
    """The module or package directly below course_lib that a file belongs to."""
    return path.relative_to(ROOT / "course_lib").parts[0].removesuffix(".py")


def floor_of(unit: str) -> float:
    """-1 ground, 0 tools, 0.5 shared by techniques, 1 techniques, 2 lab, 3 the command line."""
    if unit in GROUND:
        return -1
    if unit in FLOOR_0:
        return 0
    if unit in SHARED:
        return 0.5
    return {LAB: 2}.get(unit, 3 if unit in VERBS else 1)


def imports_of(path: Path) -> list[tuple[str, int, bool]]:
    """`(dotted name below course_lib, line, inside a function)` of each import of ours."""
    found = []
    tree = parse(path)
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                folder = path.relative_to(ROOT).parent.parts
                folder = folder[: len(folder) - node.level + 1]
                base = ".".join([*folder, *([base] if base else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("course_lib."):
                found.append((name.removeprefix("course_lib."), node.lineno, id(node) in inner))
    return found


def broken_rule(unit: str, name: str, lazy: bool) -> str | None:
    """Why `unit` may not import `name`, or None."""
    other, *inside = name.split(".")
    if other == unit or other == "__version__" or unit in VERBS:
        return None
    if floor_of(other) == 3:
        return "imports the command line"
    if floor_of(other) > floor_of(unit):
        return f"floor {floor_of(unit)} imports floor {floor_of(other)}"
    if floor_of(other) == floor_of(unit) == 1:
        return "a technique imports another technique"
    if floor_of(other) == floor_of(unit) == 0.5:
        return "what techniques share stands alone: no such package imports another"
    if floor_of(other) == floor_of(unit) == 0 and not (other == "plotting" and lazy):
        return "floor 0: only plotting may be shared, imported inside a function"
    if any(part.startswith("_") and not part.startswith("__") for part in inside):
        return "imports a private name of another module"
    return None


def test_floors():
    offenders = [
        f"{at(path, line)}: {unit_of(path)} -> {name}: {why}"
        for path in library_files()
        for name, line, lazy in imports_of(path)
        if (why := broken_rule(unit_of(path), name, lazy))
    ]
    assert_none(offenders, "A floor imports only from the floors below it:")


@pytest.mark.parametrize(
    ("unit", "name", "lazy", "allowed"),
    [
        ("mobiletl", "measure.flops", False, True),
        ("mobiletl", "s2a", True, False),
        ("mobiletl", "lab", True, False),
        ("measure", "assets", True, False),
        ("measure", "plotting.figure", True, True),
        ("measure", "plotting.figure", False, False),
        ("assets", "mobiletl", True, False),
        ("mobiletl", "lean.pack_bits", False, True),
        ("mobiletl", "lean._packing", False, False),
        ("measure", "lean", True, False),
        ("assets", "lean", True, False),
        ("measure", "llm", True, False),
        ("llm", "assets.text", False, True),
        ("llm", "lean", True, False),
        ("lean", "mobiletl", True, False),
        ("lab", "mobiletl", False, True),
        ("lab", "mobiletl._masks", False, False),
        ("lab", "_paths.repo_root", False, True),
        ("training", "_environment", True, False),
        ("__main__", "lab.build", True, True),
    ],
)
def test_the_gate_itself(unit, name, lazy, allowed):
    assert (broken_rule(unit, name, lazy) is None) == allowed


def test_nothing_of_the_library_needs_the_tests():
    offenders = [
        at(path, node.lineno)
        for path in library_files()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").split(".")[0] in ("tests", "house")
    ]
    assert_none(offenders, "The library imports from the tests:")


def test_import_is_quick_and_light():
    code = (
        "import time; start = time.perf_counter(); import course_lib; "
        "took = time.perf_counter() - start; import sys; "
        "heavy = {'torch', 'numpy', 'timm', 'matplotlib', 'IPython'} & set(sys.modules); "
        "print(took); print(*sorted(heavy))"
    )
    start = time.perf_counter()
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    whole = time.perf_counter() - start
    took, heavy = made.stdout.split("\n")[:2]
    assert float(took) <= 1.0, f"import course_lib took {took} s (the process {whole:.1f} s)"
    assert heavy == "", f"import course_lib loads {heavy}"

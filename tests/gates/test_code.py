"""Rules for the code of the library."""

import ast
import re
from collections.abc import Iterator

import pytest
from house import assert_none, at, library_files, parse


LONGEST_FILE = 400  # lines
# In pieces, so that this file does not hold the words it looks for.
UNFINISHED = re.compile(
    r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]) + r")\b"
)
BROAD = {"Exception", "BaseException"}


def silent_handlers(tree: ast.AST) -> Iterator[ast.ExceptHandler]:
    """`except:` and `except Exception:` whose body does nothing."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        types = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        broad = any(isinstance(kind, ast.Name) and kind.id in BROAD for kind in types)
        idle = all(
            isinstance(line, ast.Pass | ast.Continue)
            or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
            for line in node.body
        )
        if node.type is None or (broad and idle):
            yield node


def unsafe_loads(tree: ast.AST) -> Iterator[ast.Call]:
    """`torch.load` without `weights_only=True`, and everything that unpickles."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = ast.unparse(node.func.value)
        if owner == "torch" and node.func.attr == "load":
            safe = [key for key in node.keywords if key.arg == "weights_only"]
            if not (
                safe and isinstance(safe[0].value, ast.Constant) and safe[0].value.value is True
            ):
                yield node
        if owner in ("pickle", "dill", "joblib", "cloudpickle") and node.func.attr.startswith(
            "load"
        ):
            yield node


def undocumented(tree: ast.Module) -> Iterator[ast.AST]:
    """Public functions, classes and methods without a docstring."""

    def visit(body: list[ast.stmt]) -> Iterator[ast.AST]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if node.name.startswith("_"):
                    continue
                overload = any("overload" in ast.unparse(d) for d in node.decorator_list)
                if not ast.get_docstring(node) and not overload:
                    yield node
                if isinstance(node, ast.ClassDef):
                    yield from visit(node.body)

    yield from visit(tree.body)


def found_by(search) -> list[str]:
    return [at(path, node.lineno) for path in library_files() for node in search(parse(path))]


def test_no_silent_except():
    assert_none(found_by(silent_handlers), "Name the error and handle it:")


def test_weights_are_never_unpickled():
    assert_none(found_by(unsafe_loads), "Load weights with weights_only=True or from safetensors:")


def test_public_names_have_docstrings():
    assert_none(found_by(undocumented), "A public name needs a docstring:")


def test_modules_have_docstrings():
    missing = [at(path) for path in library_files() if not ast.get_docstring(parse(path))]
    assert_none(missing, "A module says in its first line what it is for:")


def test_nothing_is_left_unfinished():
    offenders = []
    for path in library_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if UNFINISHED.search(line) or re.search(r"\braise NotImplemented", line):
                offenders.append(f"{at(path, number)}: {line.strip()}")
    assert_none(offenders, "Finish it or leave it out:")


def test_files_stay_short():
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in library_files()}
    offenders = [f"{at(path)}: {size}" for path, size in sizes.items() if size > LONGEST_FILE]
    assert_none(offenders, f"One idea per file; above {LONGEST_FILE} lines split it:")


def test_public_faces_are_sorted_and_true():
    offenders = []
    for path in library_files():
        tree = parse(path)
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names = ast.literal_eval(node.value)
                known = {name for inner in ast.walk(tree) for name in _bound(inner)}
                offenders += [f"{at(path)}: {n} is not defined" for n in set(names) - known]
    assert_none(offenders, "`__all__` names what exists:")


def _bound(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).split(".")[0] for alias in node.names]
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return [node.id]
    return []


@pytest.mark.parametrize(
    ("search", "code", "count"),
    [
        (silent_handlers, "try: f()\nexcept: g()", 1),
        (silent_handlers, "try: f()\nexcept Exception: pass", 1),
        (silent_handlers, "try: f()\nexcept (OSError, Exception): ...", 1),
        (silent_handlers, "try: f()\nexcept OSError: pass", 0),
        (silent_handlers, "try: f()\nexcept Exception as e: raise Other from e", 0),
        (unsafe_loads, "torch.load(p)", 1),
        (unsafe_loads, "torch.load(p, weights_only=False)", 1),
        (unsafe_loads, "torch.load(p, weights_only=True)", 0),
        (unsafe_loads, "pickle.loads(b)", 1),
        (unsafe_loads, "json.load(f)", 0),
        (undocumented, "def f(): pass", 1),
        (undocumented, "def _f(): pass", 0),
        (undocumented, "class A:\n '''d'''\n def f(self): pass", 1),
    ],
)
def test_the_gate_itself(search, code, count):
    assert len(list(search(ast.parse(code)))) == count

"""Rules for the tests: each asserts something, each skip says why."""

import ast
from collections.abc import Iterator

import pytest
from house import ROOT, assert_none, at, parse


TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def called(node: ast.Call) -> str:
    """The last part of a called name: `f` of `a.b.f(...)`."""
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def asserts_something(function: ast.AST) -> bool:
    """Tell whether a test holds `assert`, `raises`, `warns`, or calls an `assert_…`/`check_…`."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = called(node)
            if name in ("raises", "warns", "fail") or name.startswith(("assert_", "check_")):
                return True
    return False


def idle_tests(tree: ast.AST) -> Iterator[ast.AST]:
    """Test functions without an assertion."""
    for node in ast.walk(tree):
        named = isinstance(node, FUNCTIONS) and node.name.startswith("test_")
        if named and not asserts_something(node):
            yield node


def silent_skips(tree: ast.AST) -> Iterator[ast.AST]:
    """`skip`, `skipif`, `xfail` without a reason."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for node in calls:
        if called(node) in ("skip", "skipif", "xfail"):
            reasons = [key.value for key in node.keywords if key.arg in ("reason", "msg")]
            reasons += [] if called(node) == "skipif" else node.args[:1]
            if not reasons or ast.unparse(reasons[0]) in ("''", "None"):
                yield node
    complete = {id(node.func) for node in calls}
    bare = ("pytest.mark.skip", "pytest.mark.xfail")
    for node in ast.walk(tree):
        free = isinstance(node, ast.Attribute) and id(node) not in complete
        if free and ast.unparse(node) in bare:
            yield node


def found_by(search) -> list[str]:
    return [at(path, node.lineno) for path in TESTS for node in search(parse(path))]


def test_each_test_asserts_something():
    assert_none(found_by(idle_tests), "A test without an assertion proves nothing:")


def test_each_skip_says_why():
    assert_none(found_by(silent_skips), "A skip needs a reason that a reader can check:")


@pytest.mark.parametrize(
    ("search", "code", "count"),
    [
        (idle_tests, "def test_a(): f()", 1),
        (idle_tests, "def test_a(): assert f()", 0),
        (idle_tests, "def test_a(): torch.testing.assert_close(a, b)", 0),
        (idle_tests, "def test_a():\n with pytest.raises(E): f()", 0),
        (silent_skips, "pytest.skip()", 1),
        (silent_skips, "pytest.skip('no browser here')", 0),
        (silent_skips, "@pytest.mark.skip\ndef test_a(): assert 1", 1),
        (silent_skips, "@pytest.mark.skipif(x)\ndef test_a(): assert 1", 1),
        (silent_skips, "@pytest.mark.skipif(x, reason='no GPU')\ndef test_a(): assert 1", 0),
    ],
)
def test_the_gate_itself(search, code, count):
    assert len(list(search(ast.parse(code)))) == count

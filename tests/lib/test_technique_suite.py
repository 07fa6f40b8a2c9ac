"""Every technique passes the shared suite, and no autograd.Function escapes it."""

import ast

import pytest
import torch
from house import library_files, parse
from lib import technique_suite as suite
from lib.technique_suite import CASES, Case


EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
CHECKS = [
    suite.check_gradients_only_where_promised,
    suite.check_frozen_stay_frozen,
    suite.check_everything_kept_is_visible,
    suite.check_eval_forward_is_unchanged,
    suite.check_state_dict_round_trip,
    suite.check_seeds_give_the_same_numbers,
]


@EVERY_CASE
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_case_passes(case: Case, check):
    check(case)
    assert case.name


@pytest.mark.parametrize(
    ("case", "dtype"),
    [(case, dtype) for case in CASES for dtype in case.dtypes],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_dtype_is_kept(case: Case, dtype: torch.dtype):
    suite.check_dtype_is_kept(case, dtype)
    assert dtype in case.dtypes


@pytest.mark.parametrize(
    ("wrong", "call"),
    [(f"{case.name}: {wrong}", call) for case in CASES for wrong, call in case.bad.items()],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_refused_in_words(wrong: str, call):
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+") as error:
        call()
    assert len(str(error.value)) > 20, wrong


@pytest.mark.parametrize(
    ("function", "prepare"),
    [(f, prepare) for case in CASES for f, prepare in case.functions.items()],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_function_saves_visibly(function, prepare):
    suite.check_function_saves_visibly(function, prepare)
    assert issubclass(function, torch.autograd.Function)


def functions_of_the_library() -> set[str]:
    """Names of the classes in course_lib that derive from an autograd Function."""
    return {
        node.name
        for path in library_files()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).split(".")[-1] == "Function" for base in node.bases)
    }


def test_every_function_of_the_library_is_in_the_suite():
    registered = {function.__name__ for case in CASES for function in case.functions}
    assert functions_of_the_library() == registered


class Hides(torch.autograd.Function):
    """Keeps a tensor where no hook looks: the suite must notice."""

    @staticmethod
    def forward(ctx, x):
        ctx.kept = x * 2
        return x * 1

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.kept


def test_the_suite_notices_a_hidden_tensor():
    def prepare():
        x = torch.randn(3, requires_grad=True)
        return lambda: Hides.apply(x)

    with pytest.raises(AssertionError):
        suite.check_function_saves_visibly(Hides, prepare)

import types

import pytest
import torch
from lab_home import home  # noqa: F401
from torch import nn

from course_lib import lab
from course_lib.lab import exercise as framework
from course_lib.lab import progress
from course_lib.lab.exercise import (
    Wrong,
    exercise,
    generator,
    grade,
    same_number,
    same_tensor,
)


HINTS = ("Think of x + x.", "Multiply.", "return 2 * x")


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    monkeypatch.setattr(framework, "_registry", {})


@pytest.fixture
def double():
    @exercise("98.double", points=2, difficulty=1, minutes=3, hints=HINTS)
    def double(answer):
        x = torch.randn(3, 2, generator=generator())
        same_tensor(answer(x), 2 * x, "my_double(x)", tol=1e-6)

    return double


def stub(x):
    """Twice x. TODO: write it."""
    ...


def stub_pass(x):
    pass


class StubLayer(nn.Module):
    def forward(self, x): ...


@pytest.mark.parametrize("answer", [None, ..., stub, stub_pass, StubLayer])
def test_untouched_answers_are_not_attempted_and_earn_nothing(double, answer, home):  # noqa: F811
    result = double(answer)
    assert not result.attempted
    assert not result.passed
    assert 'lab.hint("98.double", 1)' in result.message
    assert result.points == 0
    assert not (home / "progress.json").exists()


def test_a_forgotten_return_is_named(double):
    def my_double(x):
        y = 2 * x  # noqa: F841

    result = double(my_double)
    assert not result.attempted
    assert "my_double returns None" in result.message
    assert "`return`" in result.message


@pytest.mark.parametrize("answer", [lambda x: x + x, torch.nn.Identity().__class__])
def test_only_right_answers_pass(double, answer):
    result = double(answer)
    assert result.passed is (not isinstance(answer, type))


def test_points_are_kept_and_never_fall(double):
    assert double(lambda x: 2 * x).points == 2
    assert double(stub).points == 0
    assert not double(lambda x: 3 * x).passed
    assert progress.load()["exercises"]["98.double"]["points"] == 2


def test_a_wrong_answer_can_be_repeated_with_its_seed(double):
    first = double(lambda x: 3 * x)
    assert first.attempted
    assert "largest difference" in first.message
    seed = int(first.message.split("seed=")[1].split(")")[0])
    assert double(lambda x: 3 * x, seed=seed).message == first.message
    assert double(lambda x: 3 * x, seed=seed + 1).message != first.message


def test_cases_are_fresh_in_each_call(double):
    seen = []
    double(lambda x: seen.append(x) or 2 * x)
    double(lambda x: seen.append(x) or 2 * x)
    assert not torch.equal(seen[0], seen[1])


def test_an_error_in_the_learners_code_is_shown_with_its_line(double):
    def my_double(x):
        return x @ x

    result = double(my_double)
    assert result.attempted
    assert "Your code raised RuntimeError" in result.message
    assert "return x @ x" in result.message
    assert "shapes" in result.message


def test_an_error_in_a_helper_of_the_learner_names_the_deepest_line(double):
    def helper(x):
        return missing_name * x  # noqa: F821

    def my_double(x):
        return helper(x)

    message = double(my_double).message
    assert "NameError" in message
    assert "return missing_name * x" in message


def test_a_wrong_kind_of_answer_is_explained(double):
    result = double(3)
    assert result.attempted
    assert "could not use your answer: TypeError" in result.message


def test_keyboard_interrupt_passes_through(double):
    def stop(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        double(stop)


def test_the_learners_data_are_never_changed():
    @exercise("98.list", points=1, difficulty=1, minutes=1, hints=HINTS)
    def check(answer):
        answer["a"].add_(1)
        answer["b"].append(2)

    mine = {"a": torch.zeros(2), "b": [1]}
    assert check(mine).passed
    assert torch.equal(mine["a"], torch.zeros(2))
    assert mine["b"] == [1]


def test_functions_that_change_their_argument_may_return_nothing():
    @exercise("98.freeze", points=1, difficulty=1, minutes=1, hints=HINTS, returns=False)
    def freeze(answer):
        model = nn.Linear(2, 2)
        answer(model)
        if any(p.requires_grad for p in model.parameters()):
            raise Wrong("A parameter still requires a gradient: set requires_grad to False.")

    def right(model):
        for p in model.parameters():
            p.requires_grad = False

    def wrong(model):
        model.eval()

    assert freeze(right).passed
    assert "still requires" in freeze(wrong).message
    assert not freeze(stub).attempted


def test_results_show_in_both_forms(double):
    passed, wrong, open_ = double(lambda x: 2 * x), double(lambda x: x + 1), double(stub)
    assert repr(passed).startswith("98.double: passed, 2 points")
    assert repr(wrong).startswith("98.double: not right yet")
    assert repr(open_).startswith("98.double: not attempted yet")
    for result in (passed, wrong, open_):
        assert repr(result).splitlines()[0] in result._repr_html_()
    assert "<script>" not in framework.Result("1", False, True, "<script>", 0, 1)._repr_html_()


def test_hints_come_one_by_one_and_end_at_the_solutions(double, capsys):
    lab.hint("98.double", 1)
    first = capsys.readouterr().out
    assert HINTS[0] in first
    assert 'lab.hint("98.double", 2)' in first
    lab.hint("98.double", 3)
    assert "notebooks/solutions/98_" in capsys.readouterr().out
    with pytest.raises(ValueError, match="1, 2 or 3, not 4"):
        lab.hint("98.double", 4)


def test_unknown_exercises_are_answered_with_the_known_ones(double):
    with pytest.raises(ValueError, match="Lab 98 has: 98.double"):
        lab.hint("98.dubble")
    with pytest.raises(ValueError, match="Lab 97 has: none"):
        lab.hint("97.any")
    with pytest.raises(ValueError, match="an id looks like"):
        lab.hint("double")


def test_exercises_lists_what_a_learner_wants_to_know(double):
    rows = lab.exercises("98_nothing")
    assert rows == [{"id": "98.double", "points": 2, "difficulty": 1, "minutes": 3}]
    assert "98.double" in repr(rows)
    assert "<table>" in rows._repr_html_()


def test_grade_a_function_a_mapping_and_a_module(double, home):  # noqa: F811
    def my_double(x):
        return x * 2

    module = types.ModuleType("answers")
    module.my_double = my_double
    for answers in (my_double, {"my_double": my_double}, module):
        (result,) = grade(answers)
        assert result.passed
    assert not grade({}, lab="98_nothing")[0].attempted
    assert not (home / "progress.json").exists()
    with pytest.raises(ValueError, match="asks for an object named 'stub'"):
        grade(stub)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": 0}, "at least 1"),
        ({"difficulty": 6}, "from 1 to 5"),
        ({"hints": ("one", "two")}, "3 hints"),
        ({"hints": ("one", "two", " ")}, "3 hints"),
        ({"id": "double"}, "an id looks like"),
    ],
)
def test_malformed_exercises_are_refused(change, message):
    given = {"id": "98.x", "points": 1, "difficulty": 1, "minutes": 1, "hints": HINTS, **change}
    with pytest.raises(ValueError, match=message):
        exercise(given.pop("id"), **given)(lambda answer: None)


def test_one_id_belongs_to_one_check(double):
    with pytest.raises(ValueError, match=r"98.double is already"):

        @exercise("98.double", points=1, difficulty=1, minutes=1, hints=HINTS)
        def other(answer): ...


def test_generator_outside_a_check():
    with pytest.raises(RuntimeError, match="inside a check"):
        generator()


@pytest.mark.parametrize("got", [3, 3.0, torch.tensor(3), torch.tensor([3.0]).numpy(), 3.05])
def test_same_number_accepts(got):
    assert same_number(got, 3, "it", tol=0.1) is None


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (6, "it should be 3, but it is 6 .yours is 2 times that"),
        (float("nan"), "it should be 3, but it is nan"),
        (True, "of type bool"),
        ("3", "of type str"),
        (torch.ones(2), r"one number, but it has the shape \(2,\)"),
    ],
)
def test_same_number_refuses(got, message):
    with pytest.raises(Wrong, match=message):
        same_number(got, 3, "it", tol=0.1)


def test_same_tensor_accepts_equal_nan_and_infinity():
    odd = torch.tensor([float("nan"), float("inf"), -1.0])
    assert same_tensor(odd.clone(), odd, "it") is None
    assert same_tensor(torch.empty(0), torch.empty(0), "it") is None


@pytest.mark.parametrize(
    ("got", "message"),
    [
        ([1.0], "should be a tensor, but it is of type list"),
        (torch.zeros(2), r"shape \(2, 2\), but it has \(2,\)"),
        (torch.zeros(2, 2, dtype=torch.float64), "dtype torch.float32"),
        (torch.tensor([[0.0, 0.3], [0, 0]]), r"1 of 4 values wrong.* 0\.3, at index \(0, 1\)"),
        (torch.full((2, 2), float("nan")), "4 of 4 values wrong"),
    ],
)
def test_same_tensor_refuses(got, message):
    with pytest.raises(Wrong, match=message):
        same_tensor(got, torch.zeros(2, 2), "it", tol=0.1)

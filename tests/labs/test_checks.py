"""The checks, tested with right answers, plausible wrong ones, and none."""

from functools import cache
from importlib import import_module

import pytest
from house import NAMES
from labs.answer_sets import answers_of

from course_lib import lab
from course_lib.lab.exercise import Result


EXERCISES = {row["id"]: name for name in NAMES for row in lab.exercises(name)}
RIGHT = {id: answers_of(id[:2])[0].get(id, []) for id in EXERCISES}
WRONG = {id: answers_of(id[:2])[1].get(id, []) for id in EXERCISES}


def a_hole(*arguments):
    """What the learner's notebook holds before the first word is typed."""
    ...  # your code here


STUBS = [None, ..., a_hole]


def places(answers: dict[str, list]) -> list:
    """`(exercise id, place)` of every answer."""
    return [
        pytest.param(id, place, id=f"{id}-{place}")
        for id, some in answers.items()
        for place in range(len(some))
    ]


@cache
def checked(id: str, kind: str, place: int = 0, seed: int = 0) -> Result:
    """What the check of an exercise says to an answer; the progress file stays as it is."""
    number, name = id.split(".")
    check = getattr(import_module(f"course_lib.lab.checks.lab{number}"), name)
    answer = {
        "right": lambda: RIGHT[id][place],
        "wrong": lambda: WRONG[id][place][0],
        "hole": lambda: STUBS[place],
    }[kind]()
    return check.try_out(answer, seed=seed)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("id", "place"), places(RIGHT))
def test_a_right_answer_passes(id, place, seed):
    result = checked(id, "right", place, seed)
    assert result.passed, result.message
    assert result.points == result.out_of


@pytest.mark.parametrize(("id", "place"), places(WRONG))
def test_a_wrong_answer_is_told_what_is_wrong(id, place):
    result = checked(id, "wrong", place)
    assert result.attempted and not result.passed
    assert WRONG[id][place][1] in result.message
    assert result.points == 0


@pytest.mark.parametrize("id", EXERCISES)
def test_each_wrong_answer_has_words_of_its_own(id):
    words = [words for _, words in WRONG[id]]
    messages = [checked(id, "wrong", place).message for place in range(len(words))]
    assert len(set(words)) == len(words), f"{id}: two wrong answers expect the same words"
    for place, expected in enumerate(words):
        others = messages[:place] + messages[place + 1 :]
        assert not any(expected in other for other in others), (
            f"{id}: '{expected}' is also in the message of another wrong answer"
        )


@pytest.mark.parametrize("place", range(len(STUBS)), ids=["None", "Ellipsis", "a hole"])
@pytest.mark.parametrize("id", EXERCISES)
def test_a_hole_is_not_attempted_yet(id, place):
    result = checked(id, "hole", place)
    assert not result.attempted and not result.passed
    assert "not attempted yet" in repr(result)
    assert result.points == 0

"""Each hole of a lab is an exercise: with a check, three hints, and answers that test the check."""

import re

import pytest
from house import NAMES, SOURCES, assert_none, at
from labs.answer_sets import answers_of

from course_lib import lab as labs
from course_lib.lab import build
from course_lib.lab.exercise import HINTS, exercise


each_lab = pytest.mark.parametrize("source", SOURCES, ids=NAMES)
DOCSTRING = ("TODO", "APPROACH", "EXAMPLE")


def holes(lab) -> list[tuple]:
    """`(cell of the hole, ids its check has, the code of what follows)` of each hole."""
    code = [cell for cell in lab.cells if cell.kind == "code" and "solution" not in cell.tags]
    found = []
    for place, cell in enumerate(code):
        if build.solution_lines(cell.source):
            following = code[place + 1].source if place + 1 < len(code) else ""
            ids = [f"{lab.number}.{name}" for name in re.findall(r"\bcheck\.(\w+)\(", following)]
            found.append((cell, ids, "\n".join(later.source for later in code[place + 1 :])))
    return found


@each_lab
def test_each_hole_has_its_check_and_hints(source):
    lab = build.read(source)
    known = {row["id"] for row in labs.exercises(lab.name)}
    offenders, checked = [], set()
    for cell, ids, after in holes(lab):
        where = at(source, cell.line)
        if not ids:
            offenders.append(f"{where}: the next code cell calls no check")
        for id in ids:
            checked.add(id)
            if id not in known:
                offenders.append(f"{where}: {id} is no exercise of course_lib.lab.checks")
            if f'lab.hint("{id}"' not in after:
                offenders.append(f'{where}: no cell after it calls lab.hint("{id}", 1)')
        missing = [word for word in DOCSTRING if word not in cell.source]
        if missing:
            offenders.append(f"{where}: the docstring lacks {', '.join(missing)}")
    offenders += [f"{at(source)}: no hole for the exercise {id}" for id in sorted(known - checked)]
    assert_none(offenders, "Hole, check and hints belong together:")


@each_lab
def test_each_lab_has_exercises(source):
    count = len(holes(build.read(source)))
    fewest = 1 if source.stem.startswith("00") else 2
    assert fewest <= count <= 6, f"{at(source)}: {count} exercises"


@each_lab
def test_each_exercise_has_answers(source):
    right, wrong, _ = answers_of(source.stem[:2])
    offenders = []
    for row in labs.exercises(source.stem):
        id = row["id"]
        if len(right.get(id, ())) < 2:
            offenders.append(f"{id}: give two different right answers")
        if len(wrong.get(id, ())) < 3:
            offenders.append(f"{id}: give three plausible wrong answers")
    known = {row["id"] for row in labs.exercises(source.stem)}
    offenders += [f"{id}: no such exercise" for id in (set(right) | set(wrong)) - known]
    assert_none(offenders, f"tests/labs/answers/lab{source.stem[:2]}.py:")


def test_an_exercise_without_three_hints_is_refused():
    with pytest.raises(ValueError, match=f"give {HINTS} hints"):
        exercise("99.nothing", points=1, difficulty=1, minutes=1, hints=("one", "two"))


@each_lab
def test_each_quiz_question_is_asked_and_answered(source):
    lab = build.read(source)
    asked = {"learner": [], "solution": []}
    for cell in lab.cells:
        for tag in asked:
            if tag in cell.tags:
                asked[tag] += re.findall(r'lab\.quiz\("([\w.]+)"', cell.source)
    fewest = 1 if lab.number == "00" else 3
    questions = [f"{lab.number}.q{n + 1}" for n in range(len(asked["learner"]))]
    assert len(questions) >= fewest, f"{at(source)}: {len(questions)} questions"
    assert asked["learner"] == questions, f"{at(source)}: asks {asked['learner']}"
    assert asked["solution"] == questions, f"{at(source)}: answers {asked['solution']}"

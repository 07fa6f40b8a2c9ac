"""Quiz and reflection.

Questions lie in `quizzes/labNN.toml`, one table per question:

    [q1]
    question = "…"
    answer = "…"            # seal("10.q1", "b"): the letter itself is not in the file
    options = { a = "…", b = "…" }
    explanations = { a = "…", b = "…" }   # one per option
"""

import hashlib
import tomllib
from pathlib import Path
from typing import Any

from course_lib.lab import _display, _names, progress


QUIZZES = Path(__file__).resolve().parent / "quizzes"


def seal(id: str, letter: str) -> str:
    """Return what stands in a quiz file in place of the right letter."""
    return hashlib.sha256(f"small-memory quiz {id} {letter}".encode()).hexdigest()


def quiz(id: str, answer: str | None = None) -> None:
    """Show a question; with a letter as `answer`, say whether it is right and why.

    Raises ValueError for an unknown question or a letter that is no option.
    """
    asked = _question(id)
    options = [f"{letter}) {text}" for letter, text in asked["options"].items()]
    if answer is None:
        _display.note(asked["question"], *options, f'To answer: lab.quiz("{id}", answer="a").')
        return
    letter = answer.strip().lower()
    if letter not in asked["options"]:
        raise ValueError(
            f"'{answer}' is no option; answer with one of: {', '.join(asked['options'])}."
        )
    right = seal(id, letter) == asked["answer"]
    progress.record("quiz", id, {"right": right})
    _display.note(
        asked["question"],
        *options,
        f"Your answer {letter}) is {'right' if right else 'not right'}.",
        asked["explanations"][letter],
        tone="good" if right else "bad",
    )


def reflect(id: str, text: str = "") -> None:
    """Keep a reflection in the learner's own words; an empty one says how to write it."""
    _names.check_id(id, '"10.reflection"')
    if text.strip():
        progress.record("reflections", id, {"text": text.strip()})
        _display.note("Reflection kept", text.strip())
        return
    earlier = progress.load()["reflections"].get(id)
    if earlier:
        _display.note("Your reflection from an earlier run", earlier["text"])
    else:
        _display.note("Nothing written yet: two sentences between the quotes are enough.")


def read_quiz(file: Path) -> dict[str, dict[str, Any]]:
    """Return the questions of a file by name; raise ValueError that names a wrong one."""
    questions = tomllib.loads(file.read_text(encoding="utf-8"))
    for name, entry in questions.items():
        where = f"{file.name}: [{name}]"
        if missing := {"question", "answer", "options", "explanations"} - entry.keys():
            raise ValueError(f"{where} lacks {', '.join(sorted(missing))}.")
        if entry["options"].keys() != entry["explanations"].keys():
            raise ValueError(f"{where} needs one explanation per option.")
        id = f"{file.stem[-2:]}.{name}"
        if entry["answer"] not in {seal(id, letter) for letter in entry["options"]}:
            raise ValueError(f'{where}: answer is not seal("{id}", letter) for any option.')
    return questions


def _question(id: str) -> dict[str, Any]:
    number, name = _names.check_id(id, '"10.q1"').split(".")
    file = QUIZZES / f"lab{number}.toml"
    if not file.is_file():
        raise ValueError(f"Lab {number} has no quiz.")
    questions = read_quiz(file)
    if name not in questions:
        raise ValueError(f"There is no question '{id}'. Lab {number} has: {', '.join(questions)}.")
    return questions[name]

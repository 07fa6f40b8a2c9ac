"""What only notebooks need: scale, checks, predictions, claims, scoreboard, quiz, widgets, doctor.

    from course_lib import lab
    lab.start("10_mobiletl")

Importing this loads only the standard library.
"""

from course_lib.lab import progress
from course_lib.lab._explore import explore
from course_lib.lab._predict import predict, recall
from course_lib.lab._quiz import quiz, reflect
from course_lib.lab._scale import scale, settings
from course_lib.lab._scoreboard import scoreboard
from course_lib.lab._start import start
from course_lib.lab.claims import claim, gather_claims
from course_lib.lab.doctor import doctor
from course_lib.lab.exercise import exercises, grade, hint


__all__ = [
    "claim",
    "doctor",
    "exercises",
    "explore",
    "gather_claims",
    "grade",
    "hint",
    "predict",
    "progress",
    "quiz",
    "recall",
    "reflect",
    "scale",
    "scoreboard",
    "settings",
    "start",
]

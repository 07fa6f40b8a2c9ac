"""The figures of lab 70: slabs, graphs, relaxations, learning, volcanoes, and its widget."""

from course_lib.lab.figures70_energies import against_pbe, volcano
from course_lib.lab.figures70_learning import filters, learning_curve, parity
from course_lib.lab.figures70_relax import driven, relaxation
from course_lib.lab.figures70_slabs import graph_view, slab_views
from course_lib.lab.figures70_widget import compute_choice, draw_choice


__all__ = [
    "against_pbe",
    "compute_choice",
    "draw_choice",
    "driven",
    "filters",
    "graph_view",
    "learning_curve",
    "parity",
    "relaxation",
    "slab_views",
    "volcano",
]

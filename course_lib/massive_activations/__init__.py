"""Massive activations: find them, watch them grow, fit the law of their growth, doubt the fit."""

from course_lib.massive_activations._architectures import (
    FEATURES,
    PYTHIA,
    Architecture,
    block_table,
)
from course_lib.massive_activations._compare import compare_recipes
from course_lib.massive_activations._criterion import is_massive
from course_lib.massive_activations._curves import RandomCurve, random_curves
from course_lib.massive_activations._families import FAMILIES, compare_families, fit_family
from course_lib.massive_activations._fit_curve import FitFailed, fit_curve
from course_lib.massive_activations._fit_varpro import fit_varpro
from course_lib.massive_activations._forms import Eq14, jacobian14, law14, to_eq9, to_eq14
from course_lib.massive_activations._identifiability import profile, recovery, twin
from course_lib.massive_activations._law import Eq9, derivative, jacobian, law
from course_lib.massive_activations._null import initial_ratio
from course_lib.massive_activations._paper_tables import headline, paper_tables
from course_lib.massive_activations._peak import peak_time, peak_value
from course_lib.massive_activations._predict import leak_demo, leak_target, prediction_scores
from course_lib.massive_activations._probe import Extremes, extremes, probe
from course_lib.massive_activations._release import (
    load_release,
    mean_ratios,
    parse_stats,
    read_excerpt,
    stats_table,
)
from course_lib.massive_activations._revisions import revision_run
from course_lib.massive_activations._score import Fit, aic, r_squared
from course_lib.massive_activations._shape_class import landmarks, shape_class


__all__ = [
    "FAMILIES",
    "FEATURES",
    "PYTHIA",
    "Architecture",
    "Eq9",
    "Eq14",
    "Extremes",
    "Fit",
    "FitFailed",
    "RandomCurve",
    "aic",
    "block_table",
    "compare_families",
    "compare_recipes",
    "derivative",
    "extremes",
    "fit_curve",
    "fit_family",
    "fit_varpro",
    "headline",
    "initial_ratio",
    "is_massive",
    "jacobian",
    "jacobian14",
    "landmarks",
    "law",
    "law14",
    "leak_demo",
    "leak_target",
    "load_release",
    "mean_ratios",
    "paper_tables",
    "parse_stats",
    "peak_time",
    "peak_value",
    "prediction_scores",
    "probe",
    "profile",
    "r_squared",
    "random_curves",
    "read_excerpt",
    "recovery",
    "revision_run",
    "shape_class",
    "stats_table",
    "to_eq9",
    "to_eq14",
    "twin",
]

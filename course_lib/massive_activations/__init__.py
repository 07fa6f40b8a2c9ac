"""Massive activations: find them, watch them grow, fit the law of their growth, doubt the fit."""

from course_lib.massive_activations._fit_varpro import fit_varpro
from course_lib.massive_activations._forms import Eq14, jacobian14, law14, to_eq9, to_eq14
from course_lib.massive_activations._law import Eq9, derivative, jacobian, law
from course_lib.massive_activations._peak import peak_time, peak_value
from course_lib.massive_activations._score import Fit, aic, r_squared


__all__ = [
    "Eq9",
    "Eq14",
    "Fit",
    "aic",
    "derivative",
    "fit_varpro",
    "jacobian",
    "jacobian14",
    "law",
    "law14",
    "peak_time",
    "peak_value",
    "r_squared",
    "to_eq9",
    "to_eq14",
]

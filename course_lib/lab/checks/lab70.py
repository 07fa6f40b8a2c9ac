"""Checks of lab 70: an adsorption energy, neighbors, a convolution, an overpotential, a leak."""

from course_lib.lab.checks._lab70_energies import adsorption_energy, overpotential
from course_lib.lab.checks._lab70_graphs import cfconv, neighbors
from course_lib.lab.checks._lab70_splits import leakage


__all__ = ["adsorption_energy", "cfconv", "leakage", "neighbors", "overpotential"]

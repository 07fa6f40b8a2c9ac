"""Networks from a graph of atoms to its energy, and forces as the slope of that energy."""

from course_lib.electrocatalyst.models._model import EnergyModel, energy_and_forces
from course_lib.electrocatalyst.models._schnet import SchNet


__all__ = ["EnergyModel", "SchNet", "energy_and_forces"]

"""Networks from a graph of atoms to its energy, and forces as the slope of that energy."""

from course_lib.electrocatalyst.models._cgcnn import CGCNN
from course_lib.electrocatalyst.models._checkpoint import load_model, model_facts, save_model
from course_lib.electrocatalyst.models._elements import element_bits
from course_lib.electrocatalyst.models._model import EnergyModel, energy_and_forces
from course_lib.electrocatalyst.models._schnet import SchNet, cfconv


__all__ = [
    "CGCNN",
    "EnergyModel",
    "SchNet",
    "cfconv",
    "element_bits",
    "energy_and_forces",
    "load_model",
    "model_facts",
    "save_model",
]

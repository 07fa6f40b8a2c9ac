"""Energies that can be compared: references, free energies, ladders, volcanoes, their errors."""

from course_lib.electrocatalyst.energetics._adsorbates import (
    OC20_ADSORBATES,
    Adsorbate,
    adsorbates,
)
from course_lib.electrocatalyst.energetics._conversion import (
    ATOMIZATION,
    REFERENCES,
    WATER,
    WATER_FORMATION,
    convert,
)
from course_lib.electrocatalyst.energetics._free_energy import CORRECTIONS, at_potential, delta_g
from course_lib.electrocatalyst.energetics._ladder import (
    EQUILIBRIUM,
    STEPS,
    WATER_SPLITTING,
    levels,
    limiting_step,
    overpotential,
    steps,
)
from course_lib.electrocatalyst.energetics._pbe import (
    Agreement,
    Transfer,
    compare,
    pbe_adsorption,
    transfer_offset,
)
from course_lib.electrocatalyst.energetics._reactions import (
    MOLECULES,
    adsorption_energy,
    gas_energy,
    reaction,
    references,
)
from course_lib.electrocatalyst.energetics._scaling import (
    OOH_OVER_OH,
    Line,
    best_overpotential,
    scaling,
)
from course_lib.electrocatalyst.energetics._uncertainty import Draws, draw_top, top_probability
from course_lib.electrocatalyst.energetics._volcano import (
    band,
    barrier,
    log10_exchange_current,
    log10_sabatier_rate,
    sabatier_peak,
)


__all__ = [
    "ATOMIZATION",
    "CORRECTIONS",
    "EQUILIBRIUM",
    "MOLECULES",
    "OC20_ADSORBATES",
    "OOH_OVER_OH",
    "REFERENCES",
    "STEPS",
    "WATER",
    "WATER_FORMATION",
    "WATER_SPLITTING",
    "Adsorbate",
    "Agreement",
    "Draws",
    "Line",
    "Transfer",
    "adsorbates",
    "adsorption_energy",
    "at_potential",
    "band",
    "barrier",
    "best_overpotential",
    "compare",
    "convert",
    "delta_g",
    "draw_top",
    "gas_energy",
    "levels",
    "limiting_step",
    "log10_exchange_current",
    "log10_sabatier_rate",
    "overpotential",
    "pbe_adsorption",
    "reaction",
    "references",
    "sabatier_peak",
    "scaling",
    "steps",
    "top_probability",
    "transfer_offset",
]

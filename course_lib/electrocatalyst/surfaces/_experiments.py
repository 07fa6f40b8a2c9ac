"""The runs behind the data set: one clean slab, and what is put on it."""

from functools import lru_cache
from typing import Any

import numpy as np

from course_lib.electrocatalyst.surfaces._energy import adsorption_energy, reference_energies
from course_lib.electrocatalyst.surfaces._format import frame_text, sample_text
from course_lib.electrocatalyst.surfaces._place import place, sites
from course_lib.electrocatalyst.surfaces._potential import potential
from course_lib.electrocatalyst.surfaces._relax import Relaxation, relax
from course_lib.electrocatalyst.surfaces._sample import Frame, Sample
from course_lib.electrocatalyst.surfaces._slab import METALS, slab


SEED = 70
EMT_ADSORBATES = ("H", "C", "N", "O")
SPREAD = 0.1  # angstrom, standard deviation per axis of the adsorbate's random displacement
FRAMES = 8  # of one relaxation, at most, evenly from its first step to its last
CHGNET_SITES = ("fcc", "hcp", "bridge", "ontop")


def emt_samples(
    metals: list[str], facet: str, repeat: int, share: float, samples: int, kept: int
) -> list[dict[str, Any]]:
    """Relax one EMT slab, then `samples` adsorbates on it; return one row per sample.

    The adsorbates take turns; site, copy and displacement are drawn. `kept`: the sample whose
    frames are kept, -1 for none. The seed follows from metals, facet and `repeat`.
    """
    order = [METALS.index(metal) for metal in metals]
    rng = np.random.default_rng([SEED, *order, int(facet), repeat])
    names = metals[0] if len(metals) == 1 else (metals[0], metals[1])
    clean = slab(names, facet, share=share, seed=int(rng.integers(2**31)))
    calculator, system = potential("emt"), f"{''.join(metals)}-{facet}-{repeat:02d}"
    bare = relax(clean, calculator)
    known = sites(clean)
    rows = []
    for number in range(samples):
        adsorbate = EMT_ADSORBATES[number % len(EMT_ADSORBATES)]
        site = str(rng.choice(list(known)))
        atoms = place(clean, adsorbate, site, copy=int(rng.integers(len(known[site]))))
        atoms.positions[len(clean) :] += rng.normal(scale=SPREAD, size=3)
        found = relax(atoms, calculator)
        sample = _sample(
            f"{system}-{number}", system, tuple(metals), facet, site, adsorbate, found, bare, "emt"
        )
        frames = _frames(sample, found) if number == kept else []
        rows.append({"sample": sample_text(sample), "frames": [frame_text(f) for f in frames]})
    return rows


def chgnet_samples(metal: str, adsorbate: str) -> list[dict[str, Any]]:
    """Relax one adsorbate with CHGNet on four sites of fcc(111), 0.25 ML; return one row each."""
    clean = slab(metal, potential="chgnet")
    bare = _bare(metal)
    rows = []
    for site in CHGNET_SITES:
        found = relax(place(clean, adsorbate, site), potential("chgnet"))
        sample = _sample(
            f"{metal}-111-{adsorbate}-{site}",
            f"{metal}-111",
            (metal,),
            "111",
            site,
            adsorbate,
            found,
            bare,
            "chgnet",
        )
        rows.append({"sample": sample_text(sample)})
    return rows


@lru_cache(maxsize=1)
def _bare(metal: str) -> Relaxation:
    return relax(slab(metal, potential="chgnet"), potential("chgnet"))


def _sample(
    name: str,
    system: str,
    metals: tuple[str, ...],
    facet: str,
    site: str,
    adsorbate: str,
    found: Relaxation,
    bare: Relaxation,
    label: str,
) -> Sample:
    return Sample(
        id=name,
        atoms=found.initial,
        relaxed_positions=found.relaxed.positions,
        energy=adsorption_energy(found, bare, adsorbate, reference_energies(label)),
        metals=metals,
        facet=facet,
        site=site,
        adsorbate=adsorbate,
        anomalies=found.anomalies + (() if found.converged else ("not converged",)),
        system=system,
    )


def _frames(sample: Sample, found: Relaxation) -> list[Frame]:
    """Return frames of a relaxation, with the last step's energy at the sample's."""
    last = len(found.energies) - 1
    steps = np.unique(np.linspace(0, last, min(FRAMES, last + 1)).round().astype(int))
    frames = found.frames
    return [
        Frame(
            sample=sample.id,
            system=sample.system,
            step=int(step),
            atoms=frames[step],
            energy=sample.energy + float(found.energies[step]) - found.energy,
            forces=found.forces[step],
        )
        for step in steps
    ]

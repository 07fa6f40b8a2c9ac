"""The widget of lab 70: build a catalyst, relax it, and see what three methods say of it."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from course_lib import plotting
from course_lib.electrocatalyst import energetics
from course_lib.lab.figures70_energies import FACTOR, draw_volcano
from course_lib.lab.figures70_relax import FMAX, largest_forces
from course_lib.lab.figures70_slabs import draw_turned, element_keys


NETWORK = "electrocatalyst_schnet_seed0"
MADE_OF = {"H": "half H2", "N": "half N2", "O": "H2O - H2", "OH": "H2O - half H2"}
LEARNED = ("H", "C", "N", "O")  # adsorbates of the EMT samples
SEED = 0  # of the places that the second metal takes
DRAWS = 2000


def compute_choice(
    metal: str,
    second: str,
    facet: str,
    site: str,
    adsorbate: str,
    sigma: float | int,
    turn: float | int,
) -> dict[str, Any]:
    """Put an adsorbate on a slab of one or two metals, and ask EMT, SchNet and CHGNet for E_ads.

    `second` is a metal or "none"; `sigma` the error of an energy in eV; `turn` in degrees. In the
    result every method has a number in eV, or None and a sentence why. Where the choice itself
    makes no sense, `problem` says so, and the slab stays bare.
    """
    from course_lib.electrocatalyst import surfaces

    pure = second in ("none", metal)
    clean = surfaces.slab(metal if pure else (metal, second), facet, seed=SEED)
    metals = metal if pure else f"{metal}-{second}"
    data: dict[str, Any] = {
        "name": f"{metals}({facet})",
        "turn": float(turn),
        "problem": "",
        "volcano": _volcano(float(sigma)),
        "free energy": None,
        "anomalies": [],
    }
    known = list(surfaces.sites(clean))
    if site not in known:
        data["problem"] = f"A ({facet}) surface has no {site} site: choose {', '.join(known)}."
        return data | {"slab": _plain(clean), "methods": []}
    data["name"] = f"*{adsorbate}, {site} site of {metals}({facet})"
    start = surfaces.place(clean, adsorbate, site)
    learned = adsorbate in LEARNED
    if learned:
        bare, found = (surfaces.relax(one, "emt") for one in (clean, start))
        data["energy"] = (found.energies - found.energies[0]).tolist()
        data["force"] = largest_forces(found).tolist()
        data["anomalies"] = list(found.anomalies)
        references = surfaces.reference_energies("emt")
        emt = surfaces.adsorption_energy(found, bare, adsorbate, references)
        methods = [_said("EMT", emt, f"{len(found.energies) - 1} steps; counted from free atoms")]
        methods.append(_ask_network(start, references[adsorbate]))
    else:
        found = None
        words = f"no data of *{adsorbate}: choose {', '.join(LEARNED)}"
        methods = [_said("EMT", None, words), _said("SchNet", None, words)]
    chgnet, words = _ask_table(metal, pure, facet, site, adsorbate)
    methods.append(_said("CHGNet", chgnet, words))
    if adsorbate == "H" and chgnet is not None:
        data["free energy"] = float(energetics.delta_g(chgnet, "H"))
    shown = found.relaxed if found is not None else start
    return data | {"slab": _plain(shown), "methods": methods}


def _said(method: str, energy: float | None, words: str) -> dict[str, Any]:
    return {"method": method, "energy": None if energy is None else float(energy), "words": words}


def _plain(atoms: Any) -> dict[str, Any]:
    """A structure as lists; `_atoms` makes it one again."""
    from course_lib.electrocatalyst.graphs import fixed_atoms

    return {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "tags": atoms.get_tags().tolist(),
        "fixed": np.flatnonzero(fixed_atoms(atoms)).tolist(),
    }


def _atoms(plain: Mapping[str, Any]) -> Any:
    from ase import Atoms
    from ase.constraints import FixAtoms

    given = {name: plain[name] for name in ("numbers", "positions", "cell", "tags")}
    return Atoms(**given, pbc=True, constraint=FixAtoms(plain["fixed"]))


@lru_cache(maxsize=1)
def _network() -> tuple[Any, frozenset[str]]:
    """The trained network, and the elements that its training showed."""
    from course_lib import assets
    from course_lib.electrocatalyst import models

    file = assets.path(NETWORK)
    return models.load_model(file), frozenset(models.model_facts(file)["elements"])


def _ask_network(start: Any, reference: float) -> dict[str, Any]:
    """SchNet's answer from the initial structure; its labels are not yet counted from atoms."""
    import torch

    from course_lib.electrocatalyst import graphs

    network, seen = _network()
    with torch.no_grad():
        energy = float(network(graphs.graph(start, cutoff=network.config["cutoff"])))
    new = sorted(set(start.get_chemical_symbols()) - seen)
    words = "no step; " + (f"it never saw {', '.join(new)}" if new else "it has seen all elements")
    return _said("SchNet", energy - reference, words)


@lru_cache(maxsize=1)
def _table() -> dict[tuple[str, str, str], float]:
    """CHGNet's energies (eV) by metal, site and adsorbate, without anomalies."""
    from course_lib.electrocatalyst import surfaces

    return {
        (one.metals[0], one.site, one.adsorbate): one.energy
        for one in surfaces.read_samples("chgnet")
        if not one.anomalies
    }


def _ask_table(
    metal: str, pure: bool, facet: str, site: str, adsorbate: str
) -> tuple[float | None, str]:
    if not pure or facet != "111":
        return None, "the course ran it for one metal and (111) only"
    energy = _table().get((metal, site, adsorbate))
    if energy is None:
        return None, f"the course has no run of *{adsorbate} on {metal}, {site}"
    return energy, f"from the table; counted from {MADE_OF[adsorbate]}"


@lru_cache(maxsize=32)
def _volcano(sigma: float) -> dict[str, Any]:
    """The pure metals on the volcano of hydrogen, and how many of them share its top."""
    chosen = {
        metal: energy
        for (metal, site, adsorbate), energy in _table().items()
        if (site, adsorbate) == ("fcc", "H")
    }
    free = energetics.delta_g(np.array(list(chosen.values())), "H")
    width = energetics.band(FACTOR)
    draws = energetics.draw_top(free, sigma, width, draws=DRAWS)
    low, high = np.quantile(draws.count, (0.05, 0.95))
    return {
        "metal": list(chosen),
        "delta_g": free.tolist(),
        "log_i0": energetics.log10_exchange_current(free).tolist(),
        "sigma": sigma,
        "top": int((np.abs(free) <= width).sum()),
        "share": draws.share.tolist(),
        "count": [int(low), int(high)],
    }


def draw_choice(data: Mapping[str, Any]) -> Figure:
    """Draw the slab, its relaxation, what the methods say, and the volcano of hydrogen."""
    lines, top = _lines(data), _top(data["volcano"])
    spoken = " ".join(f"{head} {words}." for head, words in lines)
    alt = f"{data['name']}. {spoken} The volcano of hydrogen by CHGNet: {top}."
    with plotting.figure(alt=alt, width=9.2, height=6.2, rows=2, cols=2) as (fig, axes):
        (slab, steps), (said, volcano) = axes
        atoms = _atoms(data["slab"])
        draw_turned(slab, atoms, data["turn"])
        keys = element_keys(slab, atoms)[:-1]  # without the cell, which is not drawn here
        slab.legend(handles=keys, loc="upper center", bbox_to_anchor=(0.5, 0.03), ncols=5)
        slab.set_title(data["name"], fontsize=10)
        _relaxation(steps, data)
        said.axis("off")
        said.set_title("adsorption energy", fontsize=10)
        for place, (head, words) in enumerate(lines):
            said.text(0.02, 0.93 - 0.2 * place, head, va="top", fontsize=11)
            said.text(0.02, 0.84 - 0.2 * place, words, va="top", fontsize=9, color="0.35")
        _peak(volcano, data)
        volcano.set_title(top, fontsize=10, fontweight="normal")
    return fig


def _lines(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is said beside the slab: pairs of a head and smaller words."""
    if data["problem"]:
        return [("No adsorbate", data["problem"])]
    lines = []
    for one in data["methods"]:
        number = "no number" if one["energy"] is None else f"{one['energy']:+.2f} eV"
        lines.append((f"{one['method']}: {number}", one["words"]))
    if data["free energy"] is not None:
        free = f"Free energy of *H: {data['free energy']:+.2f} eV"
        lines.append((free, "by CHGNet; the star in the volcano"))
    elif data["anomalies"]:
        lines.append((", ".join(data["anomalies"]), "is what became of it in EMT"))
    return lines


def _top(volcano: Mapping[str, Any]) -> str:
    """How many metals are at the top, as computed and with errors, in words."""
    low, high = volcano["count"]
    some = f"{low}" if low == high else f"{low} to {high}"
    errors = f"with errors of {volcano['sigma']:g} eV"
    return f"in the top band {volcano['top']} of {len(volcano['metal'])}; {errors} {some}"


def _relaxation(axes: Any, data: Mapping[str, Any]) -> None:
    """The energy of each step, and in the title where the force came to."""
    axes.set_title("relaxation by EMT", fontsize=10)
    if "energy" not in data:
        axes.axis("off")
        axes.text(0.5, 0.5, "nothing to relax", ha="center", va="center")
        return
    last = data["force"][-1]
    words = "below" if last < FMAX else "still above"
    axes.plot(data["energy"], "-o", markersize=4)
    axes.set(xlabel="step", ylabel="energy [eV]")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlim(-0.3, max(len(data["energy"]) - 0.7, 1))
    axes.set_title(f"relaxation by EMT: force {words} {FMAX:g} eV/Å", fontsize=10)


def _peak(axes: Any, data: Mapping[str, Any]) -> None:
    """The volcano of the pure metals, and the chosen site where CHGNet has a number for it."""
    from matplotlib.lines import Line2D

    volcano = data["volcano"]
    delta, height = (np.array(volcano[name]) for name in ("delta_g", "log_i0"))
    draw_volcano(axes, volcano["metal"], delta, height, volcano["sigma"])
    chosen = data["free energy"]
    if chosen is not None:
        look: Any = dict(marker="*", markersize=15, color=plotting.PALETTE[1], linestyle="none")
        look |= dict(markeredgecolor="black", zorder=5)
        axes.plot(chosen, energetics.log10_exchange_current(chosen), **look)
        star = Line2D([], [], label="your site", **look | dict(markersize=10))
        axes.legend(handles=[star], loc="upper left")

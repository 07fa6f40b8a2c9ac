"""References, free energies, ladders, volcanoes: closed forms, worked numbers, bad input."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.electrocatalyst import energetics as en


pytestmark = pytest.mark.lab70
quick = settings(deadline=None, derandomize=True, max_examples=60)
energy = st.floats(-3.0, 8.0)  # eV
atoms = st.fixed_dictionaries({e: st.integers(0, 4) for e in "CHON"}).filter(
    lambda counts: any(counts.values())
)
total = st.floats(-50.0, -1.0)  # eV, of a molecule
GAS = {"CO": -14.8, "H2": -6.7, "H2O": -14.2, "N2": -16.6}
METALS: tuple[str, ...] = ("Cu", "Ag", "Au", "Pd", "Pt", "Rh", "Ir")
# Relaxed by CHGNet 0.3.0 on fcc(111), fcc site, a quarter of a monolayer; eV, OC20's reference.
RELAXED = {
    "O": (1.421, 2.411, 2.985, 1.909, 2.399, 1.344, 1.678),
    "H": (-0.415, 0.235, 0.245, -0.497, -0.371, -0.783, -0.607),
    "N": (1.107, 2.919, 2.413, 0.832, 0.702, -0.542, -0.052),
}
CHGNET: dict[str, dict[str, float]] = {
    adsorbate: dict(zip(METALS, values, strict=True)) for adsorbate, values in RELAXED.items()
}


# ---- references


def test_reaction_of_known_adsorbates():
    assert en.reaction({"O": 1, "H": 1}) == {"CO": 0, "H2": -0.5, "H2O": 1, "N2": 0}
    assert en.reaction({"C": 1, "H": 4}) == {"CO": 1, "H2": 3, "H2O": -1, "N2": 0}
    assert en.reaction({"N": 2, "H": 1}) == {"CO": 0, "H2": 0.5, "H2O": 0, "N2": 1}


@quick
@given(atoms, st.tuples(total, total, total, total))
def test_two_ways_to_the_gas(counts, energies):
    molecules = dict(zip(en.MOLECULES, energies, strict=True))
    by_molecules = sum(n * molecules[m] for m, n in en.reaction(counts).items())
    by_elements = en.gas_energy(counts, en.references(molecules))
    assert by_elements == pytest.approx(by_molecules, abs=1e-9)


@pytest.mark.parametrize("molecule", en.MOLECULES)
def test_a_reference_molecule_costs_itself(molecule):
    found = en.gas_energy(en.MOLECULES[molecule], en.references(GAS))
    assert found == pytest.approx(GAS[molecule], abs=1e-12)
    unbound = en.adsorption_energy(
        -70 + GAS[molecule], -70.0, en.MOLECULES[molecule], en.references(GAS)
    )
    assert unbound == pytest.approx(0, abs=1e-9)


def test_oxygen_moves_by_the_formation_of_water():
    for water in en.WATER_FORMATION.values():
        moved = en.convert(1.5, {"O": 1}, source="oc20", target="molecule", water=water)
        assert moved - 1.5 == pytest.approx(water, abs=1e-12)
    atom = en.convert(1.5, {"O": 1}, source="oc20", target="atom")
    assert atom == pytest.approx(1.5 + en.WATER_FORMATION["gas enthalpy"] - 2.58, abs=1e-12)
    assert en.WATER_FORMATION["tutorial"] < min(
        value for name, value in en.WATER_FORMATION.items() if name != "tutorial"
    )


def test_conversion_by_energies_of_molecules():
    """The closed form of the shift, from one made-up set of total energies."""
    o2, slab, adslab = -9.8, -70.0, -75.0
    oc20 = en.adsorption_energy(adslab, slab, {"O": 1}, en.references(GAS))
    water = GAS["H2O"] - GAS["H2"] - o2 / 2
    moved = en.convert(oc20, {"O": 1}, source="oc20", target="molecule", water=water)
    assert moved == pytest.approx(adslab - slab - o2 / 2, abs=1e-9)


@quick
@given(
    energy,
    st.sampled_from(en.REFERENCES),
    st.sampled_from(en.REFERENCES),
    st.sampled_from(({"O": 1}, {"H": 1}, {"O": 1, "H": 1}, {"O": 2, "H": 1})),
)
def test_conversion_returns(value, source, target, counts):
    there = en.convert(value, counts, source=source, target=target)
    back = en.convert(there, counts, source=target, target=source)
    assert back == pytest.approx(value, abs=1e-9)


def test_pbe_hydrogen_against_half_a_molecule():
    pbe = en.pbe_adsorption()["H"]
    moved = {m: en.convert(e, {"H": 1}, source="atom", target="oc20") for m, e in pbe.items()}
    known = dict(zip(METALS, (-0.24, 0.18, 0.10, -0.58, -0.48, -0.53, -0.39), strict=True))
    assert moved == pytest.approx(known, abs=0.005)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"S": 1}, "not S"),
        ({"O": 1, "Pt": 1}, "not Pt"),
        ({"O": -1}, "-1 atoms of O"),
        ({"H": 0.5}, "0.5 atoms of H"),
        ({"H": math.nan}, "nan atoms of H"),
        ({"H": 0}, "no atoms"),
        ({}, "no atoms"),
    ],
)
def test_impossible_adsorbates(counts, message):
    for call in (
        lambda: en.reaction(counts),
        lambda: en.gas_energy(counts, en.references(GAS)),
        lambda: en.convert(0.0, counts, source="oc20", target="molecule"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_bad_references():
    with pytest.raises(ValueError, match="N2 is missing"):
        en.references({"CO": -14.8, "H2": -6.7, "H2O": -14.2})
    with pytest.raises(ValueError, match="energy of CO has a value that is not finite"):
        en.references(GAS | {"CO": math.nan})
    with pytest.raises(ValueError, match="No reference energy for N"):
        en.gas_energy({"N": 1}, {"H": -3.3})
    with pytest.raises(ValueError, match="clean slab has a value that is not finite"):
        en.adsorption_energy(-75.0, math.nan, {"H": 1}, en.references(GAS))


@pytest.mark.parametrize(
    ("counts", "source", "target", "message"),
    [
        ({"O": 1}, "oc20", "half O2", "'half O2' is no reference"),
        ({"O": 1}, "rpbe", "rpbe", "'rpbe' is no reference"),
        ({"N": 1}, "oc20", "atom", "moves N to the reference 'atom'"),
        ({"C": 1, "O": 1}, "molecule", "oc20", "moves C"),
    ],
)
def test_references_without_a_bridge(counts, source, target, message):
    with pytest.raises(ValueError, match=message):
        en.convert(0.0, counts, source=source, target=target)


# ---- free energies and the ladder


def test_hydrogen_by_hand():
    known = {
        "Pt": -0.13,
        "Cu": -0.18,
        "Pd": -0.26,
        "Ir": -0.37,
        "Rh": -0.54,
        "Ag": 0.48,
        "Au": 0.48,
    }
    found = {metal: en.delta_g(CHGNET["H"][metal], "H") for metal in known}
    assert found == pytest.approx(known, abs=0.0055)
    assert found["Pt"] == pytest.approx(-0.131, abs=1e-12)


def test_corrections_hold_against_water_and_hydrogen_only():
    assert en.delta_g(np.array([1.0, 2.0]), "OOH") == pytest.approx([1.22, 2.22], abs=1e-12)
    with pytest.raises(ValueError, match="Use `convert`"):
        en.delta_g(-4.3, "O", reference="atom")
    with pytest.raises(ValueError, match="No correction for 'N'"):
        en.delta_g(1.0, "N")
    with pytest.raises(ValueError, match="not finite"):
        en.delta_g(np.array([1.0, np.nan]), "H")


@quick
@given(energy, energy, energy, st.floats(-1.0, 2.0))
def test_the_ladder(g_oh, g_o, g_ooh, potential):
    ladder = en.steps(g_oh, g_o, g_ooh)
    assert ladder == pytest.approx([g_oh, g_o - g_oh, g_ooh - g_o, 4.92 - g_ooh], abs=1e-12)
    assert en.levels(g_oh, g_o, g_ooh)[..., -1] == 4.92  # exact
    assert ladder.sum() == pytest.approx(4.92, abs=1e-12)
    assert en.overpotential(g_oh, g_o, g_ooh) >= -1e-12
    assert en.overpotential(g_oh, g_o, g_ooh, "orr") >= -1e-12
    at_u = en.levels(g_oh, g_o, g_ooh, potential=potential)
    assert np.diff(at_u) == pytest.approx(ladder - potential, abs=1e-9)
    assert at_u[-1] == pytest.approx(4 * (1.23 - potential), abs=1e-9)


@quick
@given(energy, energy, energy)
def test_the_overpotential_is_where_the_last_step_turns(g_oh, g_o, g_ooh):
    """At 1.23 V + eta no step of OER is uphill, and one is level; ORR likewise at 1.23 V - eta."""
    for reaction, sign in (("oer", 1), ("orr", -1)):
        volts = 1.23 + sign * en.overpotential(g_oh, g_o, g_ooh, reaction)
        uphill = sign * np.diff(en.levels(g_oh, g_o, g_ooh, potential=volts))
        assert uphill.max() == pytest.approx(0, abs=1e-9)
        number = en.limiting_step(g_oh, g_o, g_ooh, reaction)
        assert uphill[number - 1] == pytest.approx(0, abs=1e-9)


def test_many_ladders_at_once():
    g_oh, g_o, g_ooh = np.array([1.23, 0.4]), np.array([2.46, 1.0]), np.array([3.69, 3.6])
    assert en.steps(g_oh, g_o, g_ooh).shape == (2, 4)
    assert en.overpotential(g_oh, g_o, g_ooh) == pytest.approx([0.0, 1.37], abs=1e-12)
    limiting = en.limiting_step(g_oh, g_o, g_ooh)[1]
    assert (limiting, en.STEPS[limiting - 1]) == (3, "*O -> *OOH")
    assert en.overpotential(g_oh, g_o, g_ooh, "orr") == pytest.approx([0.0, 0.83], abs=1e-12)


def test_bad_ladders():
    with pytest.raises(ValueError, match="not finite"):
        en.steps(1.0, math.nan, 3.0)
    with pytest.raises(ValueError, match="'her'"):
        en.overpotential(1.0, 2.0, 3.0, "her")


def test_electrons_carry_the_potential():
    assert en.at_potential(4.92, 4, 1.23) == pytest.approx(0, abs=1e-12)
    assert en.at_potential(0.3, -1, 0.5) == pytest.approx(0.8, abs=1e-12)


# ---- scaling


def test_scaling_leaves_an_overpotential():
    assert en.best_overpotential() == pytest.approx(0.37, abs=1e-9)
    assert en.best_overpotential(2.46) == pytest.approx(0, abs=1e-9)


@quick
@given(energy, energy, st.floats(0.0, 4.92))
def test_no_surface_beats_the_closed_form(g_oh, g_o, gap):
    best = en.best_overpotential(gap)
    halved = (4.92 - gap) / 2  # steps 1 and 4; step 2 takes half the gap
    ideal = (halved, halved + gap / 2, halved + gap)
    for reaction in ("oer", "orr"):
        assert en.overpotential(g_oh, g_o, g_oh + gap, reaction) >= best - 1e-9
        assert en.overpotential(*ideal, reaction) == pytest.approx(best, abs=1e-9)


def test_scaling_against_numpy():
    random = np.random.default_rng(3)
    x = random.normal(size=40)
    y = 0.9 * x + 3.2 + 0.1 * random.normal(size=40)
    line = en.scaling(x, y)
    slope, intercept = np.polyfit(x, y, 1)
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept), abs=1e-9)
    assert line.pearson == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)
    assert line.r2 == pytest.approx(line.pearson**2, abs=1e-9)
    assert line.residual == pytest.approx(np.std(y - slope * x - intercept), abs=1e-9)
    exact = en.scaling(x, 2 * x + 1)
    assert (exact.slope, exact.r2) == pytest.approx((2, 1), abs=1e-9)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0], "too few"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], "two for each"),
        ([1.0, 2.0, np.nan], [1.0, 2.0, 3.0], "not finite"),
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], "equal"),
        ([1.0, 2.0, 3.0], [0.1, 0.1, 0.1], "equal"),
    ],
)
def test_no_line(x, y, message):
    with pytest.raises(ValueError, match=message):
        en.scaling(np.array(x), np.array(y))


# ---- volcanoes


def test_the_volcano_has_the_published_legs():
    kt = 8.617333262e-5 * 300
    left, right = np.linspace(-0.6, 0.0, 13), np.linspace(0.0, 0.6, 13)
    strong = 1 / (1 + np.exp(-left / kt))
    weak = np.exp(-right / kt) / (1 + np.exp(-right / kt))
    assert en.log10_exchange_current(left) == pytest.approx(np.log10(strong / 0.5), abs=1e-9)
    assert en.log10_exchange_current(right) == pytest.approx(np.log10(weak / 0.5), abs=1e-9)
    assert en.log10_exchange_current(0.0) == pytest.approx(0, abs=1e-12)
    assert np.isfinite(en.log10_exchange_current(np.array([-50.0, 50.0]))).all()
    far = en.log10_exchange_current(np.array([0.5, 0.6]))
    assert far[0] - far[1] == pytest.approx(0.1 / kt / math.log(10), abs=1e-6)


@quick
@given(st.floats(-2, 2), st.floats(-2, 2))
def test_nearer_to_zero_is_faster(one, other):
    near, far = sorted((one, other), key=abs)
    assert en.log10_exchange_current(near) >= en.log10_exchange_current(far)


@pytest.mark.parametrize("factor", [1.5, 10.0, 1e6])
def test_the_band_is_where_the_current_has_fallen(factor):
    width = en.band(factor)
    assert en.log10_exchange_current(width) == pytest.approx(-math.log10(factor), abs=1e-9)


def test_platinum_leads_and_copper_is_wrongly_close():
    currents = {m: en.log10_exchange_current(en.delta_g(e, "H")) for m, e in CHGNET["H"].items()}
    order = sorted(currents, key=lambda metal: currents[metal], reverse=True)
    assert order[:2] == ["Pt", "Cu"]
    assert currents["Pt"] - currents["Cu"] < 1  # less than a factor of 10


def test_sabatier_peaks_where_the_legs_cross():
    adsorption, desorption = (0.9, 1.4), (-0.6, 0.2)
    peak = en.sabatier_peak(adsorption, desorption)
    assert peak == pytest.approx((0.2 - 1.4) / 1.5, abs=1e-12)
    top = en.log10_sabatier_rate(peak, adsorption, desorption, 500.0)
    around = peak + np.array([-0.3, -1e-3, 1e-3, 0.3])
    assert (en.log10_sabatier_rate(around, adsorption, desorption, 500.0) < top).all()
    kt = 8.617333262e-5 * 500
    closed = math.log10(kt / 4.135667696e-15) - (0.9 * peak + 1.4) / kt / math.log(10)
    assert top == pytest.approx(closed, abs=1e-9)
    assert en.barrier(-5.0, *adsorption) == 0


def test_bad_volcanoes():
    with pytest.raises(ValueError, match="slopes are -1 and 1"):
        en.sabatier_peak((-1.0, 0.0), (1.0, 0.0))
    with pytest.raises(ValueError, match="cross below 0"):
        en.sabatier_peak((1.0, -2.0), (-1.0, -2.0))
    with pytest.raises(ValueError, match="factor is 1"):
        en.band(1.0)
    with pytest.raises(ValueError, match="T is -3"):
        en.log10_exchange_current(0.1, -3.0)
    with pytest.raises(ValueError, match="not finite"):
        en.log10_exchange_current(math.nan)


# ---- uncertainty


def test_draws_follow_the_closed_form():
    centers = np.array([-0.131, -0.175, -0.257, 0.475, 0.0])
    draws, width = 20_000, 0.1
    for sigma in (0.05, 0.3):
        drawn = en.draw_top(centers, sigma, width, draws=draws, seed=1)
        expected = en.top_probability(centers, sigma, width)
        error = np.sqrt(expected * (1 - expected) / draws)
        assert (np.abs(drawn.share - expected) <= 4 * error + 1e-12).all()
        assert drawn.best.sum() == pytest.approx(1, abs=1e-12)
        assert drawn.count.mean() == pytest.approx(drawn.share.sum(), abs=1e-9)
    again = en.draw_top(centers, 0.3, width, draws=draws, seed=1)
    np.testing.assert_array_equal(again.count, drawn.count)
    other = en.draw_top(centers, 0.3, width, draws=draws, seed=2)
    assert not np.array_equal(other.count, drawn.count)


def test_limits_of_the_closed_form():
    assert en.top_probability(0.0, 0.1, 0.1) == pytest.approx(0.682689492137, abs=1e-9)
    assert en.top_probability(0.05, 0.0, 0.1) == 1
    assert en.top_probability(0.2, 0.0, 0.1) == 0
    drawn = en.draw_top(np.array([0.05, 0.2]), 0.0, 0.1, draws=5)
    assert drawn.share.tolist() == [1, 0]
    assert drawn.best.tolist() == [1, 0]


def test_bad_uncertainties():
    one = np.array([0.1])
    for values, sigma, width, draws, message in (
        (np.array([]), 0.1, 0.1, 5, "no free energy"),
        (np.array([np.nan]), 0.1, 0.1, 5, "not finite"),
        (one, -0.1, 0.1, 5, "The error is -0.1"),
        (one, 0.1, 0.0, 5, "width is 0"),
        (one, 0.1, 0.1, 0, "0 draws"),
    ):
        with pytest.raises(ValueError, match=message):
            en.draw_top(values, sigma, width, draws=draws)


# ---- PBE


def test_the_table():
    table = en.pbe_adsorption()
    assert {a: tuple(row) for a, row in table.items()} == dict.fromkeys("OHNC", METALS)
    assert table["O"]["Pt"] == -4.264
    assert max(max(row.values()) for row in table.values()) < -2  # all bind a free atom


def test_chgnet_follows_pbe():
    found = en.compare(CHGNET, en.pbe_adsorption())
    assert {a: f.n for a, f in found.items()} == {"O": 7, "H": 7, "N": 7}
    pearson = {a: f.pearson for a, f in found.items()}
    assert pearson == pytest.approx({"O": 0.936, "H": 0.917, "N": 0.966}, abs=6e-4)
    slope = {a: f.slope for a, f in found.items()}
    assert slope == pytest.approx({"O": 0.78, "H": 1.20, "N": 0.99}, abs=6e-3)
    mae = {a: f.mae for a, f in found.items()}
    assert mae == pytest.approx({"O": 0.21, "H": 0.15, "N": 0.25}, abs=6e-3)


def test_an_offset_does_not_matter_and_is_found():
    pbe = en.pbe_adsorption()
    moved = {"O": {metal: value + 5.09 for metal, value in pbe["O"].items()}}
    found = en.compare(moved, pbe)["O"]
    assert (found.pearson, found.slope) == pytest.approx((1, 1), abs=1e-9)
    assert (found.offset, found.mae) == pytest.approx((5.09, 0), abs=1e-9)
    transfer = en.transfer_offset(moved["O"], pbe["O"], fit=("Cu", "Pt"))
    assert transfer.offset == pytest.approx(5.09, abs=1e-9)
    assert transfer.mae == pytest.approx(0, abs=1e-9)


def test_an_offset_from_two_metals():
    pbe = en.pbe_adsorption()["O"]
    transfer = en.transfer_offset(CHGNET["O"], pbe, fit=("Cu", "Pt"))
    assert transfer.offset == pytest.approx((1.421 + 4.701 + 2.399 + 4.264) / 2, abs=1e-9)
    assert set(transfer.errors) == set(METALS) - {"Cu", "Pt"}
    assert transfer.errors["Ag"] == pytest.approx(2.411 + 3.461 - transfer.offset, abs=1e-9)
    assert transfer.mae == pytest.approx(
        np.mean([abs(error) for error in transfer.errors.values()]), abs=1e-12
    )


def test_bad_comparisons():
    pbe = en.pbe_adsorption()
    without = {"O": {metal: value for metal, value in CHGNET["O"].items() if metal != "Au"}}
    with pytest.raises(ValueError, match="O: the computed energies have no Au"):
        en.compare(without, pbe)
    assert en.compare(without, pbe, metals=["Cu", "Ag", "Pt"])["O"].n == 3
    with pytest.raises(ValueError, match="the energies of PBE have no Ni"):
        en.compare({"O": CHGNET["O"] | {"Ni": 1.0}}, pbe, metals=["Cu", "Ag", "Ni"])
    with pytest.raises(ValueError, match="no OH"):
        en.compare({"OH": CHGNET["O"]}, pbe)
    with pytest.raises(ValueError, match="2 systems are too few"):
        en.compare(CHGNET, pbe, metals=["Cu", "Pt"])
    with pytest.raises(ValueError, match="O, computed, has a value that is not finite"):
        en.compare({"O": CHGNET["O"] | {"Pt": math.nan}}, pbe)
    with pytest.raises(ValueError, match="leave at least one"):
        en.transfer_offset(CHGNET["O"], pbe["O"], fit=METALS)
    with pytest.raises(ValueError, match="have no Ni"):
        en.transfer_offset(CHGNET["O"], pbe["O"], fit=("Ni",))

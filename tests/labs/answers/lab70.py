"""Right and plausible wrong answers to the exercises of lab 70."""

import numpy as np
from labs.answers import lab70_graphs


# 70.adsorption_energy


def by_reaction(e_adslab, e_slab, counts, gas, turn=1, slab=1, hydrogen=0.5, nitrogen=0.5):
    x, y, z, w = (counts.get(element, 0) for element in "CHON")
    molecules = {"CO": x, "H2": x + hydrogen * y - z, "H2O": z - x, "N2": nitrogen * w}
    return e_adslab - slab * e_slab - turn * sum(n * gas[name] for name, n in molecules.items())


def by_elements(e_adslab, e_slab, counts, gas, stays=1):
    mu = {"H": gas["H2"] / 2, "O": gas["H2O"] - stays * gas["H2"], "N": gas["N2"] / 2}
    mu["C"] = gas["CO"] - mu["O"]
    return np.float64(e_adslab - e_slab - sum(n * mu[element] for element, n in counts.items()))


def water_alone(*given):
    return by_elements(*given, stays=0)


def oxygen_of_co(e_adslab, e_slab, counts, gas):
    x, y, z, w = (counts.get(element, 0) for element in "CHON")
    e_gas = x * gas["CO"] + (x + y / 2 - z) * gas["H2"] + z * gas["H2O"] + w / 2 * gas["N2"]
    return e_adslab - e_slab - e_gas


def oxygen_of_co_in_both(e_adslab, e_slab, counts, gas):
    x, y, z, w = (counts.get(element, 0) for element in "CHON")
    e_gas = x * gas["CO"] + (y / 2 - z) * gas["H2"] + z * gas["H2O"] + w / 2 * gas["N2"]
    return e_adslab - e_slab - e_gas


def hydrogen_of_water(e_adslab, e_slab, counts, gas):
    x, y, z, w = (counts.get(element, 0) for element in "CHON")
    e_gas = x * gas["CO"] + (y / 2 - z) * gas["H2"] + (z - x) * gas["H2O"] + w / 2 * gas["N2"]
    return e_adslab - e_slab - e_gas


def whole_hydrogen(*given):
    return by_reaction(*given, hydrogen=1)


def whole_nitrogen(*given):
    return by_reaction(*given, nitrogen=1)


def no_slab(*given):
    return by_reaction(*given, slab=0)


def no_gas(*given):
    return by_reaction(*given, turn=0)


def gas_added(*given):
    return by_reaction(*given, turn=-1)


def reversed_sign(*given):
    return -by_reaction(*given)


# 70.overpotential


def by_list(g_oh, g_o, g_ooh, last=lambda g: 4.92 - g):
    steps = [g_oh, g_o - g_oh, g_ooh - g_o, last(g_ooh)]
    return max(steps) - 1.23, steps.index(max(steps)) + 1


def by_numpy(*heights):
    steps = np.diff([0, *heights, 4.92])
    return steps.max() - 4.92 / 4, steps.argmax() + 1


def no_ideal(*heights):
    eta, step = by_list(*heights)
    return eta + 1.23, step


def from_zero(*heights):
    eta, step = by_list(*heights)
    return eta, step - 1


def last_reversed(*heights):
    return by_list(*heights, last=lambda g: g - 4.92)


def orr(*heights):
    steps = np.diff([0, *heights, 4.92])
    return 1.23 - steps.min(), steps.argmin() + 1


def heights_as_steps(*heights):
    return max(heights) - 1.23, heights.index(max(heights)) + 1


def step_first(*heights):
    return by_list(*heights)[::-1]


# 70.leakage


def by_sets(train, test):
    return sorted(set(train["slab"]) & set(test["slab"]))


def by_merge(train, test):
    return np.sort(train[["slab"]].merge(test[["slab"]])["slab"].unique())


def by_samples(train, test):
    return sorted(set(train["sample"]) & set(test["sample"]))


def by_adsorbates(train, test):
    return sorted(set(train["adsorbate"]) & set(test["adsorbate"]))


def number_of_rows(train, test):
    return int(test["slab"].isin(train["slab"]).sum())


def only_in_the_test(train, test):
    return sorted(set(test["slab"]) - set(train["slab"]))


def all_of_the_test(train, test):
    return sorted(set(test["slab"]))


def each_row(train, test):
    return sorted(test.loc[test["slab"].isin(train["slab"]), "slab"])


def no_order(train, test):
    return by_sets(train, test)[::-1]


def a_set(train, test):
    return set(train["slab"]) & set(test["slab"])


def of_both_sides(train, test):
    return sorted(set(train["slab"]) | set(test["slab"]))


RIGHT = {
    "70.adsorption_energy": [by_reaction, by_elements],
    "70.overpotential": [by_list, by_numpy],
    "70.leakage": [by_sets, by_merge],
    **lab70_graphs.RIGHT,
}

WRONG = {
    "70.adsorption_energy": [
        (water_alone, "its H2 stays behind"),
        (oxygen_of_co, "Each CO brings an O along"),
        (oxygen_of_co_in_both, "You left out the O that each CO brings"),
        (hydrogen_of_water, "H does not balance"),
        (whole_hydrogen, "H comes from H2"),
        (whole_nitrogen, "N comes from N2"),
        (no_slab, "Subtract the energy of the clean slab"),
        (no_gas, "The gas molecules are missing"),
        (gas_added, "The gas molecules are the reactants"),
        (reversed_sign, "The sign is reversed"),
    ],
    "70.overpotential": [
        (no_ideal, "Subtract 4.92 / 4"),
        (from_zero, "Steps count from 1"),
        (last_reversed, "The last step is missing, or has the wrong sign"),
        (orr, "This is the ORR"),
        (heights_as_steps, "A height is no step"),
        (step_first, "The order is wrong"),
    ],
    "70.leakage": [
        (by_samples, "You compare samples"),
        (by_adsorbates, "You compare adsorbates"),
        (number_of_rows, "returns the number"),
        (only_in_the_test, "the slabs of the test alone"),
        (all_of_the_test, "all slabs of the test: keep"),
        (each_row, "Each slab should be there once"),
        (no_order, "They are right but not in order"),
        (a_set, "returns a set"),
        (of_both_sides, "you need their intersection"),
    ],
    **lab70_graphs.WRONG,
}

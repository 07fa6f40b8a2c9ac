"""The scores of the Open Catalyst tasks, against values by hand."""

import jaxtyping
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms

from course_lib.electrocatalyst.learning import (
    DISTANCES,
    FORCES,
    adwt,
    afbt,
    displacement,
    energy_force_within_threshold,
    energy_mae,
    energy_mse,
    energy_within_threshold,
    force_cosine,
    force_mae,
    force_magnitude_error,
    is2re_scores,
    largest_force,
    s2ef_scores,
    share_below,
)


pytestmark = pytest.mark.lab70


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.fixture
def without_shape_checks():
    """As for a user, to whom our own words must say that shapes do not fit."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


class Pull(Calculator):
    """A calculator whose forces are given."""

    implemented_properties = ("energy", "forces")

    def __init__(self, forces: list[list[float]]) -> None:
        super().__init__()
        self.forces = np.array(forces)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, list(properties), system_changes)
        self.results = {"energy": 0.0, "forces": self.forces}


def test_energy_errors_by_hand():
    predicted, target = vector(0.0, 1.0, -2.0, 0.5), vector(0.1, 1.0, -1.7, 0.5)
    assert energy_mae(predicted, target) == pytest.approx(0.1)  # (0.1 + 0 + 0.3 + 0) / 4
    assert energy_mse(predicted, target) == pytest.approx(0.025)  # (0.01 + 0.09) / 4
    assert is2re_scores(predicted, target) == pytest.approx({"mae": 0.1, "mse": 0.025, "ewt": 0.5})


def test_ewt_is_strict():
    target = vector(0.0, 0.0, 0.0, 0.0)
    below = 0.02 - 1e-9
    assert energy_within_threshold(vector(0.02, -0.02, below, -below), target) == 0.5


def test_force_errors_count_free_atoms_only():
    predicted = torch.tensor([[1.0, 0, 0], [0, 3.0, 4.0], [9.0, 9, 9]])
    target = torch.tensor([[0.0, 1, 0], [0, 3.0, 0.0], [0.0, 0, 0]])
    free = torch.tensor([True, True, False])
    assert force_mae(predicted, target, free) == pytest.approx((1 + 1 + 4) / 6)
    assert force_mae(predicted, target) == pytest.approx((1 + 1 + 4 + 27) / 9)
    assert force_cosine(predicted, target, free) == pytest.approx((0 + 0.6) / 2)
    assert force_magnitude_error(predicted, target, free) == pytest.approx((0 + 2) / 2)


def test_efwt_is_decided_per_system():
    zero = torch.zeros(6, 3, dtype=torch.float64)
    forces = zero.clone()
    forces[1, 2] = 0.031  # one component of system 0
    forces[2, 0] = 0.029  # system 1: all below the limit
    forces[4, 1] = 0.5  # a fixed atom of system 2
    system = torch.tensor([0, 0, 1, 1, 2, 2])
    free = torch.tensor([True, True, True, True, False, True])
    target = vector(0, 0, 0)

    def share(energies: torch.Tensor, free: torch.Tensor | None) -> float:
        return energy_force_within_threshold(energies, target, forces, zero, system, free)

    assert share(vector(0, 0, 0), free) == pytest.approx(2 / 3)
    assert share(vector(0, 0, 0), None) == pytest.approx(1 / 3)
    assert share(vector(0, 0.02, 0), free) == pytest.approx(1 / 3)  # the energy counts too
    forces[2, 0] = 0.03  # exactly the limit fails
    assert share(vector(0, 0, 0), free) == pytest.approx(1 / 3)


def test_s2ef_scores_agree_with_the_single_ones():
    generator = torch.Generator().manual_seed(0)
    energies = torch.randn(2, 3, generator=generator) * 0.02
    forces = torch.randn(2, 9, 3, generator=generator) * 0.03
    system, free = torch.arange(3).repeat_interleave(3), torch.arange(9) % 3 > 0
    found = s2ef_scores(*energies, *forces, system, free)
    assert found["energy_mae"] == energy_mae(*energies)
    assert found["force_mae"] == force_mae(*forces, free)
    assert found["cosine"] == force_cosine(*forces, free)
    assert found["magnitude"] == force_magnitude_error(*forces, free)
    axes = [found[f"force_{axis}"] for axis in "xyz"]
    assert sum(axes) / 3 == pytest.approx(found["force_mae"], rel=1e-6)
    assert axes[2] == pytest.approx(float((forces[0] - forces[1]).abs()[free, 2].mean()))


def test_displacement_takes_the_nearest_image():
    cell = np.diag([4.0, 5.0, 20.0])
    here = np.array([[0.1, 0.1, 5.0], [2.0, 2.0, 6.0]])
    there = np.array([[3.9, 4.9, 5.0], [2.0, 2.0, 6.3]])
    assert displacement(here, there, cell) == pytest.approx((np.hypot(0.2, 0.2) + 0.3) / 2)
    assert displacement(here, there, cell, pbc=False) > 3
    assert displacement(here, there, cell, free=np.array([False, True])) == pytest.approx(0.3)


def test_the_nearest_image_is_exact_in_skewed_cells():
    generator = np.random.default_rng(0)
    for _ in range(20):
        cell = np.array([[3.0, 0, 0], [0, 3.0, 0], [0, 0, 3.0]])
        cell[1, 0], cell[2, :2] = generator.uniform(-6, 6), generator.uniform(-6, 6, size=2)
        apart = generator.normal(size=(1, 3)) * 3
        steps = np.stack(np.meshgrid(*[np.arange(-8, 9)] * 3), axis=-1).reshape(-1, 3)
        nearest = np.linalg.norm(apart + steps @ cell, axis=1).min()
        assert displacement(apart, np.zeros((1, 3)), cell) == pytest.approx(nearest)


def test_adwt_counts_thresholds():
    assert len(DISTANCES) == 490
    assert DISTANCES[[0, 1, -1]] == pytest.approx([0.01, 0.011, 0.499])
    # 0.25 lies below the thresholds 0.251 ... 0.499; 0 below all; 0.6 below none
    assert adwt(np.array([0.25])) == pytest.approx(249 / 490, abs=1.01 / 490)
    assert adwt(np.array([0.0, 0.6])) == 0.5
    curve = share_below(np.array([0.1005, 0.2005, np.nan, 0.9]), DISTANCES)
    assert curve[0] == 0
    assert curve[-1] == 0.5
    assert (np.diff(curve) >= 0).all()
    assert adwt(np.array([0.1005, 0.2005])) == pytest.approx((399 + 299) / 2 / 490)


def test_afbt_counts_thresholds():
    assert FORCES[[0, -1]] == pytest.approx([0.01, 0.4])
    assert afbt(np.array([0.0, 0.5])) == 0.5
    assert afbt(np.array([0.3005])) == pytest.approx(100 / 391)


def test_the_largest_force_is_a_length_on_a_free_atom():
    atoms = Atoms("H3", positions=[[0, 0, 0], [1, 0, 0], [2, 0, 0]])
    atoms.set_constraint(FixAtoms([0]))
    pull = Pull([[50, 0, 0], [3, 0, 4], [0, 4.5, 0]])
    assert largest_force(atoms, pull) == pytest.approx(5.0)
    atoms.set_constraint(FixAtoms([0, 1, 2]))
    with pytest.raises(ValueError, match="All atoms are fixed"):
        largest_force(atoms, pull)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: energy_mae(vector(1), vector(1, 2)), "one per target"),
        (lambda: energy_mae(vector(), vector()), "no energies to score"),
        (lambda: energy_mae(vector(np.nan), vector(1)), "NaN"),
        (
            lambda: force_mae(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2).bool()),
            "no forces to score",
        ),
        (
            lambda: force_mae(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(3).bool()),
            "2 atoms, but 3 marks",
        ),
        (
            lambda: energy_force_within_threshold(
                vector(0, 0),
                vector(0, 0),
                torch.zeros(2, 3),
                torch.zeros(2, 3),
                torch.zeros(2, dtype=torch.int64),
            ),
            r"\[2, 0\]",
        ),
        (lambda: displacement(np.zeros((1, 3)), np.zeros((2, 3)), np.eye(3)), "1 positions"),
        (lambda: displacement(np.full((1, 3), np.nan), np.zeros((1, 3)), np.eye(3)), "astray"),
        (lambda: adwt(np.array([])), "no system"),
    ],
)
def test_bad_input(call, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        call()

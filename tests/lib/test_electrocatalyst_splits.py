"""Splits that keep slabs, an adsorbate and a metal apart, and the leak of one that does not."""

from itertools import product

import numpy as np
import pytest
from ase import Atoms

from course_lib.electrocatalyst.learning import (
    leakage,
    ood_splits,
    split_randomly,
    split_systems,
)
from course_lib.electrocatalyst.surfaces import Frame, Sample


pytestmark = pytest.mark.lab70

PAIRS = [("Ag", "Cu"), ("Cu", "Ni"), ("Ag", "Pt"), ("Ni", "Pt"), ("Cu", "Pt")]


def made_samples(pairs=PAIRS, adsorbates=("H", "N", "O"), slabs: int = 8) -> list[Sample]:
    """Three samples on each of 40 slabs; the energies are of no matter here."""
    return [
        Sample(
            id=f"{'-'.join(metals)}-{slab}-{adsorbate}",
            atoms=Atoms("H"),
            relaxed_positions=np.zeros((1, 3)),
            energy=0.0,
            metals=metals,
            facet="111",
            site="fcc",
            adsorbate=adsorbate,
            anomalies=(),
            system=f"{'-'.join(metals)}-{slab}",
        )
        for metals, slab, adsorbate in product(pairs, range(slabs), adsorbates)
    ]


def made_frames(samples: list[Sample], steps: int = 4) -> list[Frame]:
    return [
        Frame(sample.id, sample.system, step, sample.atoms, 0.0, np.zeros((1, 3)))
        for sample in samples
        for step in range(steps)
    ]


def test_each_part_is_what_its_name_says():
    found = ood_splits(made_samples())
    for part, strange_adsorbate, strange_metal in [
        (found.train, False, False),
        (found.id, False, False),
        (found.ood_ads, True, False),
        (found.ood_cat, False, True),
        (found.ood_both, True, True),
    ]:
        assert part
        assert {sample.adsorbate == "N" for sample in part} == {strange_adsorbate}
        assert {"Ni" in sample.metals for sample in part} == {strange_metal}
    assert len(found.ood_cat) == 2 * 8 * 2
    assert len(found.ood_both) == 2 * 8
    assert len(found.train) + len(found.id) == 3 * 8 * 2
    assert len(found.id) == 5 * 2  # a fifth of 24 slabs
    assert list(found.tests()) == ["id", "ood_cat", "ood_ads", "ood_both"]
    assert repr(found) == "Splits: train 38, id 10, ood_cat 32, ood_ads 5, ood_both 16"


def test_no_part_shares_a_slab_with_training():
    found = ood_splits(made_samples(), seed=3)
    clean = {"systems": 0, "trajectories": 0, "samples": 0, "share": 0}
    for part in found.tests().values():
        assert leakage(found.train, part) == clean


def test_the_seed_decides():
    samples = made_samples()
    assert ood_splits(samples, seed=1) == ood_splits(samples, seed=1)
    assert ood_splits(samples, seed=1) != ood_splits(samples, seed=2)
    ids = [sample.id for sample in ood_splits(samples).train]
    assert ids != sorted(ids), "the first n of training must be a random choice"


def test_random_frames_leak_and_slabs_do_not():
    frames = made_frames(made_samples())
    rest, held = split_randomly(frames, 0.2)
    assert len(held) == round(0.2 * len(frames))
    leaked = leakage(rest, held)
    assert leaked["share"] > 0.95
    assert leaked["trajectories"] > 50
    assert leaked["samples"] == 0  # each frame is in one part; its neighbors in time are not
    honest = leakage(*split_systems(frames, 0.2))
    assert honest == {"systems": 0, "trajectories": 0, "samples": 0, "share": 0}


def test_leakage_by_hand():
    samples = made_samples(pairs=PAIRS[:1], slabs=3)  # three slabs of three
    train, test = samples[:4], [samples[3], samples[4], samples[8]]
    found = leakage(train, test)
    assert found == {
        "systems": 1,
        "trajectories": 1,
        "samples": 1,
        "share": pytest.approx(2 / 3),
    }
    frames = made_frames(samples[:1])
    assert leakage(frames[:2], frames[1:]) == {
        "systems": 1,
        "trajectories": 1,
        "samples": 1,
        "share": 1,
    }


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_both_parts_have_a_slab(share):
    samples = made_samples(slabs=1)
    rest, held = split_systems(samples, share)
    assert rest and held
    assert sorted(a.id for a in rest + held) == sorted(a.id for a in samples)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ood_splits(made_samples(), metal="Au"), "0 of 120 samples hold Au"),
        (lambda: ood_splits(made_samples(pairs=PAIRS[1:2])), "16 of 16|24 of 24"),
        (lambda: ood_splits(made_samples(), adsorbate="C"), "ood_ads, ood_both"),
        (lambda: ood_splits([]), "0 of 0"),
        (lambda: split_systems(made_samples(), 1.0), "between 0 and 1"),
        (lambda: split_systems(made_samples(pairs=PAIRS[:1], slabs=1), 0.5), "two slabs"),
        (lambda: split_randomly(made_samples()[:1], 0.5), "leaves a part empty"),
    ],
)
def test_empty_parts_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

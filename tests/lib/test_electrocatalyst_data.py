"""The shipped relaxations: their format, their script, and what is in them."""

import io
import lzma
import tomllib
from collections import Counter

import ase.io
import numpy as np
import pytest
from ase.calculators.emt import EMT

from course_lib._paths import data_dir
from course_lib.electrocatalyst.energetics import compare, pbe_adsorption
from course_lib.electrocatalyst.surfaces import (
    METALS,
    adsorption_energy,
    anomalies,
    atom_energies,
    read_frames,
    read_samples,
    reference_energies,
    relax,
)
from course_lib.electrocatalyst.surfaces._format import (
    frame_text,
    parse_frames,
    parse_samples,
    sample_text,
)
from course_lib.electrocatalyst.surfaces.make_data import chgnet_plan, emt_plan, record


pytestmark = pytest.mark.lab70
FOLDER = data_dir() / "electrocatalyst"
FILES = ("emt.extxyz.xz", "chgnet.extxyz.xz", "emt_frames.extxyz.xz")


@pytest.fixture(scope="module")
def emt():
    return read_samples("emt")


@pytest.fixture(scope="module")
def chgnet():
    return read_samples("chgnet")


@pytest.fixture(scope="module")
def frames():
    return read_frames()


def text_of(file: str) -> str:
    return lzma.decompress((FOLDER / file).read_bytes()).decode()


# --- the format


def test_what_is_written_is_read(emt, chgnet, frames):
    for sample in (*emt[::400], *chgnet[::20]):
        text = sample_text(sample)
        assert sample_text(parse_samples(text)[0]) == text
    for frame in frames[::300]:
        text = frame_text(frame)
        assert frame_text(parse_frames(text)[0]) == text


@pytest.mark.parametrize("file", FILES)
def test_ase_reads_the_same(file, emt, chgnet, frames):
    count = 40
    ours = {"emt": emt, "chgnet": chgnet, "emt_frames": frames}[file.split(".")[0]][:count]
    theirs = ase.io.read(io.StringIO(text_of(file)), f":{count}", format="extxyz")
    assert len(theirs) == count
    for mine, other in zip(ours, theirs, strict=True):
        assert isinstance(other, ase.Atoms)
        atoms = mine.atoms
        assert atoms.get_chemical_symbols() == other.get_chemical_symbols()
        assert (atoms.positions == other.positions).all()
        assert (atoms.cell.array == other.cell.array).all() and other.pbc.all()
        assert (atoms.get_tags() == other.get_tags()).all()
        fixed = [set(a.constraints[0].get_indices()) for a in (atoms, other)]
        assert fixed[0] == fixed[1]
        assert mine.system == other.info["system"]
        if file == FILES[2]:
            assert mine.energy == other.get_potential_energy()
            assert (mine.forces == other.get_forces(apply_constraint=False)).all()
            assert (mine.sample, mine.step) == (other.info["sample"], other.info["step"])
        else:
            assert mine.energy == other.info["adsorption_energy"]
            assert (mine.relaxed_positions == other.arrays["relaxed"]).all()
            keys = (mine.id, mine.adsorbate, mine.site, int(mine.facet))
            assert keys == tuple(other.info[k] for k in ("id", "adsorbate", "site", "facet"))
            assert " ".join(mine.metals) == other.info["metals"]
            assert (", ".join(mine.anomalies) or "none") == other.info["anomalies"]


def test_damaged_text_is_refused(emt):
    text = sample_text(emt[0])
    with pytest.raises(ValueError, match="Line 2 does not begin a structure with 'relaxed'"):
        parse_samples(text.replace("relaxed", "relax"))
    with pytest.raises(ValueError, match="Line 2 does not"):
        parse_samples("\n".join(text.splitlines()[:-1]))


def test_names_and_folders_are_checked(tmp_path):
    with pytest.raises(ValueError, match="no samples by 'dft'; choose: emt, chgnet"):
        read_samples("dft")
    with pytest.raises(FileNotFoundError):
        read_samples("emt", folder=tmp_path)


# --- what is in it


def test_sizes_and_counts(emt, chgnet, frames):
    made = tomllib.loads((FOLDER / "made.toml").read_text())
    assert all((FOLDER / file).stat().st_size < 1_900_000 for file in FILES)
    assert made["emt"]["samples"] == len(emt) >= 3000
    assert made["emt"]["frames"] == len(frames) >= 1200
    assert made["chgnet"]["samples"] == len(chgnet) >= 110
    assert made["emt"]["slabs"] == len({sample.system for sample in emt})
    assert made["chgnet"]["slabs"] == len({sample.system for sample in chgnet})
    words = (FOLDER / "README.md").read_text()
    assert f"{len(emt):,} relaxations on {made['emt']['slabs']} slabs" in words
    assert f"{len(chgnet):,} relaxations on {made['chgnet']['slabs']} slabs" in words
    assert f"{len(frames):,} steps" in words
    for samples in (emt, chgnet):
        assert len({sample.id for sample in samples}) == len(samples)


def test_a_slab_carries_several_samples(emt):
    per_slab = Counter(sample.system for sample in emt)
    assert min(per_slab.values()) >= 8
    slabs = {}
    for sample in emt:
        clean = sample.atoms[sample.atoms.get_tags() < 2]
        first = slabs.setdefault(sample.system, clean)
        assert (first.numbers == clean.numbers).all()
        assert (first.positions == clean.positions).all()


def test_the_emt_set_is_spread_evenly(emt):
    assert {metal for sample in emt for metal in sample.metals} == set(METALS)
    for metal in METALS:
        with_it = np.mean([metal in sample.metals for sample in emt])
        assert 0.2 < with_it < 0.4
    for kind, count in (("adsorbate", 4), ("facet", 2), ("site", 5)):
        shares = Counter(getattr(sample, kind) for sample in emt)
        assert len(shares) == count
        assert min(shares.values()) > 0.05 * len(emt)
    assert {len(sample.metals) for sample in emt} == {1, 2}


def test_anomalies_are_those_of_the_rules(emt, chgnet):
    for sample in (*emt[::10], *chgnet):
        found = anomalies(sample.relaxed, sample.atoms)
        assert sample.anomalies == found or sample.anomalies == (*found, "not converged")


def test_emt_labels_can_be_made_again(emt):
    clean = {}
    for sample in emt[5::331]:
        if sample.system not in clean:
            bare = sample.atoms[sample.atoms.get_tags() < 2]
            clean[sample.system] = relax(bare, "emt").energy
        last = sample.relaxed
        last.calc = EMT()
        energy = last.get_potential_energy() - clean[sample.system]
        assert energy - atom_energies()[sample.adsorbate] == pytest.approx(sample.energy, abs=2e-3)
        assert np.linalg.norm(last.get_forces(), axis=1).max() < 0.055  # fmax 0.05, rounded places
        again = relax(sample.atoms, "emt")
        assert again.relaxed.positions == pytest.approx(sample.relaxed_positions, abs=0.02)


def test_chgnet_labels_can_be_made_again(chgnet):
    sample = next(one for one in chgnet if one.id == "Pt-111-O-fcc")
    bare = relax(sample.atoms[sample.atoms.get_tags() < 2], "chgnet")
    again = adsorption_energy(
        relax(sample.atoms, "chgnet"), bare, "O", reference_energies("chgnet")
    )
    assert again == pytest.approx(sample.energy, abs=5e-3)


def test_frames_are_steps_of_their_samples(emt, frames):
    by_id = {sample.id: sample for sample in emt}
    runs = {}
    for frame in frames:
        runs.setdefault(frame.sample, []).append(frame)
    assert len(runs) >= 150 and max(map(len, runs.values())) == 8
    for number, (name, steps) in enumerate(runs.items()):
        sample = by_id[name]
        assert steps[0].step == 0 and steps[0].system == sample.system
        assert (steps[0].positions == sample.atoms.positions).all()
        assert (steps[-1].positions == sample.relaxed_positions).all()
        assert steps[-1].energy == sample.energy
        if number % 20 == 0:
            energies = []
            for frame in steps:
                atoms = frame.atoms.copy()
                atoms.calc = EMT()
                energies.append(atoms.get_potential_energy() - frame.energy)
                forces = atoms.get_forces(apply_constraint=False)
                assert forces == pytest.approx(frame.forces, abs=2e-3, rel=1e-3)
            assert np.ptp(energies) < 1e-3  # one offset for all steps of a run


def test_chgnet_follows_pbe(chgnet):
    computed = {}
    for sample in chgnet:
        if sample.site == "fcc" and sample.adsorbate in ("H", "N", "O"):
            computed.setdefault(sample.adsorbate, {})[sample.metals[0]] = sample.energy
    agreement = compare(computed, pbe_adsorption())
    assert set(agreement) == {"H", "N", "O"}
    for found in agreement.values():
        assert found.n == 7
        assert found.pearson >= 0.85
        assert found.mae <= 0.3


def test_chgnet_has_every_metal_with_every_adsorbate(chgnet):
    pairs = {(sample.metals[0], sample.adsorbate) for sample in chgnet if sample.site == "fcc"}
    assert pairs == {(run["metal"], run["adsorbate"]) for run in chgnet_plan()}


# --- the script


def test_a_longer_plan_begins_with_the_shorter():
    short, long = emt_plan(600), emt_plan(2000)
    assert sum(one["samples"] for one in short) >= 600
    assert sum(one["samples"] for one in long) >= 2000
    assert long[: len(short)] == short


def test_the_script_makes_the_same_again_and_goes_on(tmp_path, emt, capsys):
    plan = [one | {"samples": 2, "kept": 1} for one in emt_plan()[:3]]
    target, folder = tmp_path / "made", tmp_path / "runs"
    record("emt", plan[:2], target, folder=folder)
    record("emt", plan, target, folder=folder)
    assert "2 of 3 runs were finished before" in capsys.readouterr().out
    again = read_samples("emt", folder=target)
    shipped = {sample.id: sample for sample in emt}
    assert len(again) == 6 and len(list(folder.iterdir())) == 3
    for sample in again:
        other = shipped[sample.id]
        assert sample.atoms.positions == pytest.approx(other.atoms.positions, abs=1e-4)
        assert sample.energy == pytest.approx(other.energy, abs=1e-3)
    assert {frame.sample for frame in read_frames(target)} == {s.id for s in again[1::2]}
    made = tomllib.loads((target / "made.toml").read_text())
    assert made["emt"]["samples"] == 6 and made["emt"]["slabs"] == 3
    assert made["emt"]["ase"]


def test_a_failed_run_writes_nothing(tmp_path):
    plan = [emt_plan()[0] | {"facet": "110", "samples": 2}]
    with pytest.raises(RuntimeError, match="no facet '110'.*repeat"):
        record("emt", plan, tmp_path / "made", folder=tmp_path / "runs")
    assert not (tmp_path / "made").exists()

"""OC20's files: small ones of the same layout, read as the real ones are."""

import lzma
import multiprocessing
import os
import pickle
import warnings
import zlib

import lmdb
import numpy as np
import pytest
import torch
from ase.build import add_adsorbate, fcc111
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db.row import AtomsRow
from ase.io import write
from ase.io.jsonio import encode

from course_lib.electrocatalyst import oc20
from course_lib.electrocatalyst.graphs import graph
from course_lib.electrocatalyst.learning import train_is2re
from course_lib.electrocatalyst.models import SchNet


pytestmark = pytest.mark.lab70


def adslab(seed):
    """Return a small slab with an oxygen, tagged and fixed as OC20 does it."""
    slab = fcc111("Cu" if seed % 2 else "Pt", (2, 2, 3), vacuum=8)
    add_adsorbate(slab, "O", 1.5, "fcc")
    slab.set_tags([0] * 8 + [1] * 4 + [2])
    slab.set_constraint(FixAtoms(range(8)))
    slab.pbc = True
    slab.info.clear()
    slab.positions[8:] += np.random.default_rng(seed).normal(0, 0.05, (5, 3))
    return slab


def fields(seed):
    """Return what OC20 keeps of a structure: tensors, float32, the cell with a first axis."""
    slab = adslab(seed)
    fixed = torch.zeros(len(slab))
    fixed[slab.constraints[0].index] = 1
    return {
        "pos": torch.tensor(slab.positions, dtype=torch.float32),
        "cell": torch.tensor(slab.cell.array, dtype=torch.float32)[None],
        "atomic_numbers": torch.tensor(slab.numbers, dtype=torch.float32),
        "natoms": len(slab),
        "tags": torch.tensor(slab.get_tags()),
        "fixed": fixed,
        "edge_index": torch.zeros(2, 30, dtype=torch.long),
        "cell_offsets": torch.zeros(30, 3),
    }


def relaxation(seed):
    given = fields(seed)
    return {
        **given,
        "y_init": 1.0 + seed,
        "y_relaxed": np.float64(-seed / 7),
        "pos_relaxed": given["pos"] + 0.25,
        "sid": 1000 + seed,
    }


def frame(seed, sid=5):
    given = fields(seed)
    labels = {"energy": -seed / 3, "forces": given["pos"] / 8}
    return {**given, **labels, "sid": torch.tensor([sid]), "fid": torch.tensor([seed])}


def as_data(given):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_geometric.data import Data
    return pickle.dumps(Data(**given), protocol=-1)


def write_lmdb(file, values, length=False):
    """Write an LMDB file: key to bytes; numbered from 0 if `values` is a list."""
    if isinstance(values, list):
        values = {str(number): value for number, value in enumerate(values)}
    if length:
        values = {**values, "length": pickle.dumps(len(values), protocol=-1)}
    file.parent.mkdir(exist_ok=True, parents=True)
    env = lmdb.open(str(file), subdir=False, lock=False, map_size=2**26, meminit=False)
    with env, env.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key.encode(), value)
    return file


def assert_is_slab(atoms, seed):
    wanted = adslab(seed)
    assert atoms.get_chemical_formula() == wanted.get_chemical_formula()
    assert np.allclose(atoms.positions, wanted.positions, atol=1e-6)
    assert np.allclose(atoms.cell, wanted.cell, atol=1e-6)
    assert atoms.pbc.all()
    assert atoms.get_tags().tolist() == [0] * 8 + [1] * 4 + [2]
    assert atoms.constraints[0].index.tolist() == list(range(8))


@pytest.fixture(scope="module")
def is2re(tmp_path_factory):
    """Return a split of twelve relaxations in one file; as text, their keys sort otherwise."""
    values = [as_data(relaxation(seed)) for seed in range(12)]
    return write_lmdb(tmp_path_factory.mktemp("is2re") / "data.lmdb", values)


def test_relaxations_in_order_and_whole(is2re):
    records = oc20.IS2RE(is2re)
    assert len(records) == 12
    for seed, record in enumerate(records):
        assert record.sid == 1000 + seed
        assert (record.y_init, record.y_relaxed) == (1.0 + seed, -seed / 7)
        assert_is_slab(record.atoms, seed)
        assert record.pos_relaxed is not None
        assert np.allclose(record.pos_relaxed, adslab(seed).positions + 0.25, atol=1e-6)
    assert records[-1].sid == 1011
    assert [record.sid for record in records[2:8:3]] == [1002, 1005]
    for index in (12, -13):
        with pytest.raises(IndexError, match=f"no record {index}; there are 12"):
            records[index]


def test_a_length_key_is_no_record(tmp_path):
    file = write_lmdb(tmp_path / "data.lmdb", [as_data(relaxation(s)) for s in range(3)], True)
    assert [record.sid for record in oc20.IS2RE(file)] == [1000, 1001, 1002]


def test_frames_of_a_folder_of_files(tmp_path):
    write_lmdb(tmp_path / "data.0000.lmdb", [as_data(frame(s)) for s in range(3)], True)
    write_lmdb(tmp_path / "data.0001.lmdb", [as_data(frame(s)) for s in range(3, 5)], True)
    frames = oc20.S2EF(tmp_path)
    assert len(frames) == 5
    for seed, one in enumerate(frames):
        assert (one.sid, one.fid) == (5, seed)
        assert one.energy == pytest.approx(-seed / 3, abs=1e-9)
        assert one.forces is not None
        assert np.allclose(one.forces, adslab(seed).positions / 8, atol=1e-6)
        assert_is_slab(one.atoms, seed)


def test_older_frames_say_y_and_force(tmp_path):
    old = frame(1)
    old["y"], old["force"] = old.pop("energy"), old.pop("forces")
    (one,) = oc20.S2EF(write_lmdb(tmp_path / "data.lmdb", [as_data(old)]))
    assert one.energy == pytest.approx(-1 / 3)
    assert one.forces is not None and one.forces.shape == (13, 3)


def test_test_splits_have_no_labels(tmp_path):
    hidden = {k: v for k, v in relaxation(0).items() if k not in ("y_relaxed", "pos_relaxed")}
    records = oc20.IS2RE(write_lmdb(tmp_path / "data.lmdb", [as_data(hidden)]))
    assert records[0].y_relaxed is None and records[0].pos_relaxed is None
    with pytest.raises(ValueError, match="test splits hide their labels"):
        oc20.energies(records)


def test_other_processes_read_too(is2re):
    """A spawned one unpickles the data set; a forked one inherits the open file and reopens it."""
    records = oc20.IS2RE(is2re)
    assert records[0].sid == 1000  # the file is open from here on
    assert len(pickle.dumps(records)) < 2000
    assert pickle.loads(pickle.dumps(records))[7].sid == 1007
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.map_async(records.__getitem__, range(12), chunksize=3).get(timeout=120)
    assert [record.sid for record in found] == list(range(1000, 1012))
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork with threads
        child = os.fork()
    if child == 0:
        os.write(writer, str(records[2].sid).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        assert answer.read() == "1002"
    assert os.waitpid(child, 0)[1] == 0
    assert records[3].sid == 1003


def test_two_data_sets_may_read_one_file(is2re):
    one, other = oc20.IS2RE(is2re), oc20.IS2RE(is2re)
    assert one[4].sid == other[4].sid == 1004


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_a_hostile_record_is_refused(tmp_path):
    marker = tmp_path / "run"
    values = [as_data(relaxation(0)), as_data({**relaxation(1), "extra": Hostile(marker)})]
    records = oc20.IS2RE(write_lmdb(tmp_path / "data.lmdb", values))
    assert records[0].sid == 1000
    with pytest.raises(oc20.PickleRefused, match=r"data\.lmdb, key '1' asks for posix\.system"):
        records[1]
    length = {"0": as_data(relaxation(0)), "length": pickle.dumps(Hostile(marker))}
    with pytest.raises(oc20.PickleRefused, match="key 'length'"):
        oc20.IS2RE(write_lmdb(tmp_path / "other.lmdb", length))
    assert not marker.exists()


def test_what_is_no_lmdb(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.lmdb"):
        oc20.IS2RE(tmp_path / "absent.lmdb")
    with pytest.raises(FileNotFoundError, match=r"holds no file \*\.lmdb"):
        oc20.S2EF(tmp_path)
    for content in (b"", b"hello", b"x" * 20000):
        (tmp_path / "data.lmdb").write_bytes(content)
        with pytest.raises(ValueError, match="is no LMDB file"):
            oc20.IS2RE(tmp_path / "data.lmdb")


def test_a_file_that_is_cut_short(is2re, tmp_path):
    cut = tmp_path / "cut.lmdb"
    cut.write_bytes(is2re.read_bytes()[:-8192])
    with pytest.raises(ValueError, match="is cut short"):
        oc20.IS2RE(cut)


def test_records_that_are_missing_or_cut(tmp_path):
    good = as_data(relaxation(0))
    values = {"0": good, "2": good[: len(good) // 2], "3": good, "note": b"", "4": pickle.dumps(3)}
    records = oc20.IS2RE(write_lmdb(tmp_path / "data.lmdb", values))
    with pytest.raises(ValueError, match=r"data\.lmdb has no record '1'"):
        records[1]
    with pytest.raises(ValueError, match=r"data\.lmdb, key '2' cannot be read"):
        records[2]
    with pytest.raises(ValueError, match="holds a int, not a Data object"):
        records[4]
    values = {"0": good, "length": pickle.dumps(7)}
    with pytest.raises(ValueError, match="says that it holds 7 records, but has 1"):
        oc20.IS2RE(write_lmdb(tmp_path / "short.lmdb", values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos": None}, "lacks pos; it has"),
        ({"sid": None}, "lacks sid"),
        ({"tags": torch.zeros(4)}, "does not fit together"),
        ({"cell": torch.zeros(2, 3, 3)}, "does not fit together"),
        ({"pos": torch.full((13, 3), float("nan"))}, "13 rows of 3 finite numbers"),
        ({"pos_relaxed": torch.zeros(12, 3)}, "pos_relaxed has shape"),
        ({"y_relaxed": torch.zeros(2)}, "y_relaxed must be one number, not 2"),
        ({"tags": "many"}, "holds str where numbers belong"),
    ],
)
def test_fields_that_cannot_be(change, message, tmp_path):
    given = {k: v for k, v in {**relaxation(0), **change}.items() if v is not None}
    records = oc20.IS2RE(write_lmdb(tmp_path / "data.lmdb", [as_data(given)]))
    with pytest.raises(ValueError, match=message) as caught:
        records[0]
    assert "data.lmdb, key '0'" in str(caught.value)


def row_of(seed):
    """Return a row as ase-db-backends writes it."""
    slab = adslab(seed)
    slab.calc = SinglePointCalculator(slab, energy=-seed / 3, forces=slab.positions / 8)
    row = AtomsRow(slab)
    kept = {name: row[name] for name in ("numbers", "positions", "cell", "pbc", "tags")}
    kept |= {"energy": -seed / 3, "forces": slab.positions / 8, "unique_id": "a", "ctime": 0.5}
    kept["cell"] = np.asarray(kept["cell"])
    kept["constraints"] = [rule.todict() for rule in slab.constraints]
    kept["key_value_pairs"], kept["data"] = {"sid": 70 + seed}, {"fid": seed, "site": "fcc"}
    return kept


def plain(value):
    """Return the same row without numpy: newer writers make plain lists."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def packed(value):
    return zlib.compress(encode(value).encode())


@pytest.mark.parametrize("written", [lambda row: row, plain])
def test_ase_lmdb(written, tmp_path):
    values = {str(seed): packed(written(row_of(seed))) for seed in (1, 2, 4)}
    values |= {"nextid": packed(5), "deleted_ids": packed([3]), "metadata": packed({"a": 1})}
    write_lmdb(tmp_path / "data.0000.aselmdb", values)
    write_lmdb(
        tmp_path / "data.0001.aselmdb",
        {"1": packed(written(row_of(5))), "nextid": packed(2)},
    )
    rows = oc20.AseLMDB(tmp_path)
    assert len(rows) == 4
    for row, seed in zip(rows, (1, 2, 4, 5), strict=True):
        assert (row.sid, row.fid, row.atoms.info["site"]) == (70 + seed, seed, "fcc")
        assert_is_slab(row.atoms, seed)
        assert row.energy == pytest.approx(-seed / 3, abs=1e-12)
        assert row.forces is not None
        assert np.allclose(row.forces, adslab(seed).positions / 8, atol=1e-12)


def test_ase_lmdb_that_cannot_be(tmp_path, is2re):
    with pytest.raises(ValueError, match="no key 'nextid'"):
        oc20.AseLMDB(is2re)
    spring = {**row_of(1), "constraints": [{"name": "Hookean", "kwargs": {}}]}
    values = {"1": b"damaged", "2": packed([1]), "3": packed(spring), "nextid": packed(5)}
    rows = oc20.AseLMDB(write_lmdb(tmp_path / "data.aselmdb", values))
    for index, message in enumerate(
        ["key '1' is not compressed JSON", "no row of atoms", "Hookean; OC20 has", "no record '4'"]
    ):
        with pytest.raises(ValueError, match=message):
            rows[index]


def write_pair(folder, number, seeds):
    """Write a pair of S2EF's archives, with total energies 100 eV below."""
    slabs = []
    for seed in seeds:
        slab = adslab(seed)
        slab.calc = SinglePointCalculator(slab, energy=-seed / 3 - 100, forces=slab.positions / 8)
        slabs.append(slab)
    folder.mkdir(exist_ok=True)
    plain_file = folder / "plain.extxyz"
    write(plain_file, slabs, format="extxyz")
    with lzma.open(folder / f"{number}.extxyz.xz", "wb") as stream:
        stream.write(plain_file.read_bytes())
    plain_file.unlink()
    lines = "".join(f"random{70 + seed},frame{seed},-100.0\n" for seed in seeds)
    with lzma.open(folder / f"{number}.txt.xz", "wt") as stream:
        stream.write(lines)


def test_pairs_of_s2ef_become_a_random_access_file(tmp_path):
    write_pair(tmp_path / "s2ef", 2, [3, 4])
    write_pair(tmp_path / "s2ef", 10, [5])
    file = oc20.write_aselmdb(oc20.read_frames(tmp_path / "s2ef"), tmp_path / "train.aselmdb")
    frames = oc20.AseLMDB(file)
    assert [frame.fid for frame in frames] == [3, 4, 5]
    for one, direct in zip(frames, oc20.read_frames(tmp_path / "s2ef"), strict=True):
        assert one.sid == direct.sid == 70 + one.fid
        assert one.energy == direct.energy == pytest.approx(-one.fid / 3, abs=1e-6)
        assert np.array_equal(one.forces, direct.forces)
        assert_is_slab(one.atoms, one.fid)
        assert one.atoms == direct.atoms
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s2ef", "train.aselmdb"]
    with pytest.raises(FileExistsError, match="choose another name"):
        oc20.write_aselmdb([], file)


def test_pairs_that_do_not_match(tmp_path):
    with pytest.raises(FileNotFoundError, match="unpacked S2EF archive"):
        list(oc20.read_frames(tmp_path))
    write_pair(tmp_path, 0, [1, 2])
    log, xyz = tmp_path / "0.txt.xz", tmp_path / "0.extxyz.xz"
    for text, message in [
        ("random1,frame1,0\n", "same number of frames"),
        ("a,b\n", "line 1 is 'a,b'"),
    ]:
        log.write_bytes(lzma.compress(text.encode()))
        with pytest.raises(ValueError, match=message):
            list(oc20.read_frames(tmp_path))
    log.write_bytes(lzma.compress(b"random1,frame1,0\n")[:20])
    with pytest.raises(ValueError, match="damaged"):
        list(oc20.read_frames(tmp_path))
    xyz.unlink()
    with pytest.raises(FileNotFoundError, match="no partner"):
        list(oc20.read_frames(tmp_path))


def test_published_constants():
    values = torch.tensor([-10.0, 0.0, 3.0], dtype=torch.float64)
    for scale in (oc20.IS2RE_SCALE, oc20.S2EF_SCALE):
        assert torch.allclose(scale.in_ev(scale.normalized(values)), values, atol=1e-12)
        mean = torch.tensor([scale.mean, scale.mean + scale.std], dtype=torch.float64)
        assert torch.allclose(scale.normalized(mean), torch.tensor([0.0, 1.0]).double())
        slope = scale.normalized(values)[2] - scale.normalized(values)[1]
        assert torch.allclose(scale.normalized_forces(values)[2], slope, atol=1e-12)
    assert oc20.IS2RE_SCALE.mean == -1.525913953781128
    assert oc20.S2EF_SCALE.std == 2.887317180633545


def test_graphs_and_targets_fit_the_training(is2re):
    records = oc20.IS2RE(is2re)
    graphs, energies = oc20.Graphs(records), oc20.energies(records)
    assert len(graphs) == 12 and energies.dtype == torch.float32
    assert torch.allclose(energies, -torch.arange(12.0) / 7)
    one = graphs[1]
    wanted = graph(records[1].atoms, 6.0, 50)
    assert torch.equal(one.edges, wanted.edges) and torch.equal(one.fixed, wanted.fixed)
    assert one.tags.tolist() == [0] * 8 + [1] * 4 + [2]
    assert len(graphs[:3]) == 3
    small = oc20.Graphs(records, cutoff=3.0)
    history = train_is2re(
        SchNet(hidden=8, filters=8, interactions=1, gaussians=8, cutoff=3.0),
        small, energies, epochs=1, batch=6, progress=False,
    )  # fmt: skip
    assert len(history.loss) == 2 and np.isfinite(history.loss).all()


def test_forces_as_targets(tmp_path):
    frames = oc20.S2EF(write_lmdb(tmp_path / "data.lmdb", [as_data(frame(s)) for s in range(2)]))
    assert torch.allclose(oc20.energies(frames), torch.tensor([0.0, -1 / 3]))
    found = oc20.forces(frames)
    assert [tuple(one.shape) for one in found] == [(13, 3), (13, 3)]
    assert torch.allclose(found[1], fields(1)["pos"] / 8, atol=1e-6)
    hidden = {k: v for k, v in frame(0).items() if k not in ("energy", "forces")}
    frames = oc20.S2EF(write_lmdb(tmp_path / "test.lmdb", [as_data(hidden)]))
    with pytest.raises(ValueError, match="no forces"):
        oc20.forces(frames)

"""Reading pickles of data: what is honest comes back whole, what is hostile does nothing."""

import os
import pickle
import sys
import types
import warnings
from collections import OrderedDict
from importlib.resources import files

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import fcc111
from ase.constraints import FixAtoms

from course_lib.electrocatalyst._unpickle import ATOMS, DATA, PickleRefused, load_restricted


pytestmark = pytest.mark.lab70

PROTOCOLS = (2, 3, 4, 5)


class Asks:
    """Pickles into a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def data_of_geometric(**fields):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_geometric.data import Data
    return Data(**fields)


def fields():
    return {
        "pos": torch.arange(12.0).reshape(4, 3),
        "edge_index": torch.arange(10).reshape(2, 5).T[1:].T,  # a view: strides and an offset
        "tags": torch.tensor([0, 1, 1, 2]),
        "mask": torch.tensor([True, False]),
        "half": torch.ones(3, dtype=torch.float16),
        "nothing": torch.empty(0, 3),
        "y_init": np.float64(-1.5),
        "natoms": 4,
        "sid": 17,
        "names": ["a", ("b", 2.5), None],
    }


def assert_fields(found):
    wanted = fields()
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        if isinstance(value, torch.Tensor):
            assert found[name].dtype == value.dtype and torch.equal(found[name], value), name
        else:
            assert found[name] == value, name


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_data_of_geometric_2_comes_back_as_a_dict(protocol):
    assert_fields(load_restricted(pickle.dumps(data_of_geometric(**fields()), protocol), DATA))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_data_of_geometric_1_comes_back_as_a_dict(protocol, monkeypatch):
    class Data:
        pass

    Data.__module__, Data.__qualname__ = "torch_geometric.data.data", "Data"
    module = types.ModuleType("torch_geometric.data.data")
    module.Data = Data
    for name in ("torch_geometric", "torch_geometric.data"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "torch_geometric.data.data", module)
    old = Data()
    old.__dict__ = {"x": None, "face": None, **fields()}
    data = pickle.dumps(old, protocol)
    assert b"_store" not in data
    assert_fields(load_restricted(data, DATA))


def test_geometric_is_not_imported():
    """The stand-ins suffice: reading works where torch_geometric is not installed."""
    data = pickle.dumps(data_of_geometric(**fields()))
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if "torch_geom" in name}
    try:
        load_restricted(data, DATA)
        assert not [name for name in sys.modules if "torch_geom" in name]
    finally:
        sys.modules.update(kept)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_atoms_come_back_equal(protocol):
    slab = fcc111("Cu", (1, 2, 3), vacuum=6)
    slab.set_constraint(FixAtoms([0, 3]))
    slab.set_array("charge", np.linspace(0, 1, 6))
    slab.info["name"] = "slab"
    found = load_restricted(pickle.dumps(slab, protocol))
    assert isinstance(found, Atoms) and found == slab
    assert found.constraints[0].index.tolist() == [0, 3]
    assert np.array_equal(found.get_array("charge"), slab.get_array("charge"))
    assert found.info["name"] == "slab"
    assert type(found.arrays["positions"]) is np.ndarray
    found.positions += 1  # its own, writable


def test_the_adsorbates_of_oc20_come_back_equal():
    data = files("fairchem.data.oc").joinpath("databases/pkls/adsorbates.pkl").read_bytes()
    found, trusted = load_restricted(data), pickle.loads(data)
    assert len(found) == len(trusted) == 86
    for key, (atoms, name, binding, reaction) in trusted.items():
        assert found[key][0] == atoms and found[key][1] == name and found[key][3] == reaction
        assert np.array_equal(found[key][2], binding)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("code", ["?", "i1", ">i4", "<u8", "f4", ">f8", "c16", "U3", "S4"])
def test_arrays_and_scalars_of_every_kind(code, protocol):
    array = np.arange(6).reshape(2, 3).astype(code)
    for wanted in (array, np.asfortranarray(array), array[:0], array[1, 2]):
        found = load_restricted(pickle.dumps(wanted, protocol))
        assert np.array_equal(found, wanted)
        assert np.shape(found) == np.shape(wanted)
        assert found.dtype == wanted.dtype.newbyteorder("=")


def test_names_of_older_numpy():
    data = pickle.dumps([np.arange(3.0), np.float32(2)], 2)
    found = load_restricted(data.replace(b"numpy._core.", b"numpy.core."))
    assert found[0].tolist() == [0, 1, 2] and found[1] == 2


def test_what_is_shared_stays_shared_and_is_built_once():
    array = np.arange(3.0)
    nested = [array, array]
    for _ in range(50):  # 2**50 leaves if each were visited
        nested = [nested, nested]
    found = load_restricted(pickle.dumps(nested))
    while isinstance(found[0], list):
        assert found[0] is found[1]
        found = found[0]
    assert found[0] is found[1] and found[0].tolist() == [0, 1, 2]
    assert load_restricted(pickle.dumps(OrderedDict(b=1, a=2))) == {"b": 1, "a": 2}


def hostile(marker):
    """Pickles that would make the file `marker`, or worse, and what each asks for first."""
    touch = f"touch {marker}"
    write = f"open({str(marker)!r}, 'w')"
    return {
        "os.system": (Asks(os.system, touch), "system"),
        "eval": (Asks(eval, write), "eval"),
        "exec": (Asks(exec, write), "exec"),
        "getattr chain": (Asks(getattr, Asks(__import__, "os"), "system"), "getattr"),
        "import": (Asks(__import__, "antigravity"), "__import__"),
        "torch.load": (Asks(torch.load, str(marker)), "load"),
        "pickle.loads": (Asks(pickle.loads, b"."), "loads"),
        "numpy.load": (Asks(np.load, str(marker)), "load"),
        "inside data": ({"pos": [1, (2, Asks(os.system, touch))]}, "system"),
        "a class": (Asks, "Asks"),
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", sorted(hostile("")))
def test_a_hostile_pickle_is_refused_by_name(name, protocol, tmp_path):
    marker = tmp_path / "run"
    value, asked = hostile(marker)[name]
    data = pickle.dumps(value, protocol)
    with pytest.raises(PickleRefused) as caught:
        load_restricted(data, ATOMS | DATA, where="data.lmdb, key '3'")
    assert caught.value.asked.rpartition(".")[2] == asked
    message = str(caught.value)
    assert message.startswith(f"data.lmdb, key '3' asks for {caught.value.asked}, ")
    assert "nothing was run" in message and "convert" in message
    assert not marker.exists()


def as_called(module, name, *arguments):
    """A pickle that calls `module.name` whatever it is: GLOBAL, arguments, REDUCE."""
    inside = pickle.dumps(arguments, 2)[2:-1]
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + inside + b"R."


def test_a_pickle_inside_a_tensor_is_not_run(tmp_path):
    """PyTorch keeps a tensor's numbers as bytes that its own loader would unpickle freely."""
    marker = tmp_path / "run"
    inner = pickle.dumps(Asks(os.system, f"touch {marker}"))
    with pytest.raises(PickleRefused, match=r"system, which data"):
        load_restricted(as_called("torch.storage", "_load_from_bytes", inner), DATA)
    saved = tmp_path / "saved"
    torch.save(Asks(os.system, f"touch {marker}"), saved)
    with pytest.raises(ValueError, match="cannot be read as a pickle of data"):
        load_restricted(as_called("torch.storage", "_load_from_bytes", saved.read_bytes()), DATA)
    assert not marker.exists()


@pytest.mark.parametrize(
    "kind",
    [
        "bool",
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "complex64",
    ],
)
def test_tensors_of_every_kind(kind):
    tensor = torch.arange(6).to(getattr(torch, kind))
    found = load_restricted(pickle.dumps([tensor, tensor[2:4], tensor[:0]]), DATA)
    assert isinstance(found, list)
    for one, wanted in zip(found, [tensor, tensor[2:4], tensor[:0]], strict=True):
        assert one.dtype == wanted.dtype and torch.equal(one, wanted)


def rebuilt(size, stride, offset):
    """A tensor's pickle with another size, stride or offset than its six numbers allow."""
    data = pickle.dumps(torch.arange(6.0), 2)
    start = data.index(b"K\x00K\x06\x85q")
    end = data.index(b"\x89ccollections", start)
    return (
        data[:start]
        + b"".join(pickle.dumps(part, 2)[2:-1] for part in (offset, size, stride))
        + data[end:]
    )


def test_a_tensor_cannot_reach_beyond_its_numbers():
    assert load_restricted(rebuilt((2, 3), (3, 1), 0), DATA).tolist() == [[0, 1, 2], [3, 4, 5]]
    for size, stride, offset in [
        ((7,), (1,), 0),
        ((3,), (1,), 4),
        ((2,), (-1,), 3),
        ((2,), (9,), 0),
    ]:
        with pytest.raises(ValueError, match="cannot be read"):
            load_restricted(rebuilt(size, stride, offset), DATA)


@pytest.mark.parametrize("code", ["O", "V8", "f8,O", "M8", "f8\n", "O8", ""])
def test_dtypes_that_are_neither_numbers_nor_text_are_refused(code):
    with pytest.raises(ValueError, match="only numbers and text"):
        load_restricted(as_called("numpy", "dtype", code, False, True))


def test_a_forged_dtype_state_changes_nothing():
    """Numpy would believe the flags and sizes in it, and read memory as Python objects."""
    forged = as_called("numpy", "dtype", "f8", False, True)[:-1]
    state = pickle.dumps((3, "<", None, ("a",), {"a": 1}, 4096, 8, 63), 2)[2:-1]
    assert load_restricted(forged + state + b"b.") == np.dtype("f8")


def test_an_array_cannot_be_larger_than_its_bytes():
    data = pickle.dumps(np.arange(4.0), 2)
    assert b"K\x04\x85" in data
    with pytest.raises(ValueError, match="buffer is too small"):
        load_restricted(data.replace(b"K\x04\x85", b"K\x40\x85"))


def test_the_stand_ins_cannot_be_changed_by_a_file():
    """BUILD on a class or with slots would set attributes for all files read later."""
    poison = b"\x80\x02cnumpy\ndtype\nN}X\x05\x00\x00\x00buildK\x01s\x86b."
    with pytest.raises(ValueError, match="cannot be read"):
        load_restricted(poison)
    assert load_restricted(pickle.dumps(np.arange(3))).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "data", [b"", b"no pickle", b"\x80\x04.", b"\x80\x02]q\x00h\x05.", b"\x80\x02U\x01aQ."]
)
def test_what_is_no_pickle_is_a_value_error(data):
    with pytest.raises(ValueError, match=r"^atoms\.pkl cannot be read as a pickle of data"):
        load_restricted(data, where="atoms.pkl")


def test_a_cut_pickle_is_a_value_error():
    data = pickle.dumps(data_of_geometric(**fields()))
    for length in range(1, len(data), 97):
        with pytest.raises(ValueError, match="cannot be read"):
            load_restricted(data[:length], DATA)


def test_only_what_is_allowed():
    with pytest.raises(PickleRefused, match="numpy._core.multiarray"):
        load_restricted(pickle.dumps(np.arange(3)), frozenset())
    with pytest.raises(PickleRefused, match="torch"):
        load_restricted(pickle.dumps(torch.ones(2)), ATOMS)
    with pytest.raises(ValueError, match="pairs of ATOMS and DATA"):
        load_restricted(b"N.", frozenset({("os", "system")}))


def test_atoms_with_a_calculator_say_what_to_do():
    atoms = Atoms("H")
    atoms.calc = {"energy": 1.0}  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="save them without one"):
        load_restricted(pickle.dumps(atoms))

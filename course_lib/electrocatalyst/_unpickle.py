"""Read a pickle without running anything that it asks for.

A pickle is a little program: it names functions and has them called, which is how a file of
data can delete a home folder. Here a name stands for a `_Call`, an inert record of what was asked.
Names outside a short list are refused. Once the program has ended, the records are turned
into arrays, tensors and atoms by the code below, which checks shapes and bounds. Numpy's and
PyTorch's own loaders are never called with a file's words: a crafted dtype or a nested pickle
would get through them. What is not held off is a file made to use up memory or time.
"""

import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np


class PickleRefused(ValueError):
    """A pickle asks for something that its format has no need of; `asked` is its dotted name."""

    def __init__(self, asked: str, where: str) -> None:
        super().__init__(
            f"{where} asks for {asked}, which data of this kind never need, "
            "so it was not read and nothing was run. If you trust who made the file, "
            "convert it to ASE-LMDB with that program, where it was made."
        )
        self.asked = asked


class _Asked(Exception):
    """A name that is not allowed."""

    def __init__(self, module: str, name: str) -> None:
        super().__init__(f"{module}.{name}")


class _Call:
    """What a pickle wanted to have made: the arguments and the state, untouched."""

    __slots__ = ("args", "state")
    build: Callable[["_Call", Callable], Any]

    def __new__(cls, *args: Any) -> "_Call":
        self = super().__new__(cls)
        self.args, self.state = args, None
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _dtype(call: _Call, build: Callable) -> np.dtype:
    code, order = call.args[0], (call.state or (3, "="))[1]
    if not re.fullmatch(r"[?biufcSU]\d{0,6}", code):
        raise ValueError(f"it holds an array of type {code!r}; only numbers and text are read")
    return np.dtype(code).newbyteorder(order)


def _array(call: _Call, build: Callable) -> np.ndarray:
    _, shape, dtype, fortran, raw = build(call.state)
    return _filled(shape, dtype, raw, "F" if fortran else "C")


def _from_buffer(call: _Call, build: Callable) -> np.ndarray:
    raw, dtype, shape, order = build(call.args)
    return _filled(shape, dtype, raw, order)


def _filled(shape: tuple, dtype: np.dtype, raw: bytes | bytearray, order: Any) -> np.ndarray:
    view = np.ndarray(shape, dtype, buffer=raw, order=order)
    return view.astype(dtype.newbyteorder("="), order="C")


def _scalar(call: _Call, build: Callable) -> np.generic:
    dtype, raw = build(call.args)
    return _filled((1,), dtype, raw, "C")[0]


def _encoded(call: _Call, build: Callable) -> bytes:
    text, code = call.args
    if code != "latin1":
        raise ValueError(f"it encodes text as {code!r}; only latin1 stands for bytes")
    return text.encode("latin1")


class _Storage(pickle.Unpickler):
    """The pickles at the start of a saved storage: which numbers follow, and how many."""

    def find_class(self, module: str, name: str) -> Any:
        if module != "torch" or name not in _STORAGES:
            raise _Asked(module, name)
        return _STORAGES[name]

    def persistent_load(self, pid: Any) -> Any:
        return pid


_STORAGES = {
    "BFloat16Storage": "bfloat16",
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "ShortStorage": "int16",
}


def _storage(call: _Call, build: Callable) -> Any:
    """Return all numbers of a storage, in the layout that torch.save had before PyTorch 1.6.

    PyTorch still uses it inside pickles: a magic number, the version, facts of the machine, the
    storage, its keys; then the count as eight bytes, and the numbers themselves.
    """
    import torch

    stream = io.BytesIO(build(call.args[0]))
    _, _, machine, (_, kind, _, _, count, view), _ = (_Storage(stream).load() for _ in range(5))
    if not machine["little_endian"] or view is not None:
        raise ValueError("it holds a tensor in a layout of another machine or of PyTorch 0.3")
    if stream.read(8) != count.to_bytes(8, "little"):
        raise ValueError("it holds a tensor that contradicts itself about its size")
    dtype = getattr(torch, kind)
    if count == 0:
        return torch.empty(0, dtype=dtype)
    return torch.frombuffer(bytearray(stream.read()), dtype=dtype, count=count)


def _tensor(call: _Call, build: Callable) -> Any:
    flat, offset, size, stride = build(call.args[:4])
    return flat.as_strided(size, stride, offset)  # PyTorch checks the bounds


def _cell(call: _Call, build: Callable) -> Any:
    from ase.cell import Cell

    return Cell(build(call.state)["array"])


def _fixed(call: _Call, build: Callable) -> Any:
    from ase.constraints import FixAtoms

    return FixAtoms(indices=build(call.state)["index"])


def _atoms(call: _Call, build: Callable) -> Any:
    from ase import Atoms

    state = dict(call.state)
    if state.get("_calc") is not None:
        raise ValueError("its atoms carry a calculator; save them without one")
    arrays = build(state["arrays"])
    atoms = Atoms(
        arrays.pop("numbers"),
        positions=arrays.pop("positions"),
        cell=build(state["_cellobj"]),
        pbc=build(state["_pbc"]),
        constraint=build(state.get("_constraints", [])),
        info=build(state.get("info", {})),
    )
    for name, values in arrays.items():
        atoms.set_array(name, values)
    return atoms


def _mapping(call: _Call, build: Callable) -> dict[str, Any]:
    """Return the fields of torch_geometric's Data: its 1.x kept them itself, 2.x in a storage."""
    state = call.state
    if "_store" in state:
        state = state["_store"].state["_mapping"]
    return {name: build(value) for name, value in state.items() if value is not None}


def _empty(call: _Call, build: Callable) -> bytes:
    return b""


def _nothing(call: _Call, build: Callable) -> None:
    return None


_NUMPY = {
    (f"numpy.{core}.{module}", name): build
    for core in ("core", "_core")
    for module, name, build in (
        ("multiarray", "_reconstruct", _array),
        ("multiarray", "scalar", _scalar),
        ("numeric", "_frombuffer", _from_buffer),
    )
} | {
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): _nothing,
    ("_codecs", "encode"): _encoded,
    ("__builtin__", "bytes"): _empty,  # what protocol 2 writes for no bytes at all
}
_ASE = {
    ("ase.atoms", "Atoms"): _atoms,
    ("ase.cell", "Cell"): _cell,
    ("ase.constraints", "FixAtoms"): _fixed,
    ("ase.constraints.fix_atoms", "FixAtoms"): _fixed,
}
_TORCH = {
    ("torch.storage", "_load_from_bytes"): _storage,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch_geometric.data.data", "Data"): _mapping,
    ("torch_geometric.data.data", "DataEdgeAttr"): _nothing,
    ("torch_geometric.data.data", "DataTensorAttr"): _nothing,
    ("torch_geometric.data.storage", "GlobalStorage"): _nothing,
}
_STAND_INS = {
    pair: type(pair[1], (_Call,), {"__slots__": (), "build": staticmethod(build)})
    for pair, build in (_NUMPY | _ASE | _TORCH).items()
}
_ORDERED = ("collections", "OrderedDict")

ATOMS = frozenset({*_NUMPY, *_ASE, _ORDERED})  # ase.Atoms with FixAtoms, numpy arrays
DATA = frozenset({*_NUMPY, *_TORCH, _ORDERED})  # torch_geometric's Data, tensors, numpy arrays


class _Reader(pickle.Unpickler):
    def __init__(self, data: bytes, allowed: frozenset[tuple[str, str]]) -> None:
        super().__init__(io.BytesIO(data))
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise _Asked(module, name)
        return OrderedDict if (module, name) == _ORDERED else _STAND_INS[module, name]


def load_restricted(
    data: bytes, allowed: frozenset[tuple[str, str]] = ATOMS, *, where: str = "the pickle"
) -> object:
    """Return what a pickle holds; it may name only `allowed`: ATOMS, DATA or a part of them.

    Data of torch_geometric come back as a dict of their fields. `where` names the file in errors:
    PickleRefused for a name that is not allowed, ValueError for a damaged or malformed pickle.
    """
    if unknown := allowed - ATOMS - DATA:
        raise ValueError(f"allowed holds {sorted(unknown)}; it takes pairs of ATOMS and DATA")
    built: dict[int, tuple[Any, Any]] = {}  # the value is kept so that its id stays its own

    def build(value: Any) -> Any:
        if id(value) in built:
            return built[id(value)][1]
        if isinstance(value, _Call):
            result = type(value).build(value, build)
        elif isinstance(value, dict):
            result = {build(key): build(inner) for key, inner in dict.items(value)}
        elif isinstance(value, (list, tuple, set, frozenset)):
            result = type(value)(build(inner) for inner in value)
        else:
            return value
        built[id(value)] = value, result
        return result

    try:
        return build(_Reader(data, allowed).load())
    except _Asked as error:
        raise PickleRefused(str(error), where) from None
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{where} needs {error.name}: pip install "small-memory[chem]"', name=error.name
        ) from error
    except (
        ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RuntimeError,
        TypeError, ValueError, pickle.UnpicklingError,
    ) as error:  # fmt: skip
        raise ValueError(f"{where} cannot be read as a pickle of data: {error}") from error

"""OC20's own LMDB layout: pickled Data of torch_geometric, numbered from 0.

The layout is that of fairchem's `lmdb_dataset.py` up to April 2025: keys are decimal numbers; a key
"length" may hold the count. The pickles are read by the restricted unpickler, which neither needs
torch_geometric nor runs anything; there is no way around it here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from course_lib.electrocatalyst._unpickle import DATA, load_restricted
from course_lib.electrocatalyst.oc20._lmdb import Records, environment, get
from course_lib.electrocatalyst.oc20._records import OC20Frame, OC20Record, frame_of, record_of


class _Pickled(Records):
    def keys_of(self, file: Path) -> Sequence[int]:
        """Return 0, 1, …: as many as "length" says, or else as there are keys."""
        entries = environment(file).stat()["entries"]
        length = get(file, "length")
        if length is None:
            return range(entries)
        count = load_restricted(length, frozenset(), where=f"{file}, key 'length'")
        if not isinstance(count, int) or not 0 <= count <= entries - 1:
            raise ValueError(
                f"{file} says that it holds {count} records, but has {entries - 1}; "
                "it is incomplete: unpack it again."
            )
        return range(count)

    def fields(self, data: bytes, where: str) -> dict[str, Any]:
        """Return the fields of the Data object."""
        fields = load_restricted(data, DATA, where=where)
        if not isinstance(fields, dict):
            raise ValueError(f"{where} holds a {type(fields).__name__}, not a Data object.")
        return fields


class IS2RE(_Pickled):
    """The relaxations of one split of IS2RE / IS2RS: an LMDB file or a folder of them.

    A sequence of OC20Record. Raises PickleRefused for a pickle that asks for more than data, and
    ValueError, which names file and key, for what is damaged or incomplete.
    """

    def decode(self, data: bytes, where: str) -> OC20Record:
        """Return the relaxation."""
        return record_of(self.fields(data, where), where)


class S2EF(_Pickled):
    """The frames of one split of S2EF: a folder of LMDB files, or one file.

    A sequence of OC20Frame; errors as for IS2RE.
    """

    def decode(self, data: bytes, where: str) -> OC20Frame:
        """Return the frame."""
        return frame_of(self.fields(data, where), where)

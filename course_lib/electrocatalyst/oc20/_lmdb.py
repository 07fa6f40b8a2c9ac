"""LMDB files, opened for reading: numbered records of bytes, in one file or in a folder of files.

One process may open an LMDB file once, and a forked process must open it again: `environment`
sees to both. Nothing is locked, so several processes and read-only folders are fine.
"""

import os
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, overload


_opened: dict[Path, tuple[tuple[int, ...], Any]] = {}


def environment(file: Path) -> Any:
    """Return the open lmdb.Environment of `file` in this process.

    Raises FileNotFoundError, or ValueError for a file that is no LMDB or is cut short.
    """
    try:
        facts = file.stat()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There is no file {file}; oc20.download and oc20.unpack bring the official ones."
        ) from error
    stamp = (os.getpid(), facts.st_ino, facts.st_size, facts.st_mtime_ns)
    known, env = _opened.get(file, (None, None))
    if known == stamp:
        return env
    if env is not None:
        env.close()
    _opened.pop(file, None)
    env = _open(file)
    _opened[file] = stamp, env
    return env


def _open(file: Path) -> Any:
    try:
        import lmdb
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'Reading OC20 needs lmdb: pip install "small-memory[chem]"', name=error.name
        ) from error
    try:
        env = lmdb.open(
            str(file), subdir=False, readonly=True, lock=False, meminit=False, create=False
        )
    except lmdb.Error as error:
        raise ValueError(
            f"{file} is no LMDB file ({error}); give a .lmdb file, or the folder that holds some."
        ) from error
    # A read past the end of a file that is cut short would end the whole process.
    wanted = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if file.stat().st_size < wanted:
        env.close()
        raise ValueError(
            f"{file} is cut short: {file.stat().st_size:,} of {wanted:,} bytes; unpack it again."
        )
    return env


def get(file: Path, key: str) -> bytes | None:
    """Return the bytes under `key`, or None."""
    with environment(file).begin() as transaction:
        return transaction.get(key.encode("ascii"))


def files_of(path: Path, suffix: str) -> list[Path]:
    """Return the file `path`, or the files of the folder `path` that end in `suffix`, sorted."""
    path = path.resolve()
    if not path.is_dir():
        return [path]
    if files := sorted(path.glob(f"*{suffix}")):
        return files
    raise FileNotFoundError(
        f"The folder {path} holds no file *{suffix}; give the folder of one split, such as 'train'."
    )


class Records(Sequence):
    """A sequence over numbered records of LMDB files; a subclass says how to count and to decode.

    It holds paths and numbers only, so it is cheap to send to other processes.
    """

    suffix = ".lmdb"

    def __init__(self, path: str | Path) -> None:
        """Open `path`, a file or a folder of files; read by index from 0."""
        self.files = files_of(Path(path), self.suffix)
        self._keys = [self.keys_of(file) for file in self.files]
        self._ends = list(accumulate(map(len, self._keys)))

    @abstractmethod
    def keys_of(self, file: Path) -> Sequence[int]:
        """Return the numbers of the records in `file`."""

    @abstractmethod
    def decode(self, data: bytes, where: str) -> Any:
        """Return the record that `data` are; `where` names it in errors."""

    def __len__(self) -> int:
        return self._ends[-1]

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"There is no record {index}; there are {len(self)}, from 0 on.")
        index %= len(self)
        at = bisect_right(self._ends, index)
        file, keys = self.files[at], self._keys[at]
        key = str(keys[index - self._ends[at]])  # counted from the end of the file's keys
        data = get(file, key)
        if data is None:
            raise ValueError(f"{file} has no record {key!r}; it is incomplete: unpack it again.")
        return self.decode(data, f"{file}, key {key!r}")

"""`sweep`: one experiment, many settings, one table."""

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_lib.sweep import _local
from course_lib.sweep._folder import Folder, fingerprint
from course_lib.sweep._plain import plain_items
from course_lib.sweep._progress import Progress
from course_lib.sweep._run import Outcome, Setting, last_line


if TYPE_CHECKING:
    import pandas

ENGINES = ("local", "ray")


@dataclass(frozen=True, repr=False)
class Sweep:
    """What a sweep left behind, in the order of the settings.

    `table`: one line per row of a result; first the columns of the settings, then of the results.
    `failed`: one line per failed run; the columns of the settings, then "error".
    """

    table: "pandas.DataFrame"
    failed: "pandas.DataFrame"

    def __repr__(self) -> str:
        return f"Sweep: {len(self.table)} rows in .table, {len(self.failed)} runs in .failed"


def grid(**axes: Iterable[Any]) -> list[Setting]:
    """Return every combination of the axes as a dict; the last axis changes fastest."""
    for name, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise TypeError(f"The axis {name} is {values!r}; give a list: {name}=[{values!r}].")
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def sweep(
    experiment: Callable[..., Any],
    settings: Iterable[Mapping[str, Any]],
    *,
    folder: str | Path | None = None,
    engine: str = "local",
    workers: int | None = None,
    threads: int = 1,
    progress: bool = True,
) -> Sweep:
    """Call `experiment(**setting)` for each setting, each run in another process.

    An experiment returns a dict, one row, or a list of dicts, several rows, of values that JSON
    can hold. It seeds what it draws: runs share processes, and their order is not fixed.
    `folder` keeps each finished run in a file of its own, so that a second call, also after Ctrl-C,
    runs only what is missing or failed. A file is known by the experiment's qualified name and
    its setting, not by its code: after a change of the code take another folder.
    `engine`: "local" for processes of this machine. "ray" for the cluster that `RAY_ADDRESS`
    names, where course_lib must be installed too; without one, for a Ray that starts here and
    ends with the sweep. A Ray that you started with `ray.init` is used as it is.
    `workers`: at most so many runs at once; None for as many as the CPUs carry.
    `threads`: threads of torch in each run, and the CPUs that Ray reserves for it.
    An error in a run, or the death of its process, fails that run only. What runs print is not
    shown; to see it, call the experiment with one setting.
    Raises ValueError or TypeError for settings that cannot work, ImportError without Ray.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine is '{engine}'; choose one of: {', '.join(ENGINES)}.")
    for name, value in (("workers", workers), ("threads", threads)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; take at least 1.")
    if isinstance(settings, Mapping):
        raise TypeError("settings is one dict; give a list of them, as grid(...) makes it.")
    given = [dict(setting) for setting in settings]
    if not given:
        raise ValueError("settings is empty: there is nothing to run.")
    known = _checked(given)
    _check_experiment(experiment, given)
    taken = frozenset(name for setting in known for name in setting)
    kept = None if folder is None else Folder(Path(folder), _name(experiment))
    found: dict[int, Outcome] = {}
    if kept is not None:
        loaded = {number: kept.load(setting) for number, setting in enumerate(known)}
        found = {n: Outcome(rows=rows) for n, rows in loaded.items() if rows is not None}
    missing = {n: setting for n, setting in enumerate(given) if n not in found}
    if progress and found:
        print(f"{len(found)} of {len(given)} runs were finished before.")
    if missing:
        run_all = _local.outcomes
        if engine == "ray":
            from course_lib.sweep import _ray

            run_all = _ray.outcomes
        with (
            Progress(len(missing), shown=progress) as bar,
            closing(run_all(experiment, missing, taken, workers, threads)) as outcomes,
        ):
            for number, outcome in outcomes:
                found[number] = outcome
                if kept is not None and outcome.rows is not None:
                    kept.save(known[number], outcome.rows)
                bar.step(failed=outcome.rows is None)
    return _gather(known, [found[number] for number in range(len(known))])


def _checked(settings: list[Setting]) -> list[Setting]:
    """Return the settings in plain values; refuse what cannot be kept or told apart."""
    known, seen = [], {}
    for number, setting in enumerate(settings):
        try:
            known.append(plain_items(setting, f"Setting {number}"))
        except TypeError as error:
            raise ValueError(str(error)) from error
        if "error" in setting:
            raise ValueError(
                f"Setting {number} has the key 'error', the column of failures: rename it."
            )
        first = seen.setdefault(fingerprint(known[-1]), number)
        if first != number:
            raise ValueError(f"Settings {first} and {number} are the same: {known[-1]}.")
    return known


def _check_experiment(experiment: Callable[..., Any], settings: list[Setting]) -> None:
    """Refuse what cannot be called with the settings, or cannot travel to another process."""
    from joblib.externals.loky.backend.reduction import dumps

    for number, setting in enumerate(settings):
        try:
            inspect.signature(experiment).bind(**setting)
        except TypeError as error:
            raise TypeError(f"Setting {number} does not fit the experiment: {error}.") from error
    try:
        dumps(experiment)
    except Exception as error:  # any object may refuse in any way
        raise TypeError(
            f"The experiment cannot be sent to another process: {last_line(error)}. "
            "Make inside it what it needs, such as open files and locks."
        ) from error


def _name(experiment: Callable[..., Any]) -> str:
    name = getattr(experiment, "__qualname__", None)
    if name is None or "<lambda>" in name:
        raise ValueError(
            "Files are known by the name of the experiment, and this one has none. "
            "Define it with `def`, or leave out `folder`."
        )
    return f"{experiment.__module__}.{name}"


def _gather(settings: list[Setting], outcomes: list[Outcome]) -> Sweep:
    import pandas

    rows, failed = [], []
    for setting, outcome in zip(settings, outcomes, strict=True):
        if outcome.rows is None:
            failed.append({**setting, "error": outcome.error})
        else:
            rows += [{**setting, **row} for row in outcome.rows]
    names = dict.fromkeys(name for setting in settings for name in setting)
    columns = list(names | dict.fromkeys(name for row in rows for name in row))
    return Sweep(
        table=pandas.DataFrame(rows, columns=columns),
        failed=pandas.DataFrame(failed, columns=[*names, "error"]),
    )

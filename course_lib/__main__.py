"""The verbs of the course: `python -m course_lib VERB`, or `make VERB`.

Every verb first makes sure that the environment is ready, then runs inside it.
A bare Python is enough to start: this file imports only the standard library.
"""

import argparse
import contextlib
import os
import subprocess
import sys
from pathlib import Path

from course_lib import _environment
from course_lib._files import write_text
from course_lib._paths import repo_root


def lab(arguments: argparse.Namespace) -> int:
    """Fetch what the labs need and open JupyterLab on the first one."""
    from course_lib import _serve, assets

    assets.fetch()
    return _serve.jupyterlab(_root(), browser=not arguments.no_browser)


def setup(_: argparse.Namespace) -> int:
    """Make the environment and fetch the assets of the labs."""
    from course_lib import assets

    assets.fetch()
    print("Ready. Next: make lab")
    return 0


def fetch(arguments: argparse.Namespace) -> int:
    """Fetch and verify assets by name (all that the labs need when no name is given)."""
    from course_lib import assets

    assets.fetch(arguments.names or None)
    return 0


def doctor(_: argparse.Namespace) -> int:
    """Say what this machine has and what it lacks."""
    from course_lib.lab.doctor import main

    return main()


def test(arguments: argparse.Namespace) -> int:
    """Run all tests: library, labs, journeys, gates."""
    from course_lib import assets

    assets.fetch()
    return _run("pytest", *arguments.options)


def notebooks(arguments: argparse.Namespace) -> int:
    """Build and execute the notebooks whose source or technique changed."""
    from course_lib.lab import build

    build.build(arguments.names or None, force=arguments.force)
    return 0


def check(_: argparse.Namespace) -> int:
    """Check the style of the code and the rules of the house."""
    steps = (
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("pyright",),
        ("pytest", "tests/gates"),
    )
    return max([_run(*step) for step in steps])


def claims(_: argparse.Namespace) -> int:
    """Run every lab afresh and print one table: paper, here, verdict."""
    from course_lib.lab import build
    from course_lib.lab.claims import gather_claims

    print(gather_claims(build.run_for_claims()).to_string(index=False))
    return 0


def bench(arguments: argparse.Namespace) -> int:
    """Time each technique against its plain alternative, interleaved; write JSON."""
    from course_lib import _bench

    return _bench.main(_root() / "build" / "bench.json", rounds=arguments.rounds)


def book(_: argparse.Namespace) -> int:
    """Write the labs as web pages into build/book."""
    from course_lib import _book

    print(f"open {_book.main(_root())}")
    return 0


def release(_: argparse.Namespace) -> int:
    """Write the labs as an nbgrader course into build/release, for classes."""
    from course_lib.lab.release import release as write

    folder = write(_root())
    print(f"nbgrader course in {folder}; next, in that folder: nbgrader generate_assignment LAB")
    return 0


def lock(_: argparse.Namespace) -> int:
    """Write requirements.lock anew from pyproject.toml (needs `uv`)."""
    head = (
        "# Exact versions that passed the tests. "
        "Generated from pyproject.toml by: python -m course_lib lock\n"
    )
    command = ["uv", "pip", "compile", "pyproject.toml", "--extra", "dev"]
    command += ["--extra", "chem", "--universal", "--no-header", "--no-annotate", "--quiet"]
    made = subprocess.run(command, cwd=_root(), stdout=subprocess.PIPE, text=True, check=True)
    write_text(_root() / "requirements.lock", head + made.stdout)
    return 0


def clean(_: argparse.Namespace) -> int:
    """Remove what can be made again (build/, caches of tools); keep progress and assets."""
    import shutil

    for name in ("build", "dist", ".pytest_cache", ".ruff_cache", ".hypothesis"):
        shutil.rmtree(_root() / name, ignore_errors=True)
    return 0


VERBS = (
    lab,
    test,
    notebooks,
    check,
    claims,
    bench,
    book,
    release,
    clean,
    setup,
    fetch,
    doctor,
    lock,
)
BARE = (clean, lock)  # need no environment
PATIENCE = 10.0  # seconds that a command has to end after Ctrl-C


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, enter the environment, run the verb."""
    argv = sys.argv[1:] if argv is None else argv
    # Torch's threads spin while they wait, and hold up the ones that work when a core is missing.
    # Few turns shorten a step beside a busy program, and lengthen it a little on a quiet machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    arguments, rest = _parser().parse_known_args(argv)
    if rest and arguments.verb is not test:
        _parser().error(f"unknown: {' '.join(rest)}")
    arguments.options = rest
    if arguments.verb not in BARE:
        try:
            python = _environment.ensure(_root())
        except _environment.SetupError as problem:
            print(problem, file=sys.stderr)
            return 1
        if Path(sys.prefix).resolve() != python.parent.parent.resolve():
            return _enter(python, argv)
    try:
        return arguments.verb(arguments)
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m course_lib", description="Small Memory")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    made = {}
    for verb in VERBS:
        made[verb] = verbs.add_parser(verb.__name__, help=verb.__doc__, description=verb.__doc__)
        made[verb].set_defaults(verb=verb)
    made[lab].add_argument("--no-browser", action="store_true", help="only print the address")
    made[notebooks].add_argument("names", nargs="*", help="for example 10_mobiletl; default: all")
    made[notebooks].add_argument("--force", action="store_true", help="also those unchanged")
    made[fetch].add_argument("names", nargs="*", help="for example openmoji; default: all")
    made[bench].add_argument("--rounds", type=int, default=31, help="interleaved rounds")
    return parser


def _root() -> Path:
    root = repo_root()
    if root is None:
        raise SystemExit("This verb works on a checkout of the course; clone the repository first.")
    return root


def _enter(python: Path, argv: list[str]) -> int:
    """Run the same verb inside the environment; return its exit status."""
    inside = subprocess.Popen([python, "-m", "course_lib", *argv], cwd=_root())
    while True:
        try:
            return inside.wait()
        except KeyboardInterrupt:
            continue  # Ctrl-C reaches the verb as well, which ends in its own way


def _run(*command: str) -> int:
    """Run a Python module of the environment in the checkout; return its exit status."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    running = subprocess.Popen([sys.executable, "-m", *command], cwd=_root(), env=environment)
    try:
        return running.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            running.wait(PATIENCE)  # it got the Ctrl-C too: time to end what it started
        running.terminate()
        return running.wait()


if __name__ == "__main__":
    sys.exit(main())

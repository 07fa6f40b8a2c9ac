"""Rules for every file that git holds."""

import os
import re
import subprocess
import sys
from urllib.parse import urlparse

import pytest
from house import ROOT, assert_none, at, tracked_files


LARGEST = 2_000_000  # bytes
# In pieces, so that this file does not hold what it looks for.
PLACES = [
    "/" + "work/",
    "/" + "root/",
    "/" + "home/" + r"[a-z]",
    "/" + "Users/",
    r"[A-Z]:\\" + "Users",
]
HOSTS = ["pypi" + r"\.org", "pythonhosted" + r"\.org", "npmjs" + r"\.org", "deb.debian" + r"\.org"]
OPTIONS = ["--index" + "-url", "--extra-index" + "-url", "--find" + "-links"]
FORBIDDEN = re.compile(rf"(?<![\w.~])(?:{'|'.join(PLACES)})|{'|'.join(HOSTS + OPTIONS)}")


def own_index() -> list[str]:
    """The hosts from which pip installs on this machine; none of them belongs into a file."""
    made = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
    )
    found = re.findall(r"https?://[^\s'\"]+", made.stdout)
    found += [os.environ.get(name, "") for name in ("PIP_INDEX_URL", "UV_INDEX_URL")]
    hosts = {urlparse(url).hostname for url in found if url}
    return sorted(host for host in hosts if host and host not in ("localhost", "127.0.0.1"))


def text_of(path) -> str | None:
    """The text of a file, or None for a picture or another binary."""
    data = path.read_bytes()
    if b"\0" in data[:4096]:
        return None
    return data.decode("utf-8")


def test_no_machine_and_no_registry_is_named():
    hosts = own_index()
    offenders = []
    for path in tracked_files():
        for number, line in enumerate((text_of(path) or "").splitlines(), 1):
            if "base64," in line:
                line = re.sub(r"base64,[\w+/=]+", "", line)
            found = FORBIDDEN.search(line)
            if found or any(host in line for host in hosts):
                offenders.append(f"{at(path, number)}: {line.strip()[:120]}")
    assert_none(offenders, "A file names a place of one machine, or a package registry:")


def test_files_are_small():
    offenders = [
        f"{at(p)}: {size}" for p in tracked_files() if (size := p.stat().st_size) > LARGEST
    ]
    assert_none(offenders, f"Above {LARGEST} bytes a file belongs into the assets:")


def test_nothing_made_is_kept():
    made = re.compile(r"(^|/)(build|dist|__pycache__|\.ipynb_checkpoints|\.venv)/|\.(pyc|part)$")
    kept = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    offenders = [name for name in kept.splitlines() if made.search(name)]
    offenders = [name for name in offenders if not name.startswith("course_lib/lab/build/")]
    assert_none(offenders, "Git holds files that a command makes:")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("see " + "/ro" + "ot/x", True),
        ("https://pypi" + ".org/simple", True),
        ("pip install --index" + "-url x", True),
        ("https://example.org/work/x", False),
        ("tests/work/x", False),
        ("~/.cache/small-memory", False),
    ],
)
def test_the_gate_itself(line, found):
    assert bool(FORBIDDEN.search(line)) == found

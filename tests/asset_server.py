"""A package index on 127.0.0.1 that serves one toy wheel, well or badly."""

import hashlib
import io
import os
import random
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


WHEEL = "toy_asset-1.0-py3-none-any.whl"
METADATA = b"Metadata-Version: 2.1\nName: toy-asset\nVersion: 1.0\n"


def toy_wheel(size: int = 2 * 2**20) -> bytes:
    """Return a valid wheel of a little more than `size` bytes that do not compress."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("toy_asset/data.bin", random.Random(0).randbytes(size))
        archive.writestr("toy_asset-1.0.dist-info/METADATA", METADATA)
        archive.writestr("toy_asset-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("toy_asset-1.0.dist-info/RECORD", "")
    return body.getvalue()


def write_manifest(folder: Path, body: bytes) -> Path:
    """Write an assets.toml that knows only the toy; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "assets.toml").write_text(
        '[toy]\nkind = "pictures"\nversion = "1.0"\nlicense = "CC0"\norigin = "the tests"\n'
        f'labs = ["00"]\nfile = "{WHEEL}"\nsha256 = "{hashlib.sha256(body).hexdigest()}"\n'
        f'size = {len(body)}\nsources = [{{ wheel = "toy-asset==1.0" }}]\n'
    )
    return folder


class Index(ThreadingHTTPServer):
    """The server; its attributes say how it misbehaves, `ranges` what it was asked for."""

    daemon_threads = True

    def __init__(self, body: bytes):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body = body
        self.ranges: list[
            str | None
        ] = []  # Range header of each request for the wheel, pip's aside
        self.obeys_range = True
        self.pause = 0.0  # seconds after each 64 KiB
        self.cuts: list[int] = []  # the next answers stop after so many bytes
        self.codes: list[int] = []  # the next answers have these status codes
        self.login = ""  # "Basic …" that the wheel asks for

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def wheel(self) -> str:
        return f"{self.root}/files/{WHEEL}"

    def handle_error(self, request, client_address):
        """Say nothing: clients are killed on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: Index

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        if self.path.startswith("/simple/toy-asset"):
            digest = hashlib.sha256(METADATA).hexdigest()
            link = f'<a href="/files/{WHEEL}" data-core-metadata="sha256={digest}" '
            link += f'data-dist-info-metadata="sha256={digest}">{WHEEL}</a>'
            self._answer(f"<!DOCTYPE html><html><body>{link}</body></html>".encode(), "text/html")
        elif self.path.endswith(".metadata"):
            self._answer(METADATA, "text/plain")
        elif self.path == f"/files/{WHEEL}":
            self._wheel()
        else:
            self.send_error(404)

    def _answer(self, body: bytes, kind: str):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _wheel(self):
        server, asked = self.server, self.headers.get("Range")
        if not self.headers.get("User-Agent", "").startswith("pip/"):
            server.ranges.append(asked)
        if server.login and self.headers.get("Authorization") != server.login:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="toys"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if server.codes:
            self.send_error(server.codes.pop(0))
            return
        start, total = 0, len(server.body)
        if asked and server.obeys_range:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start >= total:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Length", str(total - start))
        self.end_headers()
        stop = min(total, start + server.cuts.pop(0)) if server.cuts else total
        for at in range(start, stop, 65536):
            self.wfile.write(server.body[at : min(at + 65536, stop)])
            time.sleep(server.pause)


@contextmanager
def serving(body: bytes):
    """Run an Index in a thread and close it at the end."""
    server = Index(body)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


FETCH = """
import sys
from pathlib import Path
from course_lib.assets import _download, _manifest, fetch
_manifest.data_dir = lambda: Path(sys.argv[1])
_download._address = lambda requirement: sys.argv[2]
fetch(["toy"], progress=False)
"""


def fetcher(data: Path, url: str, cache: Path) -> subprocess.Popen:
    """Start another process that fetches the toy from `url` into `cache`."""
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, str(data), url],
        env={**os.environ, "COURSE_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

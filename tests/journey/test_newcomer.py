"""A newcomer clones the repository and types `make lab`."""

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request

import psutil
import pytest
from journey.places import served


FACTOR = float(os.environ.get("COURSE_TIME_FACTOR", "1"))  # more on a shared machine
SECOND_START = 10.0 * FACTOR  # seconds to the address


def get(server, path: str) -> bytes:
    base, token = server.address.split("/lab/tree/")[0], server.address.split("=")[1]
    with urllib.request.urlopen(f"{base}{path}?token={token}", timeout=20) as answer:
        return answer.read()


def assert_closed(port: int, patience: float = 20.0) -> None:
    """Nobody listens at `port` any more, `patience` seconds from now at the latest."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.1)
    raise AssertionError(f"After Ctrl-C a server still listens at port {port}.")


@pytest.mark.slow
def test_make_lab_twice(newcomer):
    root, environment = newcomer
    with served(root, environment) as server:
        assert b"jupyter" in get(server, "/lab/tree/notebooks/00_start_here.ipynb").lower()
        notebook = json.loads(get(server, "/api/contents/notebooks/00_start_here.ipynb"))
        assert notebook["content"]["cells"]
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/api/contents", timeout=20)
        running = psutil.Process(server.process.pid).children(recursive=True)
        assert "1000" in {child.environ().get("GOMP_SPINCOUNT") for child in running}
        status, said = server.stop()
        assert status in (0, 2, 130, -signal.SIGINT)
        assert "Traceback" not in said
        assert_closed(server.port)
    with served(root, environment) as again:
        assert again.seconds <= SECOND_START, f"{again.seconds:.1f} s\n{again.printed}"
    changed = [path.name for path in root.iterdir() if path.name in ("course-ready", ".venv")]
    assert changed == [], "a shared environment was touched"

"""Start JupyterLab on the first lab and tell the address."""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path


FIRST = "notebooks/00_start_here.ipynb"
PATIENCE = 90.0  # seconds to wait for the server's first answer


def jupyterlab(root: Path, *, browser: bool = True) -> int:
    """Serve the checkout, print the address of the first lab, stay until Ctrl-C.

    Without a display, or with `browser=False`, the address is only printed.
    """
    port, token = _free_port(), secrets.token_hex(16)
    address = f"http://127.0.0.1:{port}/lab/tree/{FIRST}?token={token}"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.root_dir={root}"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--log-level=WARN"]
    command += [
        f"--IdentityProvider.token={token}",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # containers
    server = subprocess.Popen(command, cwd=root)
    try:
        _wait(server, f"http://127.0.0.1:{port}/api?token={token}")
        print(
            f"\nJupyterLab is running. The first lab:\n\n    {address}\n\nCtrl-C stops it.",
            flush=True,
        )
        if browser and _has_display():
            webbrowser.open(address)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait()


def _free_port() -> int:
    """Return 8888 when it is free, else the next free one."""
    for port in range(8888, 8988):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit("No free port between 8888 and 8987: stop another JupyterLab first.")


def _wait(server: subprocess.Popen, url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit("JupyterLab stopped at its start; its last lines above say why.")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"JupyterLab gave no answer within {PATIENCE:.0f} s; try again.")


def _has_display() -> bool:
    if os.name == "nt" or sys.platform == "darwin":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))

"""The dashboard's server and a headless Chromium, for tests and for measuring."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Playwright

ROOT = Path(__file__).parents[2]
START_S = 180
_servers: dict[str, int] = {}


class NotStarted(Exception):
    """The server did not answer in time."""


def launch_chromium(playwright: Playwright) -> Browser:
    """The browser named by CANFUSION_CHROMIUM, else the system's, else Playwright's own."""
    named = os.environ.get("CANFUSION_CHROMIUM")
    known = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = named or next(filter(None, map(shutil.which, known)), None)
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


@contextmanager
def served(workspace: Path, log: Path) -> Iterator[str]:
    """Address of a fresh dashboard on the given workspace; what the server says goes to ``log``.

    Raises:
        NotStarted: with the log, if it does not answer in time.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = (sys.executable, "-m", "streamlit", "run", "dashboard/app.py")
    environment = {**os.environ, "CANFUSION_WORKSPACE": str(workspace)}
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--server.port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    address = f"http://127.0.0.1:{port}"
    _servers[address] = process.pid
    try:
        _wait_for(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def server_of(address: str) -> int:
    """Process id of a server that :func:`served` started."""
    return _servers[address]


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=2)
            return
        except OSError:
            time.sleep(0.1)
    raise NotStarted(f"the dashboard did not start:\n{log.read_text()}")

"""Chromium, and a Plumbline server of its own for every test, that can be killed and started again on the same data."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STARTER = ROOT / "app" / "starter" / "weights"
INSTALL = "apt-get install chromium; pip install -r requirements-dev.txt"
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_SECONDS = 180
PATIENCE_MS = 120_000  # the machine may be busy; a condition that comes true ends the wait at once


def _missing(what: str) -> None:
    """Skips, or fails where the tests run in CI: there a browser has to be present."""
    line = f"{what}; install it: {INSTALL}"
    if os.environ.get("CI"):
        pytest.fail(line, pytrace=False)
    pytest.skip(line)


class Server:
    """`python app.py` in a process of its own on a free port.

    Args:
        data: the data folder, which outlives the process.
        log: where the process writes what it prints.
    """

    def __init__(self, data: Path, log: Path):
        self.data, self.log = data, log
        self.port = 0
        self._process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def printed(self) -> str:
        """Everything that the process has printed, over all its starts."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def start(self) -> "Server":
        """Starts the process and returns once it answers."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        environment = {key: value for key, value in os.environ.items() if key != "PLUMBLINE_ADMIN_TOKEN"}
        environment |= {
            "PLUMBLINE_DATA": str(self.data),
            "PLUMBLINE_MODEL": os.environ.get("PLUMBLINE_MODEL", "starter"),
            "GRADIO_SERVER_PORT": str(self.port),
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_ANALYTICS_ENABLED": "False",
            "HF_HUB_OFFLINE": "1",
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None:
                pytest.fail(f"app.py ended with {self._process.returncode} before it answered:\n{self.printed[-3000:]}")
            if time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"app.py did not answer within {START_SECONDS} s:\n{self.printed[-3000:]}")
            time.sleep(0.2)
        return self

    def kill(self) -> None:
        """SIGKILL: nothing can be tidied up."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(self.url, timeout=10) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            return False


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """One Chromium for all tests; every test opens contexts of its own."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        _missing("the browser tests need Playwright for Python")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        _missing("the browser tests need Chromium")
    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        except Error as error:
            _missing(f"Chromium at {path} does not start ({str(error).splitlines()[0]})")
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def model_present() -> None:
    """The model that `PLUMBLINE_MODEL` names, else the starter."""
    if "PLUMBLINE_MODEL" not in os.environ and not STARTER.is_dir():
        line = f"the starter's weights are not in {STARTER}; train them, or set PLUMBLINE_MODEL to a model's folder"
        if os.environ.get("CI"):
            pytest.fail(line, pytrace=False)
        pytest.skip(line)


@pytest.fixture
def make_server(tmp_path: Path, browser, model_present: None) -> Iterator[Callable[[str], Server]]:
    """Makes started servers by name: the same name has the same data. All are killed at the end."""
    servers: dict[str, Server] = {}

    def make(name: str = "data") -> Server:
        servers.setdefault(name, Server(tmp_path / name, tmp_path / f"{name}.log"))
        return servers[name].start()

    yield make
    for server in servers.values():
        server.kill()


@pytest.fixture
def server(make_server: Callable[[str], Server]) -> Server:
    """A server on an empty data folder."""
    return make_server("data")


@pytest.fixture
def open_page(browser) -> Iterator[Callable]:
    """Opens pages, each in a browser context of its own, which is a rater of its own."""
    contexts = []

    def open_(url: str, **options) -> "tuple":
        from tests.browser.pages import Plumb

        context = browser.new_context(viewport=options.pop("viewport", {"width": 1280, "height": 1000}), **options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        return Plumb(context.new_page(), url)

    yield open_
    for context in contexts:
        context.close()

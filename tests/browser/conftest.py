"""Chromium, and Plumbline servers that can be killed and started again on the same data."""

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

from tests.browser.pages import Plumb

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
# How long a condition may take to come true. On a machine that is busy with other work, give more.
PATIENCE_SECONDS = float(os.environ.get("PLUMBLINE_TEST_PATIENCE", "120"))
PATIENCE_MS = 1000 * PATIENCE_SECONDS


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
        model: a folder or a name; by default what `PLUMBLINE_MODEL` says, else the starter.
    """

    def __init__(self, data: Path, log: Path, model: str = ""):
        self.data, self.log = data, log
        self._model = model or os.environ.get("PLUMBLINE_MODEL", "starter")
        self.port = 0
        self._process: subprocess.Popen | None = None
        self._read_from = 0

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int:
        """The number of the process that runs."""
        return self._process.pid

    @property
    def printed(self) -> str:
        """What the process has printed since `forget_printed`, over all its starts."""
        return self.log.read_bytes()[self._read_from :].decode(errors="replace") if self.log.exists() else ""

    def forget_printed(self) -> None:
        """From now on `printed` begins anew."""
        self._read_from = self.log.stat().st_size

    def start(self, port: int = 0) -> "Server":
        """Starts the process, on a free port unless one is given, and returns once it answers."""
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))
            self.port = free.getsockname()[1]
        environment = {key: value for key, value in os.environ.items() if key != "PLUMBLINE_ADMIN_TOKEN"}
        environment |= {
            "PLUMBLINE_DATA": str(self.data),
            "PLUMBLINE_MODEL": self._model,
            "GRADIO_SERVER_PORT": str(self.port),
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_ANALYTICS_ENABLED": "False",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": os.environ.get(
                "OMP_NUM_THREADS", "1"
            ),  # torch's threads wait for each other where cores are busy
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            if self._process.poll() is not None:
                pytest.fail(f"app.py ended with {self._process.returncode} before it answered:\n{self.printed[-3000:]}")
            if time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"app.py did not answer within {PATIENCE_SECONDS:.0f} s:\n{self.printed[-3000:]}")
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


@pytest.fixture(scope="package")
def browser() -> Iterator:
    """One Chromium for all tests of this folder; every test opens contexts of its own.

    Not of the session: Playwright keeps an event loop running in this thread, and other tests bring their own.
    """
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


@pytest.fixture(scope="package")
def model_present() -> None:
    """The model that `PLUMBLINE_MODEL` names, else the starter."""
    if "PLUMBLINE_MODEL" not in os.environ and not STARTER.is_dir():
        line = f"the starter's weights are not in {STARTER}; train them, or set PLUMBLINE_MODEL to a model's folder"
        if os.environ.get("CI"):
            pytest.fail(line, pytrace=False)
        pytest.skip(line)


@pytest.fixture
def server(tmp_path: Path, browser, model_present: None) -> Iterator[Server]:
    """A server of the test's own, on an empty data folder; it can be killed and started again."""
    server = Server(tmp_path / "data", tmp_path / "data.log")
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture(scope="package")
def _one_for_all(tmp_path_factory: pytest.TempPathFactory, browser, model_present: None) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("shared")
    server = Server(folder / "data", folder / "data.log")
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture
def shared(_one_for_all: Server) -> Server:
    """A server that tests share which do not mind what is already stored: starting one takes longest."""
    _one_for_all.forget_printed()
    return _one_for_all


@pytest.fixture
def open_page(browser) -> Iterator[Callable]:
    """Opens pages, each in a browser context of its own, which is a rater of its own."""
    contexts = []

    def open_(url: str, **options) -> Plumb:
        context = browser.new_context(viewport=options.pop("viewport", {"width": 1280, "height": 1000}), **options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        return Plumb(context.new_page(), url)

    yield open_
    for context in contexts:
        context.close()

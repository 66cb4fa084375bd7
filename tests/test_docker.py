"""The Docker image without an engine: what its files say is carried out by hand, and the server runs on what is copied as one who may
write nowhere but on the volume. (Another user cannot always reach Python here; root without its powers is a stranger to these files, too.)

What this cannot show is that the base image has what `apt` would give and that the requirements install there.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from app.settings import Settings
from app.space_files import ROOT, space_files, tracked

PATIENCE_SECONDS = float(os.environ.get("PLUMBLINE_TEST_PATIENCE", "120"))
NOBODY = 65534


def instructions() -> list[tuple[str, str]]:
    """(instruction, what follows) of every line of the Dockerfile that is no comment."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def every(instruction: str) -> list[str]:
    return [rest for name, rest in instructions() if name == instruction]


def environment() -> dict[str, str]:
    """What the ENV lines set."""
    return dict(pair.split("=", 1) for rest in every("ENV") for pair in rest.split())


def is_left_out(path: str) -> bool:
    """As Docker reads .dockerignore: the last pattern that matches the path or a folder above it decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        if re.fullmatch(f"{pattern}(?:/.*)?", path):
            out = not line.startswith("!")
    return out


def copied() -> list[str]:
    """What `COPY . .` takes of the files that lie here."""
    return [path for path in tracked(ROOT) if not is_left_out(path)]


def test_the_image_holds_what_a_space_gets():
    assert set(copied()) == set(space_files(ROOT, Settings().data, "starter", "cpu-basic"))
    for path in (".env", "data/plumbline.db", "app/.key", "keys.txt", "app/__pycache__/x.pyc", "tests/conftest.py"):
        assert is_left_out(path), path


def test_requirements_are_the_same_and_come_before_the_rest():
    steps = instructions()
    assert every("FROM") == ["python:3.11-slim"]
    assert [rest for name, rest in steps if name == "COPY"] == ["requirements.txt .", ". ."]
    (install,) = [rest for rest in every("RUN") if "pip install" in rest]
    assert install.endswith("--requirement requirements.txt")
    assert re.search(r"^torch==[\d.]+$", (ROOT / "requirements.txt").read_text(), re.M)


def test_it_runs_as_a_user_of_its_own_on_a_volume():
    names = [name for name, _ in instructions()]
    (user,) = every("USER")
    assert user not in ("root", "0")
    (made,) = [rest for rest in every("RUN") if "useradd" in rest]
    assert user in made and f"--owner {user} {environment()['PLUMBLINE_DATA']}" in made
    assert every("VOLUME") == [environment()["PLUMBLINE_DATA"]]
    assert environment()["HF_HOME"].startswith(environment()["PLUMBLINE_DATA"])
    assert names.index("USER") > max(i for i, name in enumerate(names) if name == "RUN")
    assert every("EXPOSE") == [environment()["GRADIO_SERVER_PORT"]]


@pytest.fixture
def image() -> Iterator[Path]:
    """The copied files in `app`, which the server may only read, and the volume `data`."""
    with TemporaryDirectory() as folder:
        Path(folder, "data").mkdir()
        for path in copied():
            target = Path(folder, "app", path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, target)
        for place in (Path(folder, "app"), *Path(folder, "app").rglob("*")):
            place.chmod(0o555 if place.is_dir() else 0o444)
            if os.geteuid() == 0:
                os.chown(place, NOBODY, NOBODY)
        yield Path(folder)


def listens(port: int) -> bool:
    with socket.socket() as visitor:
        return visitor.connect_ex(("127.0.0.1", port)) == 0


def test_the_steps_by_hand_serve_a_healthy_page_that_ends_on_the_stop_signal(image: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    volume = environment()["PLUMBLINE_DATA"]
    of_the_image = {key: value.replace(volume, str(image / "data"), 1) if value.startswith(volume) else value for key, value in environment().items()}  # fmt: skip
    surroundings = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("PLUMBLINE_", "GRADIO_", "HF_"))},
        **of_the_image,
        "GRADIO_SERVER_PORT": str(port),
        "HOME": str(image / "data"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    powerless = shlex.split("setpriv --bounding-set -all --inh-caps -all") if os.geteuid() == 0 else []
    command = [*powerless, sys.executable, *json.loads(every("CMD")[0])[1:]]
    writes = [*powerless, sys.executable, "-c", "open('written', 'w')"]
    assert subprocess.run(writes, cwd=image / "app", capture_output=True, check=False).returncode, "it may write"
    check = shlex.split(every("HEALTHCHECK")[0].split(" CMD ")[1])
    assert check[0] == "python"

    with (image / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=image / "app", env=surroundings, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not listens(port):
            assert server.poll() is None, (image / "log").read_text()[-3000:]
            assert time.monotonic() < deadline, (image / "log").read_text()[-3000:]
            time.sleep(0.2)
        healthy = subprocess.run(
            [sys.executable, *check[1:]], env=surroundings, capture_output=True, text=True, check=False
        )
        assert healthy.returncode == 0, healthy.stderr
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=PATIENCE_SECONDS) as response:
            assert json.load(response) == {"status": "ok", "model": "starter", "queue": 0}
        assert (image / "data" / "plumbline.db").is_file()
        assert not list((image / "app").rglob("*.db")), "it wrote beside its volume"
        server.send_signal(getattr(signal, every("STOPSIGNAL")[0]))
        assert server.wait(PATIENCE_SECONDS) in (0, 130), (image / "log").read_text()[-3000:]
    finally:
        server.kill()
        server.wait()
    assert "Traceback" not in (image / "log").read_text()

"""The folder of adapter versions: names that are paths are refused, and a version is there whole or not at all."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import InputError, NotFoundError, StorageError
from app.refresh.adapters import AdapterFolder

ROOT = Path(__file__).parent.parent
BAD_NAMES = [
    "../../etc",
    "v1/../..",
    "v1/..",
    "V1",
    "",
    "v",
    "v0",
    "v01",
    "v1\n",
    "\nv1",
    " v1",
    "v-1",
    "v1.5",
    "/etc",
    "v1\x00",
    "v１",
    "none",
    "v" + "1" * 10,
    "v" * 50_000,
]


def fill(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"weights")


def everything(root: Path) -> dict[str, bytes | None]:
    """Every path below a folder with the bytes of files, hidden ones too."""
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


@pytest.fixture
def adapters(tmp_path: Path) -> AdapterFolder:
    return AdapterFolder(tmp_path / "data" / "adapters")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_name_that_is_no_version_never_becomes_a_path(adapters: AdapterFolder, tmp_path: Path, name: str):
    adapters.write("v1", fill)
    before = everything(tmp_path)
    with pytest.raises(InputError, match="must be a version such as v3") as caught:
        adapters.path(name)
    assert len(str(caught.value)) < 300
    with pytest.raises(InputError, match="must be a version such as v3"):
        adapters.write(name, fill)
    assert everything(tmp_path) == before


def test_unknown_version_is_named(adapters: AdapterFolder):
    for folder in (adapters, AdapterFolder(adapters.root)):
        with pytest.raises(NotFoundError, match="'v7'"):
            folder.path("v7")
    adapters.write("v1", fill)
    (adapters.root / "v7").write_text("a file, no version")
    with pytest.raises(NotFoundError, match="'v7'"):
        adapters.path("v7")


def test_version_is_written_whole_and_found(adapters: AdapterFolder):
    def save(folder: Path) -> None:
        fill(folder)
        with pytest.raises(NotFoundError):
            adapters.path("v12")  # not there before it is whole

    final = adapters.write("v12", save)
    assert final == adapters.path("v12") == AdapterFolder(adapters.root).path("v12")
    assert everything(adapters.root) == {
        "v12": None,
        "v12/adapter_config.json": b"{}",
        "v12/adapter_model.safetensors": b"weights",
    }


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(28, "No space left on device"), StorageError),
        (RuntimeError("no such adapter"), RuntimeError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_save_that_raises_leaves_nothing(adapters: AdapterFolder, error: BaseException, raised: type):
    def save(folder: Path) -> None:
        fill(folder)
        raise error

    with pytest.raises(raised, match=r"No space left|no such adapter|^$"):
        adapters.write("v1", save)
    assert everything(adapters.root) == {}
    assert adapters.write("v1", fill).is_dir()


def test_full_disk_while_the_weights_are_written_is_told(tmp_path: Path):
    script = """
import resource, signal, sys
from pathlib import Path
import numpy
from safetensors.numpy import save_file
from app.errors import StorageError
from app.refresh.adapters import AdapterFolder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    AdapterFolder(Path(sys.argv[1])).write("v1", lambda folder: save_file({"a": numpy.zeros(100_000)}, folder / "adapter_model.safetensors"))
except StorageError as error:
    sys.exit(str(error))
"""
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.stderr.startswith(f"the new version could not be written to {str(tmp_path / 'v1')!r}"), result.stderr
    assert everything(tmp_path) == {}


def test_existing_version_is_not_overwritten(adapters: AdapterFolder):
    adapters.write("v1", fill)
    before = everything(adapters.root)
    with pytest.raises(StorageError, match="v1"):
        adapters.write("v1", lambda folder: (folder / "adapter_config.json").write_text("another"))
    assert everything(adapters.root) == before


def test_root_that_is_a_file_is_told(tmp_path: Path):
    (tmp_path / "adapters").write_text("not a folder")
    with pytest.raises(StorageError, match="adapters/v1"):
        AdapterFolder(tmp_path / "adapters").write("v1", fill)
    assert everything(tmp_path) == {"adapters": b"not a folder"}


def half_written(root: Path, stop: Callable[[subprocess.Popen], None]) -> subprocess.Popen:
    """A process that is in the middle of writing v2 when `stop` is called with it."""
    script = """
import sys
from pathlib import Path
from app.refresh.adapters import AdapterFolder
def save(folder):
    (folder / "adapter_config.json").write_text("{}")
    print("writing", flush=True)
    sys.stdin.read()
AdapterFolder(Path(sys.argv[1])).write("v2", save)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(root)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    stop(process)
    return process


def test_leftovers_of_a_dead_process_are_swept(adapters: AdapterFolder):
    adapters.write("v1", fill)
    before = everything(adapters.root)
    with half_written(adapters.root, stop=subprocess.Popen.kill) as process:
        assert process.wait() == -signal.SIGKILL
    assert everything(adapters.root) != before
    AdapterFolder(adapters.root)
    assert everything(adapters.root) == before


def test_work_of_a_living_process_is_left_alone_and_finishes(adapters: AdapterFolder):
    with half_written(adapters.root, stop=lambda process: None) as process:
        before = everything(adapters.root)
        assert len(before) == 2
        AdapterFolder(adapters.root)
        assert everything(adapters.root) == before
        process.stdin.close()
        assert process.wait() == 0
    assert everything(adapters.root) == {"v2": None, "v2/adapter_config.json": b"{}"}


def test_leftovers_under_the_own_process_id_are_swept(adapters: AdapterFolder):
    """In a container every start has the same process id."""
    leftover = adapters.root / f".v3.partial-{os.getpid()}"
    leftover.mkdir(parents=True)
    fill(leftover)
    AdapterFolder(adapters.root)
    assert everything(adapters.root) == {}

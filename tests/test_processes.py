"""`torchrun` with two real processes: the losses of one, each a share of the pairs, and one that writes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.refresh import processes
from storage.store import Store

ROOT = Path(__file__).parent.parent
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    rows = (
        {"prompt": f"Question {i}, is it{' so' * (i % 4)}?", "chosen": "tea, matey" + "!" * i, "rejected": "the sky"}
        for i in range(14)
    )
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def refreshed(launcher: tuple[str, ...], pairs: Path, model: Path, data: Path, status: int = 0) -> Any:
    """What the command prints, which must be one line of JSON and nothing else."""
    unset = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    environment = {
        **{key: value for key, value in os.environ.items() if key not in unset},
        "ACCELERATE_USE_CPU": "1",
        "OMP_NUM_THREADS": "1",
        "PLUMBLINE_DATA": str(data),
        "PLUMBLINE_DEVICE": "cpu",
    }
    command = [
        sys.executable,
        *launcher,
        "-m",
        "app",
        "refresh",
        "--pairs",
        pairs,
        "--model",
        model,
        "--epochs",
        "3",
        "--json",
    ]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if status:
        assert result.returncode != 0 and result.stdout == ""
        return result.stderr
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def test_two_processes_give_the_losses_of_one(pairs_file: Path, tiny_folders: dict[str, Path], tmp_path: Path):
    """Batches of four of which the second process computes two, and a last one of one pair, of which it computes none: the gradient
    is that of the whole batch all the same."""
    one = refreshed((), pairs_file, tiny_folders["llama"], tmp_path / "one")
    two = refreshed(TORCHRUN, pairs_file, tiny_folders["llama"], tmp_path / "two")
    assert one["pairs_train"] == 13
    assert one["processes"] == 1 and one["pairs_per_process"] == [39]
    assert two["processes"] == 2 and two["pairs_per_process"] == [21, 18]
    assert two["losses"] == pytest.approx(one["losses"], abs=1e-4) and len(set(two["losses"])) > 3
    assert two["after"] == one["after"] and two["before"] == one["before"]
    assert [version.id for version in Store(tmp_path / "two").versions()] == [two["version"]]
    assert [path.name for path in (tmp_path / "two" / "adapters").iterdir() if path.is_dir()] == [two["version"]]


def test_what_the_first_process_refuses_ends_all(tiny_folders: dict[str, Path], tmp_path: Path):
    few = tmp_path / "few.jsonl"
    few.write_text(json.dumps({"prompt": "Why?", "chosen": "a", "rejected": "b"}) + "\n")
    stderr = refreshed(TORCHRUN, few, tiny_folders["llama"], tmp_path / "data", status=2)
    assert stderr.count("plumbline: there are 1 clear choices on 1 different prompts") == 1
    assert Store(tmp_path / "data").versions() == []


def test_a_process_alone_waits_for_nobody(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert processes.join("auto") == "auto" and (processes.count(), processes.index()) == (1, 0)
    assert processes.share(range(5)) == range(5) and processes.from_first("words") == "words"

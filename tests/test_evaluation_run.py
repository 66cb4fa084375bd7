"""`python -m app evaluate` on a tiny model: the same result after a kill, arms that are the same arm, and a judge with a lean."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from app.__main__ import main
from app.annotators.implicit import ImplicitJudge
from app.evaluation.plan import Written
from app.evaluation.questions import Case, Principle
from app.evaluation.scoring import by_likelihood
from app.model import LanguageModel
from app.prompts import chat
from app.refresh.answers import row_logps
from tests.test_annotators import Server, shown
from tests.test_cli import write_pairs

ROOT = Path(__file__).parent.parent
SMALL = ["--max-new-tokens", "6", "--limit", "3", "--personas", "pirate,curt", "--judges", "markers", "implicit"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_folders: dict[str, Path]) -> None:
    monkeypatch.setenv("PLUMBLINE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PLUMBLINE_MODEL", str(tiny_folders["llama"]))
    monkeypatch.setenv("PLUMBLINE_DEVICE", "cpu")


def evaluated(out: Path, *arguments: str) -> dict[str, Any]:
    """Runs the command and returns its results."""
    assert main(["evaluate", "--out", str(out), *SMALL, *arguments]) == 0
    return json.loads((out / "results.json").read_text())


def without_seconds(results: dict[str, Any]) -> dict[str, Any]:
    """Everything but what the clock says."""
    for rows in ("figures", "wins"):
        for row in results[rows]:
            del row["seconds"]
    for case in results["cases"]:
        for answer in case["answers"].values():
            del answer["seconds"]
    return results


def texts(results: dict[str, Any], arm: str) -> list[str]:
    return [case["answers"][arm]["text"] for case in results["cases"]]


def test_equal_arms_are_equal_and_cost_what_they_cost(tmp_path: Path):
    arms = ["principle_prompted", "linear_aligned ratio=0", "linear_aligned ratio=4", "baseline", "best_of_n count=2"]
    results = evaluated(tmp_path / "out", "--arms", *arms)
    figures = {figures["name"]: figures for figures in results["figures"]}
    wins = {win["one"]: win for win in results["wins"] if win["judge"] == "implicit"}
    assert texts(results, "linear_aligned ratio=0") == texts(results, "principle_prompted")
    assert texts(results, "linear_aligned ratio=4") != texts(results, "principle_prompted")
    same = wins["linear_aligned ratio=0"]
    assert (same["rate"]["value"], same["gain"]["value"], same["longer"], same["ties"]) == (0.5, 0.0, 1.0, 6)
    assert same["rate"]["interval"][0] < 0.5 < same["rate"]["interval"][1]
    # It reads two contexts a step where the prompted arm reads one; two whole answers to choose from are dearer than one.
    assert same["forwards"] == 2.0
    assert figures["best_of_n count=2 annotator=implicit"]["forwards"] > figures["principle_prompted"]["forwards"]
    # The baseline was never told: one answer a prompt, whatever the principle.
    plain = texts(results, "baseline")
    assert plain[0::2] == plain[1::2] and len(set(plain)) > 1
    lines = (tmp_path / "out" / "answers.jsonl").read_text().splitlines()
    baseline = [json.loads(line) for line in lines if line.startswith('{"key": "baseline')]
    assert sum(len(entry["value"]) for entry in baseline) == 3


def test_a_killed_run_goes_on_to_the_same_result(tmp_path: Path):
    arguments = ["--arms", "principle_prompted", "linear_aligned ratio=1,3", "amulet", "--batch", "1"]
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "app", "evaluate", "--out", str(out), *SMALL, *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    journal = out / "answers.jsonl"
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= 3):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not (out / "results.json").exists()
    kept = journal.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    with journal.open("ab") as file:  # as if it had been killed while it wrote
        file.write(b'{"key": "amulet')
    again = evaluated(out, *arguments)
    assert journal.read_bytes().startswith(kept), "what was done is not done again"
    assert without_seconds(again) == without_seconds(evaluated(tmp_path / "clean", *arguments))


def test_versions_and_their_mixtures_take_part_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["refresh", "--pairs", str(write_pairs(tmp_path / "pairs.jsonl")), "--epochs", "4"]) == 0
    arms = ["baseline", "baseline @ v1", "baseline @ v1*3", "adapter_guided guide_weight=0 @ v1"]
    results = evaluated(tmp_path / "out", "--arms", *arms)
    plain, learnt, past, guided = (texts(results, figures["name"]) for figures in results["figures"])
    assert learnt != plain and past != learnt, "what was learnt answers otherwise, and ExPO goes on"
    assert guided == plain, "an adapter without a say"
    assert results["figures"][3]["forwards"] == 2 * results["figures"][0]["forwards"]
    refused = ["evaluate", "--out", str(tmp_path / "other"), *SMALL, "--arms", "baseline @ v1", "baseline @ v1*1"]
    assert main(refused) == 2 and "'baseline @ v1' was given twice" in capsys.readouterr().err


def test_a_folder_of_another_plan_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    evaluated(tmp_path / "out", "--arms", "baseline")
    assert main(["evaluate", "--out", str(tmp_path / "out"), *SMALL, "--arms", "amulet"]) == 2
    assert "holds an evaluation with another plan" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arms", "adapter_guided"], "needs a version"),
        (["--arms", "baseline", "--against", "amulet"], "'amulet' is to be compared with and takes no part"),
        (["--arms", "baseline @ v9"], "v9"),
        (["--limit", "0"], "the limit is 0"),
        (["--batch", "0"], "the batch is 0"),
        (["--judges", "taste"], "the judge is 'taste'"),
        (["--judges", "endpoint"], "needs a chat endpoint"),
    ],
)
def test_what_cannot_be_is_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments, message):
    assert main(["evaluate", "--out", str(tmp_path / "out"), *SMALL, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    server = Server()
    monkeypatch.setenv("PLUMBLINE_JUDGE_URL", server.url)
    monkeypatch.setenv("PLUMBLINE_JUDGE_MODEL", "judge-1")
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.mark.parametrize("always", ["1", "2"])
def test_a_judge_that_leans_to_a_side_prefers_nobody(tmp_path: Path, server: Server, always: str):
    server.script = [always]
    results = evaluated(
        tmp_path / "out", "--arms", "principle_prompted", "linear_aligned ratio=4", "--judges", "endpoint"
    )
    (win,) = (win for win in results["wins"] if win["judge"] == "endpoint")
    assert (win["rate"]["value"], win["rate"]["n"], win["ties"]) == (0.5, 6, 6)
    assert results["plan"]["behind"] == {"endpoint": "judge-1"}, "another judge is another plan"
    assert len(server.requests) >= 2


def test_a_judge_of_one_mind_is_heard_whichever_side_it_reads_first(tmp_path: Path, server: Server):
    def longer(prompt: str) -> str:
        answers = shown(prompt)
        return "1" if len(answers["answer 1"]) > len(answers["answer 2"]) else "2"

    server.script = [longer]
    arms = ["principle_prompted", "linear_aligned ratio=4"]
    results = evaluated(tmp_path / "out", "--arms", *arms, "--judges", "endpoint")
    # The server sees the texts without outer space and cannot tell equal lengths apart by anything but the side.
    sides = zip(texts(results, arms[1]), texts(results, arms[0]), strict=True)
    expected = [0.5 if len(a) == len(b) else float(len(a) > len(b)) for a, b in sides]
    assert set(expected) - {0.5}, "a case that tells nothing"
    (win,) = (win for win in results["wins"] if win["judge"] == "endpoint")
    assert win["rate"]["value"] == pytest.approx(sum(expected) / len(expected))


def test_the_model_judges_by_the_likelihoods_of_its_own_judge(llama: LanguageModel):
    """Both columns against the implicit judge's margin and the sweep's arithmetic, on answers of different lengths and one of none."""
    case = Case("Why is the sky blue?", Principle("Answer as a gruff sea captain."))
    said = ["Short waves, matey.", "Air scatters short waves more than long ones.", " ", "7" * 300]
    first, second, empty, too_long = by_likelihood(llama)([case] * 4, [Written(t, True, 1, 0.1) for t in said])
    messages = [{"role": "user", "content": case.prompt}]
    margin = ImplicitJudge(llama).prefer(messages, case.principle.text, *said[:2]).margin
    assert first["implicit"] - second["implicit"] == pytest.approx(margin, abs=1e-5) and abs(margin) > 1e-3
    ids = llama.answer_ids(said[0])
    alone = row_logps(llama, [(llama.chat_ids(chat(messages)), ids)], None).item() / len(ids)
    assert first["natural"] == pytest.approx(alone, abs=1e-5)
    assert empty == too_long == {"implicit": None, "natural": None}

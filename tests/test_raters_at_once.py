"""Many raters at once over HTTP, and a server that is killed (-9) under them: what was acknowledged is stored, once, and nothing else is."""

from pathlib import Path

from tests.benchmarks.raters import Ballot, Verdict, labelled, verdict

ANN, BOB = ("ann", "r1", "first", "x"), ("bob", "r1", "tie", "y")
SENT = [Ballot(*ANN, acknowledged=True), Ballot(*BOB)]
TASKS = [("ann", "r1"), ("bob", "r1")]


def test_what_is_lost_doubled_foreign_or_unmatched_is_counted():
    fine = Verdict(0, 0, 0, 0)
    assert verdict(SENT, [ANN, BOB], TASKS) == fine
    assert verdict(SENT, [ANN], TASKS[:1]) == fine, "what was not acknowledged may be there or not"
    assert verdict(SENT, [BOB], TASKS[1:]) == Verdict(1, 0, 0, 0)
    assert verdict(SENT, [ANN, ANN, BOB], TASKS).doubled == 1
    assert verdict(SENT, [ANN, ("ann", "r2", "first", "x")], [TASKS[0], ("ann", "r2")]) == Verdict(0, 1, 1, 0)
    assert verdict(SENT, [(*ANN[:2], "second", "x")], TASKS[:1]) == Verdict(1, 0, 1, 0)
    assert verdict(SENT, [ANN], TASKS) == verdict(SENT, [ANN, BOB], TASKS[:1]) == Verdict(0, 0, 0, 1)


def test_a_kill_under_many_raters_loses_and_doubles_no_vote(tiny_folders: dict[str, Path], tmp_path: Path):
    found = labelled(tmp_path, raters=12, seconds=14, pause=0.2, forget=0.2, model=str(tiny_folders["llama"]))
    assert (found["lost"], found["doubled"], found["foreign"], found["unmatched"]) == (0, 0, 0, 0)
    assert found["votes_stored"] == found["votes_acknowledged"] >= 24
    assert found["fewest_of_a_rater"] >= 1
    assert found["sent_again_and_stored_before"] >= 1, "no choice was sent again after it had been stored"
    assert not found["traceback"]

"""Rewards of answers, the rows that an objective learns from, and what the store and files hold beside pairs."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from app.authority import Authority
from app.errors import InputError
from app.learn import Learn, Outcome
from app.prompts import SYSTEM_TEXT
from app.refresh.methods import OBJECTIVES
from app.refresh.pair_files import read_rows
from app.refresh.pairs import make_pair, make_rated, split
from app.refresh.refresh_settings import RefreshSettings
from app.refresh.rewards import Rewarded, brevity, readability, rewards_of
from app.refresh.rows import reward_sentence, training_rows
from app.refresh.trainer import encode, margins, train
from app.services import build
from app.settings import Settings
from storage.records import Vote
from storage.store import Store
from tests.rounds import BAD, GOOD, a_round, add_choice

WHY = [{"role": "user", "content": "Why is the sky blue?"}]
PAIR = make_pair(WHY, "tea, matey", "the sky is blue and wide")
DISLIKED, WRITTEN = make_rated(WHY, "waves", False), make_rated(WHY, "Ahoy, air.", True, demonstration=True)


def no_vectors(texts):
    raise AssertionError("nothing was to be embedded")


def test_brevity_is_one_more_for_half_the_words():
    assert brevity("one two three") == -2.0 and brevity("one") == -1.0 and brevity("") == 0.0


def test_readability_by_hand():
    """ "Tea is hot. I like it." has 15 letters, 6 words, 2 sentences: 4.71 * 2.5 + 0.5 * 3 - 21.43 = -8.155, a tenth of it negated."""
    assert readability("Tea is hot. I like it.") == pytest.approx(0.8155)
    assert readability("Tea is hot. I like it.") > readability(
        "Considerations notwithstanding, precipitation continues"
    )
    assert readability(" ... ") == pytest.approx(-(0.5 * 1 - 21.43) / 10) and readability("") == 0.0


def test_nearness_is_the_cosine_of_question_and_answer():
    vectors = {"q": [1.0, 0.0], "near": [0.6, 0.8], "far": [0.0, -1.0]}
    answers = [Rewarded("q", "near", True), Rewarded("q", "far", False)]
    found = rewards_of("embedding", answers, lambda texts: np.array([vectors[text] for text in texts]))
    assert found == pytest.approx([0.6, 0.0])
    assert rewards_of("choice", answers, no_vectors) == [1.0, 0.0]
    with pytest.raises(InputError, match="'luck'; it must be one of choice, length, readability, embedding"):
        rewards_of("luck", answers, no_vectors)


def rows_of(model, objective, **values):
    settings = RefreshSettings(objective=objective, **values)
    return training_rows(model, [PAIR], [DISLIKED, WRITTEN], settings, no_vectors)


@pytest.mark.parametrize(
    ("objective", "kinds"),
    [("dpo", ["pair"]), ("aihf", ["pair", "written"]), ("hpo", ["pair"])]
    + [(name, ["pair", "disliked", "written"]) for name in ("ulma", "fa", "rwr")],
)
def test_an_objective_gets_the_rows_that_it_learns_from(llama, objective, kinds):
    found = rows_of(llama, objective)
    told = ["pair" if r.chosen and r.rejected else "written" if r.demonstration else "disliked" for r in found.rows]
    assert told == kinds and len(found.rated) == len(kinds) - 1 and found.asked == ""
    assert [llama.decode(r.chosen) for r in found.rows][-1] == {"pair": "tea, matey", "written": "Ahoy, air."}[
        kinds[-1]
    ]
    assert all(bool(r.chosen) != bool(r.rejected) for r in found.rows[1:])


def test_rewards_stand_beside_the_answers_that_they_are_of(llama):
    assert [r.rewards for r in rows_of(llama, "rwr").rows] == [(1.0, 0.0), (0.0, 0.0), (1.0, 1.0)]
    brief = [(-math.log2(3), -math.log2(7)), (-1.0, -1.0), (-math.log2(3), -math.log2(3))]
    assert [r.rewards for r in rows_of(llama, "rwr", reward="length").rows] == brief
    assert rows_of(llama, "hpo").rows[0].rewards == brief[0]


def test_a_threshold_that_leaves_nothing_is_told_with_the_rewards_that_there_are(llama):
    """Brevity is never above 0; the briefest of four answers has one word, the longest six."""
    with pytest.raises(
        InputError, match=r"threshold is 0\.5, and no answer .* between -2\.81 and -1\.00: give a lower one"
    ):
        rows_of(llama, "fa", reward="length")
    assert len(rows_of(llama, "fa", reward="length", reward_threshold=-1.5).rows) == 3


def test_conditional_alignment_writes_each_reward_into_its_own_prompt_and_asks_for_the_best(llama):
    found = rows_of(llama, "ca")
    assert [llama.decode(r.chosen) for r in found.rows] == [
        "tea, matey",
        "the sky is blue and wide",
        "waves",
        "Ahoy, air.",
    ]
    assert not any(r.rejected for r in found.rows) and found.asked == reward_sentence(1.0) and len(found.rated) == 2
    for row, reward in zip(found.rows, (1.0, 0.0, 0.0, 1.0), strict=True):
        assert f"{SYSTEM_TEXT} {reward_sentence(reward)}" in llama.decode(row.context)


@pytest.mark.parametrize("turned", [False, True])
def test_conditional_alignment_answers_by_the_reward_that_is_asked_for(llama, turned):
    """On prompts that it never saw, asked for the highest reward, the chosen answers are likelier against the rejected ones than
    asked for the lowest. Turned round the other answers are, so that it is no matter of the texts."""
    texts = ("Ahoy, matey!", "One may well consider it.")[:: -1 if turned else 1]
    topics = ("tea", "the sky", "waves", "air", "rain", "bread", "snow", "dust")
    pairs = [make_pair([{"role": "user", "content": f"Tell me of {topic}."}], *texts) for topic in topics]
    settings = RefreshSettings(objective="ca", epochs=25, learning_rate=1e-2, sft_weight=0.0)
    learnt = training_rows(llama, pairs[:6], [], settings, no_vectors)
    losses = [step.loss for step in train(llama, learnt.rows, settings, "taste")]
    assert losses[-1] < losses[0]
    best, worst = (
        margins(llama, encode(llama, pairs[6:], sentence), "taste") for sentence in (learnt.asked, reward_sentence(0.0))
    )
    assert (best - worst).mean() > 1


def lines(path: Path, *rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_file_may_hold_rated_answers_and_demonstrations_beside_pairs(tmp_path):
    pair = {"prompt": "Why?", "chosen": "a", "rejected": "b"}
    said = [{"role": "assistant", "content": "d"}]
    path = lines(
        tmp_path / "rows.jsonl", pair, {"prompt": "Why?", "completion": "c", "label": False}, {"prompt": "Why?", "completion": said},
        {"prompt": "Why?", "completion": "e", "label": True, "edited": True}, {"prompt": "Why?", "completion": "f", "label": True},
    )  # fmt: skip
    pairs, rated = read_rows(path)
    assert [(p.chosen, p.rejected) for p in pairs] == [("a", "b")]
    expected = [("c", False, False), ("d", True, True), ("e", True, True), ("f", True, False)]
    assert [(r.answer, r.liked, r.demonstration) for r in rated] == expected


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "Why?", "completion": "c", "label": 1}, "line 1: label is '1', which is neither true nor false"),
        ({"completion": "c", "label": True}, "line 1: the key 'prompt' is missing"),
        ({"prompt": "Why?", "completion": " "}, "line 1: completion is empty"),
    ],
)
def test_a_rated_answer_that_is_none_is_told(tmp_path, row, told):
    with pytest.raises(InputError, match=told):
        read_rows(lines(tmp_path / "rows.jsonl", row))


def test_both_bad_and_rewritten_answers_come_from_the_store_once(tmp_path):
    store = Store(tmp_path / "data")
    add_choice(store, 1, choice="both_bad")
    add_choice(store, 2, choice="tie")
    add_choice(store, 3)
    store.add_round(a_round("edited", "Question 4?"))
    store.vote(Vote("edited", "ann", "first", edited_side="second", edited="Ahoy, the sky"))
    found = Learn(None, None, store, None, None, Authority(None)).rated("pirate")
    told = {(r.question, r.answer, r.liked, r.demonstration, r.round) for r in found}
    assert len(found) == 3 and told == {
        ("Question 1 of pirate?", GOOD, False, False, "pirate-1"),
        ("Question 1 of pirate?", BAD, False, False, "pirate-1"),
        ("Question 4?", "Ahoy, the sky", True, True, "edited"),
    }


@pytest.fixture
def services(tiny_folders, tmp_path):
    return build(Settings(data=tmp_path / "data", model=str(tiny_folders["llama"]), device="cpu"))


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if OBJECTIVES[name].likelihood])
def test_every_objective_makes_a_version_from_stored_choices(services, objective):
    """The ratings of prompts that are held out are not learnt from, and the version tells what it was."""
    for number in range(8):
        add_choice(services.store, number)
    settings = RefreshSettings(objective=objective, epochs=1, seed=1)
    add_choice(services.store, 20, choice="both_bad")
    pairs, rated = services.learn.pairs(None), services.learn.rated(None)
    _, held_out = split(pairs, settings.seed)
    aside = [make_rated(held_out[0].messages, "x", False), make_rated(held_out[0].messages, "y", True, True)]
    *_, outcome = services.learn.refresh(pairs, "", settings, rated=[*rated, WRITTEN, *aside])
    assert isinstance(outcome, Outcome)
    assert outcome.rated == {"hpo": 0, "aihf": 1}.get(objective, 3)
    assert services.store.rounds_of(outcome.version).get("pirate-20") == {"hpo": None, "aihf": None}.get(
        objective, False
    )
    assert outcome.asked == (reward_sentence(1.0) if objective == "ca" else "")
    version = services.store.version(outcome.version)
    assert version.objective == objective and version.metrics["asked"] == outcome.asked


def test_conditional_alignment_is_measured_as_it_is_asked_and_never_published(services):
    """Against the original as that is asked, which knows nothing of rewards; no page asks with the sentence."""
    for number in range(8):
        add_choice(services.store, number)
    settings = RefreshSettings(objective="ca", epochs=12, learning_rate=0.01)
    pairs = services.learn.pairs(None)
    *_, outcome = services.learn.refresh(pairs, "", settings)
    _, held_out = split(pairs, settings.seed)
    services.model.load_adapter(outcome.version, services.versions.adapters.path(outcome.version))
    plain, asked = (encode(services.model, held_out, sentence) for sentence in ("", reward_sentence(1.0)))
    gaps = margins(services.model, asked, outcome.version) - margins(services.model, plain, None)
    assert outcome.after.value == float((gaps > 0).float().mean()) == 1.0
    assert not outcome.published and "only where 'The reward of this answer is 1.0.' is given" in outcome.reason
    assert services.versions.in_use("") == ""


def test_a_second_refresh_may_be_measured_against_the_first(services):
    for number in range(8):
        add_choice(services.store, number)
    pairs = services.learn.pairs(None)
    *_, first = services.learn.refresh(pairs, "", RefreshSettings(epochs=6, learning_rate=0.01, sft_weight=0))
    assert first.published, first.reason
    again = RefreshSettings(epochs=1, reference="previous", sft_weight=0)
    *_, second = services.learn.refresh(pairs, "", again)
    assert second.losses[0] == pytest.approx(math.log(2), abs=1e-3), "it begins at its reference"
    assert second.after.value == first.after.value and second.before.value == first.after.value
    assert services.store.version(second.version).reference == "previous"
    assert second.losses[0] != pytest.approx(services.store.version(first.version).metrics["losses"][-1], abs=1e-2)

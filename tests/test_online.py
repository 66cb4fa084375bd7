"""The online loop on tiny real models: what it learns, when it stops, what it stores, and who else may work meanwhile."""

import gc
import json
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from pydantic import SecretStr

from app.annotators.preference import Cost, Preference, by_scores
from app.compare import Request
from app.decoding.arms import DecodeSettings, build_arms
from app.decoding.engine import decode
from app.errors import BusyError, InputError, ModelError, NotFoundError, StorageError, checked
from app.judges import Judge
from app.model import LanguageModel
from app.online import FEWEST_PROMPTS, IN_LOOP, OnlineOutcome, prompts_of, read_prompts
from app.prompts import chat
from app.refresh.feedback import Judged, OnlineSettings, OnlineStep
from app.refresh.judging import Asking, Question, ask
from app.refresh.methods import PAIRWISE
from app.refresh.online import OnlineLoop
from app.refresh.sampling import sample_answers
from app.services import Services, build
from app.settings import Settings
from app.ui import online_render
from app.worker import Wait
from storage.export import ai_preference_rows, preference_rows
from tests.rounds import add_choice
from tests.test_annotators import KEY, Server, failure, shown

HANG = 600.0
TOPICS = ["tea", "water", "air", "waves", "sky", "blue", "you", "short", "long", "four", "minutes", "captain"]
PROMPTS = [[{"role": "user", "content": f"Tell me of {topic}."}] for topic in TOPICS]
PRINCIPLE = "Prefer the shorter answer."
QUICK = OnlineSettings(
    steps=3, prompts_per_step=3, evaluate_every=2, eval_prompts=3, max_new_tokens=8, learning_rate=0.01
)
LEARNING = QUICK.model_copy(update={"steps": 24, "prompts_per_step": 6, "evaluate_every": 12, "eval_prompts": 4})


class ByLength:
    """Prefers the answer with fewer characters, or with more; tells the texts that it saw."""

    def __init__(self, sign=-1, tokens=0):
        self.sign, self.tokens, self.seen = sign, tokens, []

    def prefer(self, messages, principle, first, second):
        assert principle == PRINCIPLE
        self.seen.append((messages, first, second))
        return by_scores(self.sign * len(first), self.sign * len(second), Cost(prompt_tokens=self.tokens))


class Undecided:
    def prefer(self, messages, principle, first, second):
        return Preference(None, None, Cost(forwards=1))


def judge(annotator=None, **values):
    return Judge("by_length", "none", annotator or ByLength(), **values)


def events(model, annotator, settings, prompts=PROMPTS[4:], held_out=PROMPTS[:4]):
    loop = OnlineLoop(model, annotator, PRINCIPLE, settings, "loop")
    try:
        return loop, list(loop.run(prompts, held_out))
    finally:
        model.drop_adapter("loop")


def steps_of(items):
    return [item for item in items if isinstance(item, OnlineStep)]


def timeless(steps):
    return [replace(step, seconds=0.0) for step in steps]


def returned(generator):
    """What a generator returns once its items were taken."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


# --- answers


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_sampled_together_are_those_of_the_engine_alone(tiny_folders, kind, temperature):
    model = LanguageModel.load(str(tiny_folders[kind]))
    settings = DecodeSettings(temperature=temperature, top_p=0.9, max_new_tokens=12, no_repeat_ngram=2)
    contexts = [model.chat_ids(chat(messages)) for messages in PROMPTS[:3]]
    asked, seeds = [contexts[0], contexts[0], contexts[1], contexts[2]], [5, 6, 7, 8]
    together = returned(sample_answers(model, asked, None, settings, seeds))
    for context, seed, found in zip(asked, seeds, together, strict=True):
        alone, ended = [], False
        own = settings.model_copy(update={"seed": seed})
        arms = build_arms(["baseline"], torch.ones(1), own)
        forward = partial(model.forward, adapter=None)
        for step in decode(forward, [context], arms, own, model.end_ids, word_starts=model.word_starts):
            alone += [event.token for event in step if event.token is not None]
            ended = ended or step[0].finish_reason == "end"
        assert found[: len(alone)] == alone
        assert ended == (found[-1] in model.end_ids) and len(found) == len(alone) + ended
    assert (together[0] == together[1]) == (temperature == 0)


def test_an_answer_keeps_to_the_room_that_the_model_has(llama):
    context = llama.chat_ids(chat(PROMPTS[0]))
    context = (context * 20)[: llama.context_length - 3]
    settings = DecodeSettings(temperature=1, top_p=1, max_new_tokens=50)
    [answer] = returned(sample_answers(llama, [context], None, settings, [1]))
    assert 1 <= len(answer) <= 3


# --- asking


def questions(count):
    return [Question(PROMPTS[0], "a" * (i + 1), "a") for i in range(count)]


def test_preferences_come_in_the_order_of_the_questions_wherever_they_are_asked():
    asked = questions(9)
    here = ask(ByLength(), PRINCIPLE, asked, None)
    assert [next(here) for _ in asked] == [Asking(i + 1, 9) for i in range(9)]
    expected = [None] + ["second"] * 8
    with ThreadPoolExecutor(4) as pool:
        for found in (returned(ask(ByLength(), PRINCIPLE, asked, where)) for where in (None, pool)):
            assert [preference.choice for preference in found] == expected


def test_while_an_annotator_waits_whoever_asked_is_told_for_what():
    gate = threading.Event()

    class Slow(ByLength):
        def prefer(self, *arguments):
            assert gate.wait(HANG)
            return super().prefer(*arguments)

    with ThreadPoolExecutor(2) as pool:
        asking = ask(Slow(), PRINCIPLE, questions(3), pool)
        wait = next(asking)
        assert isinstance(wait, Wait) and isinstance(wait.future, Future) and not wait.future.done()
        assert next(asking) == Asking(0, 3)
        gate.set()
        assert len(returned(asking)) == 3


def test_an_annotator_that_fails_ends_the_asking_and_withdraws_the_rest():
    gate, begun = threading.Event(), []

    class Failing:
        def prefer(self, messages, principle, first, second):
            begun.append(first)
            if first == "a":
                raise ModelError("no judge today")
            assert gate.wait(HANG)

    with ThreadPoolExecutor(2) as pool:
        with pytest.raises(ModelError, match="no judge today"):
            returned(ask(Failing(), PRINCIPLE, questions(30), pool))
        gate.set()
    assert len(begun) <= 3, "the questions that nobody waits for any more were asked all the same"


# --- the loop


def lengths(items):
    """Mean characters of the sampled answers, a step at a time."""
    steps = [
        [len(q.question.first + q.question.second) / 2 for q in e.judgements] for e in items if isinstance(e, Judged)
    ]
    return [sum(step) / len(step) for step in steps if step]


def test_only_the_judge_steers_the_answers_shorter_or_longer(llama):
    """The paper's controllability: nothing but the annotator's taste differs."""
    (_, shorter), (_, longer) = (events(llama, ByLength(sign), LEARNING) for sign in (-1, 1))
    assert lengths(shorter)[0] == lengths(longer)[0], "both begin as the same model, with the same draws"
    ends = [sum(lengths(items)[-6:]) / 6 for items in (shorter, longer)]
    assert ends[0] < lengths(shorter)[0] < ends[1]
    last = steps_of(shorter)[-1]
    assert last.win_rate.value > 0.5 and last.stopped == "steps" and last.kl > 0


def test_the_first_step_starts_from_the_base(llama):
    first, *others = steps_of(events(llama, ByLength(), QUICK)[1])
    assert first.loss == pytest.approx(torch.log(torch.tensor(2.0)).item(), abs=1e-4)
    assert first.margin == pytest.approx(0, abs=1e-4) and first.kl == pytest.approx(0, abs=1e-5)
    assert [step.step for step in (first, *others)] == [1, 2, 3]
    assert [step.win_rate is None for step in (first, *others)] == [True, False, False], (
        "every second step and the last"
    )
    assert all(step.kept + step.dropped == 3 for step in others)


def test_kl_is_the_mean_log_ratio_of_the_sampled_tokens(llama):
    """Two steps whose adapter is known: after the first one, the answers of the second are scored again, row by row."""
    settings = QUICK.model_copy(update={"steps": 2, "prompts_per_step": 2})
    loop = OnlineLoop(llama, ByLength(), PRINCIPLE, settings, "loop")
    sampled, scores = [], []
    plain = loop._sampled

    def watched(prompts, adapter, seeds):
        answers = yield from plain(prompts, adapter, seeds)
        if seeds is not None:
            rows = [(prompt.context, ids) for prompt, ids in zip(prompts, answers, strict=True)]
            sampled.append(sum(map(len, answers)))
            scores.append(sum(by_hand(llama, *row, "loop") - by_hand(llama, *row, None) for row in rows))
        return answers

    loop._sampled = watched
    found = [step.kl for step in steps_of(loop.run(PROMPTS[4:], PROMPTS[:4]))]
    expected = [score / count for score, count in zip(scores, sampled, strict=True)]
    assert abs(expected[1]) > 1e-3, "a case that tells nothing"
    assert found == pytest.approx(expected, abs=1e-4)


def by_hand(model, context, answer, adapter):
    row = torch.tensor([context + answer])
    with torch.no_grad():
        logps = model.logits(row, torch.ones_like(row), adapter)[0].double().log_softmax(-1)
    return sum(logps[len(context) + i - 1, token].item() for i, token in enumerate(answer))


def test_without_a_choice_nothing_is_learnt_and_the_plateau_ends_it(llama):
    settings = QUICK.model_copy(update={"steps": 40, "patience": 3})
    loop, items = events(llama, Undecided(), settings)
    steps = steps_of(items)
    assert len(steps) == settings.evaluate_every * settings.patience and steps[-1].stopped == "plateau"
    assert {(s.loss, s.margin, s.kept, s.dropped) for s in steps} == {(None, None, 0, 3)}
    assert {s.kl for s in steps} == {0.0} and loop.after == loop.before
    assert {s.win_rate.value for s in steps if s.win_rate} == {0.5}, "equal answers are ties"


def test_equal_and_empty_answers_are_neither_asked_about_nor_learnt_from(llama):
    shorter = ByLength()
    loop = OnlineLoop(llama, shorter, PRINCIPLE, QUICK, "loop")
    texts = [("same", "same"), ("", "words"), ("words", " \n"), ("two words", "three")]
    found = returned(loop._preferences([Question(PROMPTS[0], *pair) for pair in texts]))
    assert [p and p.choice for p in found] == [None, None, None, "second"] and len(shorter.seen) == 1


def test_an_answer_that_says_nothing_loses_against_one_that_does(llama):
    loop = OnlineLoop(llama, ByLength(), PRINCIPLE, QUICK, "loop")
    prompts = loop._read(PROMPTS[:4])
    loop.before = ["some words", "", "", "two words"]

    def answers(prompts, adapter):
        return ["", "some words", "", "two words"]
        yield

    loop._greedy = answers
    win_rate = returned(loop._win_rate(prompts))
    assert (win_rate.value, win_rate.n) == ((0 + 1 + 0.5 + 0.5) / 4, 4)


def test_sides_of_an_evaluation_alternate_and_a_lean_evens_out(llama):
    class First:
        def prefer(self, messages, principle, first, second):
            return Preference("first", None, Cost())

    loop = OnlineLoop(llama, First(), PRINCIPLE, QUICK, "loop")
    prompts, loop.before = loop._read(PROMPTS[:4]), ["old"] * 4

    def answers(prompts, adapter):
        return ["new"] * 4
        yield

    loop._greedy = answers
    assert returned(loop._win_rate(prompts)).value == 0.5


def test_time_ends_it_with_a_last_evaluation(llama):
    steps = steps_of(events(llama, ByLength(), QUICK.model_copy(update={"max_seconds": 1e-9}))[1])
    assert [step.stopped for step in steps] == ["seconds"] and steps[0].win_rate.n == 4


def test_whoever_has_enough_ends_it_with_the_step_under_way_and_a_last_evaluation(llama):
    enough, taken = threading.Event(), []
    settings = QUICK.model_copy(update={"steps": 50, "evaluate_every": 50, "patience": 50})
    loop = OnlineLoop(llama, ByLength(), PRINCIPLE, settings, "online", enough=enough)
    for item in loop.run(PROMPTS[4:], PROMPTS[:4]):
        taken.append(item)
        if len(steps_of(taken)) == 2:
            enough.set()
    assert [step.stopped for step in steps_of(taken)] == ["", "", "button"]
    assert steps_of(taken)[-1].win_rate.n == 4


@pytest.mark.parametrize("budget", [1, 100, 230])
def test_tokens_of_a_judge_are_kept_to(llama, budget):
    """A step asks 3 questions of 10 tokens and an evaluation 4, fewer where answers are equal."""
    settings = QUICK.model_copy(update={"steps": 50, "evaluate_every": 2, "max_judge_tokens": budget, "patience": 50})
    steps = steps_of(events(llama, ByLength(tokens=10), settings)[1])
    spent = steps[-1].cost.prompt_tokens
    assert steps[-1].stopped == "tokens" and steps[-1].win_rate is not None
    assert len(steps) == 1 if budget == 1 else budget - 70 < spent <= budget


def test_the_same_seed_gives_the_same_run_and_another_one_another(llama):
    runs = [events(llama, ByLength(), QUICK.model_copy(update={"seed": seed})) for seed in (1, 1, 2)]
    same, again, other = (timeless(steps_of(items)) for _, items in runs)
    assert same == again and same != other
    assert runs[0][0].after == runs[1][0].after


@pytest.mark.parametrize("objective", PAIRWISE)
def test_every_objective_runs(llama, objective):
    settings = QUICK.model_copy(update={"objective": objective, "steps": 2})
    target = (1 / (2 * settings.beta)) ** 2
    start = {"dpo": 0.693147, "ipo": target, "ipo_sum": target, "slic": 1.0}[objective]
    assert steps_of(events(llama, ByLength(), settings)[1])[0].loss == pytest.approx(start, abs=1e-3)


@pytest.mark.parametrize(
    "values", [{"steps": 0}, {"temperature": 0}, {"patience": 0}, {"beta": float("nan")}, {"speed": 1}]
)
def test_settings_out_of_bounds_are_refused(values):
    with pytest.raises(InputError, match=next(iter(values))):
        checked(OnlineSettings, **values)


# --- the use case


def outcome_of(services, annotator=None, settings=QUICK, **values):
    given = {"prompts": PROMPTS, **values}
    *_, outcome = services.online.run(judge(annotator), PRINCIPLE, settings=settings, **given)
    assert isinstance(outcome, OnlineOutcome)
    return outcome


def held_adapters(services):
    return set(services.model._peft.peft_config) if services.model._peft else set()


def drain(services):
    gc.collect()
    assert list(services.worker.stream(iter([7]), background=True)) == [7]


def compared(services, adapter=None):
    request = Request(
        messages=(("user", "Why?"),),
        persona="pirate",
        settings=DecodeSettings(max_new_tokens=12, seed=5),
        adapter=adapter,
    )
    *_, last = services.compare.run(services.compare.start(request, "ann"))
    return {arm: answer.text for arm, answer in last.answers.items()}


def test_a_run_makes_a_version_that_can_answer(services):
    before = compared(services)
    outcome = outcome_of(services)
    assert outcome.version == "v1" and [s.step for s in outcome.curve] == [1, 2, 3] and outcome.stopped == "steps"
    assert (outcome.prompts, outcome.prompts_heldout) == (9, 3)
    assert outcome.pairs + outcome.dropped == 9 and outcome.win_rate == outcome.curve[-1].win_rate
    stored = services.store.version("v1")
    assert stored.settings["objective"] == "dpo" and stored.settings["annotator"] == "by_length"
    assert stored.metrics["principle"] == PRINCIPLE and stored.metrics["run"] == outcome.run
    assert stored.metrics["after"]["value"] == outcome.win_rate.value and len(stored.metrics["curve"]) == 3
    assert IN_LOOP not in held_adapters(services)
    assert compared(services) == before, "not published, so the original answers"
    assert compared(services, "v1") != before


def test_it_is_published_only_where_that_was_asked_for_and_the_judge_is_sure(services):
    sure = LEARNING.model_copy(update={"eval_prompts": 6})
    prompts = prompts_of("\n".join(f"Tell me of {a} and {b}." for a in TOPICS[:5] for b in TOPICS[5:9]))
    asked = outcome_of(services, settings=sure, prompts=prompts, publish=True, scope="curt")
    assert asked.win_rate.interval[0] > 0.5, "a case that tells nothing"
    assert asked.published and services.versions.in_use("curt") == asked.version and services.versions.in_use("") == ""
    unasked = outcome_of(services, settings=sure, prompts=prompts, scope="zen")
    assert not unasked.published and "not asked" in unasked.reason and services.versions.in_use("zen") == ""
    unsure = outcome_of(services, Undecided(), publish=True, scope="zen")
    assert not unsure.published and unsure.reason.startswith("not published") and services.versions.in_use("zen") == ""


def test_votes_of_a_judge_are_stored_as_such_and_never_among_peoples(services):
    add_choice(services.store, 0)
    peoples = (
        services.learn.pairs(None),
        services.store.votes(),
        services.store.count_decisive(),
        services.store.counts(),
    )
    outcome = outcome_of(services, scope="pirate")
    votes = services.store.ai_votes()
    assert len(votes) >= outcome.pairs > 0
    assert {(v.run, v.persona, v.principle, v.annotator, v.model_revision) for v in votes} == {
        (outcome.run, "pirate", PRINCIPLE, "by_length", services.model.revision)
    }
    assert {v.step for v in votes} <= {1, 2, 3} and all(v.messages in PROMPTS for v in votes)
    for vote in votes:
        shorter = {True: "first", False: "second"}[len(vote.first) < len(vote.second)]
        assert vote.choice == (shorter if len(vote.first) != len(vote.second) else "")
        assert vote.margin == len(vote.second) - len(vote.first)
    counts = {**services.store.counts(), "versions": 0}
    assert (services.learn.pairs(None), services.store.votes(), services.store.count_decisive(), counts) == peoples
    assert len(list(preference_rows(services.store.votes()))) == 1
    decided = [vote for vote in votes if vote.choice]
    assert (
        len(services.learn.ai_pairs("pirate")) == len(decided) == outcome.pairs and services.learn.ai_pairs("zen") == []
    )
    rows = list(ai_preference_rows(votes))
    assert len(rows) == len(decided) and {row["annotator"] for row in rows} == {"by_length"}
    for row, pair in zip(rows, services.learn.ai_pairs(None), strict=True):
        assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == (pair.chosen, pair.rejected)
        assert len(pair.chosen) < len(pair.rejected) and row["prompt"] == pair.messages


@pytest.mark.parametrize("steps", [0, 1])
def test_stopping_leaves_the_model_as_it_was_and_keeps_what_was_chosen(services, steps):
    before = compared(services)
    running = services.online.run(judge(), PRINCIPLE, prompts=PROMPTS, settings=LEARNING)
    taken = []
    while len(steps_of(taken)) < steps or not taken:
        taken.append(next(running))
    running.close()
    drain(services)
    assert IN_LOOP not in held_adapters(services) and services.store.versions() == []
    assert not list((services.settings.data / "adapters").glob("*"))
    assert bool(services.store.ai_votes()) >= bool(steps)
    assert compared(services) == before and services.worker.waiting() == 0
    assert outcome_of(services).version == "v1", "another run may begin"


def test_what_was_learnt_until_it_was_enough_is_a_version(services):
    enough, taken = threading.Event(), []
    for item in services.online.run(judge(), PRINCIPLE, prompts=PROMPTS, settings=LEARNING, enough=enough):
        taken.append(item)
        if steps_of(taken):
            enough.set()
    outcome = taken[-1]
    assert outcome.stopped == "button" and len(outcome.curve) < LEARNING.steps and outcome.curve[-1].win_rate
    assert [version.id for version in services.store.versions()] == [outcome.version] and not outcome.published
    assert "It ended because it was asked to stop." in online_render.outcome(outcome)


def test_comparisons_answer_while_a_judge_chooses(services):
    before = compared(services)
    running = services.online.run(judge(), PRINCIPLE, prompts=PROMPTS, settings=QUICK)
    met = []
    for item in running:
        if isinstance(item, OnlineStep):
            met.append(compared(services))
    assert met == [before] * 3
    assert outcome_of(services).curve[-1].win_rate == item.win_rate, "who else was there changes nothing"


def test_one_run_at_a_time(services):
    running = services.online.run(judge(), PRINCIPLE, prompts=PROMPTS, settings=QUICK)
    next(running)
    with pytest.raises(BusyError, match="at work already"):
        outcome_of(services)
    running.close()
    drain(services)
    assert outcome_of(services).version == "v1"


def test_a_judge_that_fails_leaves_the_model_as_it_was(services):
    class Failing(ByLength):
        def prefer(self, *arguments):
            if len(self.seen) == 5:
                raise ModelError("the judge is gone")
            return super().prefer(*arguments)

    with pytest.raises(ModelError, match="the judge is gone"):
        outcome_of(services, Failing())
    assert IN_LOOP not in held_adapters(services) and services.store.versions() == []
    assert {vote.step for vote in services.store.ai_votes()} == {1}, "what it had said stays"


def test_a_disk_that_takes_nothing_is_told_and_nothing_is_left(services):
    (services.settings.data / "adapters").write_text("no folder")
    with pytest.raises(StorageError, match="could not be written"):
        outcome_of(services)
    assert IN_LOOP not in held_adapters(services) and services.store.versions() == []


def test_prompts_are_stored_ones_and_the_librarys_examples(services):
    for number in (1, 2):
        add_choice(services.store, number)
    add_choice(services.store, 1, "zen")
    found = [messages[-1]["content"] for messages in services.online.prompts("pirate")]
    assert found[:2] == ["Question 2 of pirate?", "Question 1 of pirate?"] and "Question 1 of zen?" not in found
    examples = {text for persona in services.catalogue.library.values() for text in persona.example_prompts}
    assert set(found[2:]) == examples
    assert "Question 1 of zen?" in [messages[-1]["content"] for messages in services.online.prompts("")]
    outcome = outcome_of(services, prompts=None, settings=QUICK.model_copy(update={"steps": 1}))
    assert 0 < outcome.prompts + outcome.prompts_heldout <= len(examples) + 3


def test_prompts_kept_aside_are_never_learnt_from_and_stay_the_same(services):
    shorter = ByLength()
    outcome_of(services, shorter, LEARNING.model_copy(update={"steps": 4, "evaluate_every": 4, "eval_prompts": 4}))
    learnt = {json.dumps(vote.messages) for vote in services.store.ai_votes()}
    asked = {json.dumps(messages) for messages, _, _ in shorter.seen}
    assert len(learnt) <= 8 and len(asked - learnt) <= 4
    shown = {sample.prompt for sample in outcome_of(services).samples}
    assert shown == {sample.prompt for sample in outcome_of(services).samples}
    assert not shown & {json.loads(messages)[-1]["content"] for messages in learnt}
    assert outcome_of(services, samples=False).samples == []


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], f"0 different prompts .*give {FEWEST_PROMPTS} more"),
        (PROMPTS[:1] * 20, f"1 different prompts .*give {FEWEST_PROMPTS - 1} more"),
        (
            [*PROMPTS, [{"role": "user", "content": "tea " * 100}]],
            r"'tea tea .* answer of 8 tokens takes more than the 256",
        ),
    ],
)
def test_prompts_that_do_not_do_are_told(services, prompts, message):
    with pytest.raises(InputError, match=message):
        outcome_of(services, prompts=prompts)
    assert outcome_of(services).version == "v1", "nothing is held any more"


def test_a_file_of_prompts(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("Why?\n\n  How do I make tea?  \n", encoding="utf-8")
    assert [messages[0]["content"] for messages in read_prompts(file)] == ["Why?", "How do I make tea?"]
    with pytest.raises(NotFoundError, match="does not exist"):
        read_prompts(tmp_path / "none.txt")
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no UTF-8"):
        read_prompts(file)
    with pytest.raises(InputError, match="9000 characters long"):
        prompts_of("w" * 9000)


# --- the judges


def test_the_two_judges_of_this_machine_choose(services):
    for name in ("implicit", "embedding"):
        *_, outcome = services.online.run(services.judges.named(name), PRINCIPLE, prompts=PROMPTS, settings=QUICK)
        assert outcome.pairs and outcome.cost.forwards >= outcome.pairs and outcome.cost.prompt_tokens == 0
    assert {vote.annotator for vote in services.store.ai_votes()} == {"implicit", "embedding"}
    assert services.judges.names() == ["implicit", "embedding"]


@pytest.mark.parametrize(("name", "message"), [("endpoint", "PLUMBLINE_JUDGE_URL"), ("oracle", "'oracle'; it must be")])
def test_a_judge_that_is_not_there_is_told(services, name, message):
    with pytest.raises(InputError, match=message):
        services.judges.named(name)


def briefer(prompt):
    """A chat model that means what it says: the shorter of the answers shown."""
    texts = shown(prompt)
    return "1" if len(texts["answer 1"]) < len(texts["answer 2"]) else "2"


@pytest.fixture
def endpoint(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def networked(endpoint, tiny_folders: dict[str, Path], tmp_path: Path) -> Services:
    at = {"judge_url": endpoint.url, "judge_model": "judge-1", "judge_key": SecretStr(KEY)}
    return build(Settings(data=tmp_path / "data", model=str(tiny_folders["llama"]), device="cpu", **at))


def test_an_endpoint_chooses_and_its_tokens_are_counted(networked, endpoint):
    endpoint.script = [briefer]
    chosen = networked.judges.named("endpoint")
    assert networked.judges.names()[-1] == "endpoint" and chosen.waits
    *_, outcome = networked.online.run(chosen, PRINCIPLE, prompts=PROMPTS, settings=QUICK)
    votes = networked.store.ai_votes()
    assert {(vote.annotator, vote.annotator_model) for vote in votes} == {("endpoint", "judge-1")}
    assert all((len(v.first) < len(v.second)) == (v.choice == "first") for v in votes if v.choice)
    assert outcome.cost.prompt_tokens == 100 * len(endpoint.requests) and outcome.pairs
    assert set(endpoint.keys) == {f"Bearer {KEY}"}
    assert KEY not in json.dumps(networked.store.version("v1").settings | networked.store.version("v1").metrics)


def test_nobody_waits_for_an_endpoint_but_the_loop(networked, endpoint):
    """Every request hangs until a comparison was answered; were the model's thread waiting too, it never would be."""
    gate = threading.Event()
    endpoint.script = [lambda prompt: briefer(prompt) if gate.wait(HANG) else "1"]
    running = networked.online.run(networked.judges.named("endpoint"), PRINCIPLE, prompts=PROMPTS, settings=QUICK)
    first = next(running)
    assert isinstance(first, Asking) and first.answered == 0
    assert compared(networked) and not gate.is_set()
    gate.set()
    *_, outcome = running
    assert outcome.pairs


def test_stopping_does_not_wait_for_an_endpoint(networked, endpoint):
    gate = threading.Event()
    endpoint.script = [lambda prompt: briefer(prompt) if gate.wait(HANG) else "1"]
    running = networked.online.run(networked.judges.named("endpoint"), PRINCIPLE, prompts=PROMPTS, settings=QUICK)
    next(running)
    running.close()
    drain(networked)
    while networked.worker.waiting():  # the loop is given up at its next sign of life, with the request still open
        drain(networked)
    assert not gate.is_set() and IN_LOOP not in held_adapters(networked)
    gate.set()


def test_an_endpoint_that_refuses_is_told_and_nothing_is_left(networked, endpoint):
    endpoint.script = [failure(401)]
    with pytest.raises(ModelError, match="check the key"):
        list(networked.online.run(networked.judges.named("endpoint"), PRINCIPLE, prompts=PROMPTS, settings=QUICK))
    assert IN_LOOP not in held_adapters(networked) and networked.store.versions() == []

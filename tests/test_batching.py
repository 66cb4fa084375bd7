"""Continuous batching: whoever joins or leaves, everybody gets the answers that they would get alone."""

import random

import pytest
import torch

from app.decoding.arms import ALL_ARMS, ARM_NAMES, DecodeSettings, build_arms
from app.decoding.batch import Batch
from app.decoding.engine import Engine, decode
from app.decoding.guidance import guided_logits
from app.decoding.run import Run
from app.decoding.trace import trace
from app.errors import InputError
from app.model import LanguageModel

PROMPTS = (
    "Why is the sky blue?",
    "Tea?",
    "Boil the water, add the tea and wait four minutes before you pour it. Why four?",
    "What does a captain drink?",
)


def contexts_of(model, prompt, principle="Answer as a gruff sea captain."):
    system = "You are a helpful assistant."
    return [
        model.chat_ids([{"role": "system", "content": text}, {"role": "user", "content": prompt}])
        for text in (system, f"{system} {principle}")
    ]


def make_run(model, prompt=PROMPTS[0], names=ARM_NAMES, stop=lambda: False, traces=False, **values):
    settings = DecodeSettings(**{"max_new_tokens": 12, "temperature": 0.0, **values})
    arms = build_arms(list(names), torch.ones(1), settings)
    return Run(contexts_of(model, prompt), arms, settings, model.end_ids, stop=stop, traces=traces)


def collect(said, outcomes):
    for run, outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
        said.setdefault(run, []).extend((e.arm, e.token, e.finish_reason) for e in outcome)


def alone(model, run, adapter=None):
    """What a run says with the model for itself."""
    engine, said = Engine(model.forward_with), {}
    engine.add(run, adapter)
    while engine.busy:
        collect(said, engine.step())
    return said[run]


class Counted:
    """A model's forward that notes how many rows and columns it was given."""

    def __init__(self, model):
        self.model, self.shapes = model, []

    def __call__(self, adapter):
        def forward(input_ids, *rest):
            self.shapes.append(tuple(input_ids.shape))
            return self.model.forward_with(adapter)(input_ids, *rest)

        return forward


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma", "gpt_neox", "gpt2", "gemma2"])
def test_answers_do_not_depend_on_who_else_is_there(kind, tiny_folders):
    model = LanguageModel.load(str(tiny_folders[kind]))
    assert model.joins == (kind != "gemma2")
    chance = random.Random(kind)
    wishes = [
        {
            "prompt": chance.choice(PROMPTS),
            "names": chance.sample(ARM_NAMES, chance.randint(1, 3)),
            "temperature": chance.choice((0.0, 0.9)),
            "ratio": chance.choice((0.0, 1.0, 4.0)),
            "seed": i,
            "max_new_tokens": chance.randint(1, 14),
        }
        for i in range(10)
    ]
    expected = [alone(model, make_run(model, **wish)) for wish in wishes]
    engine, said, runs = Engine(model.forward_with, joins=model.joins, at_once=4), {}, []
    while len(runs) < len(wishes) or engine.busy:
        for _ in range(chance.randint(0, 2)):
            if len(runs) < len(wishes):
                runs.append(make_run(model, **wishes[len(runs)]))
                engine.add(runs[-1])
        collect(said, engine.step())
    assert [said[run] for run in runs] == expected
    assert not engine.busy and not engine.waiting()


def add_adapter(model, name, seed):
    """An adapter that answers differently from the original model."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for parameter in model.new_adapter(name, 4, seed):
            parameter.normal_(0, 0.2)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
def test_nor_do_they_where_an_arm_reads_two_models(kind, tiny_folders):
    model = LanguageModel.load(str(tiny_folders[kind]))
    for seed, name in enumerate(("one", "two")):
        add_adapter(model, name, seed)
    chance = random.Random(kind)
    wishes = [
        {
            "prompt": chance.choice(PROMPTS),
            "names": ["adapter_guided", *chance.sample(ALL_ARMS[:-1], chance.randint(0, 2))] if i % 3 else ["amulet"],
            "temperature": chance.choice((0.0, 0.9)),
            "guide_weight": chance.choice((0.5, 1.5)),
            "seed": i,
            "max_new_tokens": chance.randint(1, 12),
        }
        for i in range(9)
    ]
    adapters = [chance.choice((None, "one", "one", "two")) for _ in wishes]
    expected = [alone(model, make_run(model, **wish), a) for wish, a in zip(wishes, adapters, strict=True)]
    engine, said, runs = Engine(model.forward_with, joins=model.joins, at_once=4), {}, []
    while len(runs) < len(wishes) or engine.busy:
        for _ in range(chance.randint(0, 2)):
            if len(runs) < len(wishes):
                runs.append(make_run(model, **wishes[len(runs)]))
                engine.add(runs[-1], adapters[len(runs) - 1])
        collect(said, engine.step())
    assert [said[run] for run in runs] == expected


def test_guided_by_an_adapter_against_whole_forwards_without_a_cache(llama):
    add_adapter(llama, "one", 0)
    run = make_run(llama, names=("adapter_guided",), guide_weight=1.5, guide_top_k=5)
    said = [token for _, token, _ in alone(llama, run, "one") if token is not None]
    ids, expected = contexts_of(llama, PROMPTS[0])[0], []
    with torch.inference_mode():
        for _ in range(12):
            row = torch.tensor([ids + expected])
            original, personal = (llama.logits(row, torch.ones_like(row), adapter)[0, -1] for adapter in (None, "one"))
            token = int(guided_logits(original, personal, 1.5, 5).argmax())
            if token in llama.end_ids:
                break
            expected.append(token)
    assert said == expected and len(said) > 3
    assert expected != [token for _, token, _ in alone(llama, make_run(llama, names=("baseline",)), "one")]


def test_guided_without_weight_is_the_original_model_whatever_adapter_answers(llama):
    add_adapter(llama, "one", 0)
    arms = [
        alone(llama, make_run(llama, names=(name,), guide_weight=0.0, guide_top_k=256), adapter)
        for name, adapter in (("adapter_guided", "one"), ("baseline", None), ("baseline", "one"))
    ]
    tokens = [[token for _, token, _ in said] for said in arms]
    assert tokens[0] == tokens[1] != tokens[2]


def test_two_runs_that_read_two_models_take_one_forward_of_each_a_step(llama):
    add_adapter(llama, "one", 0)
    counted = Counted(llama)
    engine = Engine(counted)
    for prompt in PROMPTS[:2]:
        engine.add(make_run(llama, prompt, names=("adapter_guided", "baseline"), guide_weight=3.0), "one")
        engine.step()
    before = len(counted.shapes)
    engine.step()
    # The original model reads a row for each run; the adapter one for each of its arms, or one where both say the same.
    adapted, original = counted.shapes[before:]
    assert original == (2, 1) and adapted[0] in (2, 3, 4)


def test_arms_that_say_the_same_are_computed_once(llama):
    counted = Counted(llama)
    engine = Engine(counted)
    engine.add(make_run(llama, ratio=0.0, names=("principle_prompted", "linear_aligned")))
    while engine.busy:
        engine.step()
    assert {rows for rows, _ in counted.shapes} == {2} and len(counted.shapes) > 3


def test_equal_prompts_are_read_once(llama):
    counted = Counted(llama)
    engine = Engine(counted)
    for seed in range(3):
        engine.add(make_run(llama, seed=seed, temperature=1.0))
    engine.step()
    assert counted.shapes == [(2, max(map(len, contexts_of(llama, PROMPTS[0]))))]


def test_whoever_comes_is_told_the_first_token_at_once_and_then_all_advance_in_one_forward(llama):
    counted = Counted(llama)
    engine = Engine(counted)
    first, second = make_run(llama, names=("baseline",)), make_run(llama, PROMPTS[2], names=("baseline",))
    engine.add(first)
    engine.step()
    engine.step()
    engine.add(second)
    before = len(counted.shapes)
    assert [run for run, _ in engine.step()] == [second]
    assert len(counted.shapes) == before + 1 and counted.shapes[-1][1] > 1
    for _ in range(2):
        assert [run for run, _ in engine.step()] == [first, second]
    assert counted.shapes[before + 1 :] == [(2, 1)] * 2


def test_where_rows_cannot_be_put_together_they_go_on_apart(llama, monkeypatch):
    def no_memory(self, other):
        raise RuntimeError("no memory left")

    monkeypatch.setattr(Batch, "joining", no_memory)
    engine, said, runs = Engine(llama.forward_with), {}, [make_run(llama), make_run(llama, PROMPTS[2])]
    for run in runs:
        engine.add(run)
        collect(said, engine.step())
    while engine.busy:
        collect(said, engine.step())
    assert [said[run] for run in runs] == [alone(llama, make_run(llama, prompt)) for prompt in (PROMPTS[0], PROMPTS[2])]


def test_the_line_keeps_its_order_and_the_number_at_once(llama):
    engine = Engine(llama.forward_with, at_once=2)
    runs = [make_run(llama, names=("baseline",), max_new_tokens=3 + i) for i in range(5)]
    for run in runs:
        engine.add(run)
    begun = []
    while engine.busy:
        outcomes = engine.step()
        assert len(outcomes) <= 2
        begun += [run for run, _ in outcomes if run not in begun]
        assert engine.waiting() == runs[len(begun) :]
    assert begun == runs


def test_nobody_begins_before_there_is_room(llama):
    small, large = (make_run(llama, max_new_tokens=n) for n in (4, 12))
    room = large.most_rows * large.longest
    engine = Engine(llama.forward_with, room=room)
    engine.add(small)
    engine.add(large)
    engine.step()
    assert engine.waiting() == [large]
    while not small.done:
        engine.step()
    engine.step()
    assert not engine.waiting() and not large.done
    with pytest.raises(InputError, match=rf"take {room} cached tokens; there is room for {room - 1}"):
        Engine(llama.forward_with, room=room - 1).add(make_run(llama))


def test_whoever_cancels_leaves_within_one_step_also_out_of_the_line(llama):
    gone = set()
    runs = [make_run(llama, stop=lambda i=i: i in gone, max_new_tokens=20) for i in range(4)]
    expected = alone(llama, make_run(llama, max_new_tokens=20))
    engine, said = Engine(llama.forward_with, at_once=3), {}
    for run in runs:
        engine.add(run)
    for _ in range(3):
        collect(said, engine.step())
    gone |= {1, 3}
    outcomes = dict(engine.step())
    for i in (1, 3):
        assert [(e.token, e.finish_reason) for e in outcomes[runs[i]]] == [(None, "cancelled")] * 3
        assert runs[i].done
    collect(said, outcomes.items())
    while engine.busy:
        outcomes = engine.step()
        assert not {runs[1], runs[3]} & {run for run, _ in outcomes}
        collect(said, outcomes)
    assert said[runs[0]] == said[runs[2]] == expected


def test_an_error_ends_those_it_concerns(llama):
    expected = alone(llama, make_run(llama))

    def forward_with(adapter):
        if adapter == "broken":
            raise RuntimeError("no memory left")
        return llama.forward_with(adapter)

    engine, said = Engine(forward_with), {}
    good, bad = make_run(llama), make_run(llama)
    engine.add(good)
    collect(said, engine.step())
    engine.add(bad, "broken")
    outcomes = dict(engine.step())
    assert str(outcomes.pop(bad)) == "no memory left" and bad.done
    collect(said, outcomes.items())
    while engine.busy:
        collect(said, engine.step())
    assert said[good] == expected


def test_an_error_in_a_forward_ends_all_that_took_part_and_the_next_are_served(llama):
    failing = []

    def forward_with(adapter):
        def forward(*arguments):
            if failing:
                raise RuntimeError(failing.pop())
            return llama.forward_with(adapter)(*arguments)

        return forward

    engine = Engine(forward_with)
    runs = [make_run(llama), make_run(llama, PROMPTS[1])]
    for run in runs:
        engine.add(run)
    engine.step()
    failing.append("out of memory")
    assert [(run, str(error)) for run, error in engine.step()] == [(run, "out of memory") for run in runs]
    assert not engine.busy
    later, said = make_run(llama), {}
    engine.add(later)
    while engine.busy:
        collect(said, engine.step())
    assert said[later] == alone(llama, make_run(llama))


# --- traces


def test_a_trace_tells_what_each_context_would_have_said(llama):
    settings = DecodeSettings(temperature=0, max_new_tokens=6, top_p=1, ratio=3)
    arms = build_arms(list(ARM_NAMES), torch.ones(1), settings)
    steps = decode(llama.forward, contexts_of(llama, PROMPTS[0]), arms, settings, llama.end_ids, traces=True)
    events = [event for step in steps for event in step if event.token is not None]
    assert {event.arm for event in events} == set(ARM_NAMES)
    for event in events:
        ids, probabilities = zip(*event.trace.chosen, strict=True)
        assert ids[0] == event.token and list(probabilities) == sorted(probabilities, reverse=True)
        assert len(ids) == 5 and 0 < sum(probabilities) <= 1 + 1e-6
        assert len(event.trace.contexts) == (2 if event.arm == "linear_aligned" else 1)
        if event.arm == "linear_aligned":
            assert event.trace.kl > 0
        else:
            assert (event.trace.kl, event.trace.shift) == (0, 0)
            assert dict(event.trace.contexts[0]) == pytest.approx(dict(event.trace.chosen))
    firsts = {event.arm: event.trace for event in reversed(events)}
    # Before the first token every arm reads the same: the aligned arm's contexts are the other two arms.
    for context, arm in zip(firsts["linear_aligned"].contexts, ("baseline", "principle_prompted"), strict=True):
        assert dict(context) == pytest.approx(dict(firsts[arm].chosen))


def test_without_a_step_and_a_nucleus_nothing_is_shifted_from_the_prompted_arm(llama):
    settings = DecodeSettings(temperature=1.0, max_new_tokens=8, top_p=1, ratio=0, seed=4)
    arms = build_arms(["linear_aligned"], torch.ones(1), settings)
    steps = decode(llama.forward, contexts_of(llama, PROMPTS[0]), arms, settings, llama.end_ids, traces=True)
    for (event,) in steps:
        if event.trace:
            assert event.trace.kl == pytest.approx(0, abs=1e-5) and event.trace.shift != 0


def test_kl_and_shift_by_hand():
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]).log()
    arm = torch.tensor([0.0, 0.8, 0.2]).log()
    found = trace(logits, arm, token=1)
    assert found.kl == pytest.approx(
        0.8 * torch.log(torch.tensor(1.6)).item() + 0.2 * torch.log(torch.tensor(0.8)).item()
    )
    assert found.shift == pytest.approx(torch.log(torch.tensor(0.8 / 0.25)).item())
    assert dict(found.chosen) == pytest.approx({1: 0.8, 2: 0.2})
    assert dict(found.contexts[0]) == pytest.approx({0: 0.5, 1: 0.25, 2: 0.25})

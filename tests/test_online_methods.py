"""The kin of OAIF, part by part: who answers, who labels, what is measured against, and that each is its parent at its neutral value."""

import math
import random
from collections import Counter, deque

import pytest
import torch

from app.annotators.preference import Cost, Preference, by_scores
from app.errors import InputError, checked
from app.refresh.answers import EncodedPair, encode, logps
from app.refresh.drawing import Hand, Prompt
from app.refresh.feedback import Judged, OnlineSettings, OnlineStep
from app.refresh.labels import gap_of, implied, scores_of, soft_label, weights_of
from app.refresh.learner import Learner
from app.refresh.methods import ONLINE, REFERENCES
from app.refresh.online import OnlineLoop, _known
from app.refresh.pairs import make_pair
from app.refresh.sources import seldom_first, source_of, turned
from tests.test_online import PRINCIPLE, PROMPTS, ByLength, returned, timeless

SETTINGS = OnlineSettings(
    steps=4, prompts_per_step=3, evaluate_every=4, eval_prompts=3, max_new_tokens=8, learning_rate=0.01, patience=9
)
HELD_OUT, TRAINING = PROMPTS[:3], PROMPTS[3:]
PAIRS = [make_pair(messages, "Boil water, matey!", "One may consider it.") for messages in TRAINING]


class Silent(ByLength):
    """Chooses and gives no scores, as an endpoint does."""

    def prefer(self, *asked):
        preference = super().prefer(*asked)
        return Preference(preference.choice, None, Cost())


class Run:
    """A run on the tiny model: its steps, its judgements, and the rows that every gradient step was made of."""

    def __init__(self, model, monkeypatch, method, annotator=None, pairs=PAIRS, **values):
        settings = SETTINGS.model_copy(update={"method": method, **values})
        self.rows, self.references, self.margins, self.learnt, self.writers = [], [], [], [], set()
        plain, sampled = Learner.step, OnlineLoop._sampled

        def told(loop, prompts, adapter, seeds):
            if seeds is not None:
                self.writers.add(adapter)
            return sampled(loop, prompts, adapter, seeds)

        def watched(learner, batch, reference):
            self.rows.append(batch)
            self.references.append(reference.clone())
            with torch.no_grad():
                chosen, rejected = torch.stack(logps(model, batch, "loop")) - reference
            self.margins.append((chosen - rejected).tolist())
            self.learnt.append(plain(learner, batch, reference))
            return self.learnt[-1]

        monkeypatch.setattr(Learner, "step", watched)
        monkeypatch.setattr(OnlineLoop, "_sampled", told)
        self.loop = OnlineLoop(model, annotator or ByLength(), PRINCIPLE, settings, "loop")
        try:
            items = list(self.loop.run(TRAINING, HELD_OUT, pairs))
        finally:
            model.drop_adapter("loop")
            monkeypatch.setattr(Learner, "step", plain)
            monkeypatch.setattr(OnlineLoop, "_sampled", sampled)
        self.steps = timeless([item for item in items if isinstance(item, OnlineStep)])
        self.judgements = [j for item in items if isinstance(item, Judged) for j in item.judgements]
        assert set(model._peft.peft_config) == {"unused"}, "an adapter was left behind"

    @property
    def figures(self):
        return [(s.loss, s.margin, s.kept, s.dropped, s.tokens, s.kl) for s in self.steps]


@pytest.fixture
def oaif(llama, monkeypatch):
    return Run(llama, monkeypatch, "oaif")


# --- the same as their parents where nothing of their own is asked for


@pytest.mark.parametrize(
    ("method", "values", "others"),
    [
        ("osp", {"strength_scale": 0.0}, {"strength_scale": 20.0}),
        ("optune", {"regenerate": 1.0, "gap_power": 0.0}, {"regenerate": 0.5, "gap_power": 1.0}),
        ("bpo", {"renewals": 0}, {"renewals": 3}),
    ],
)
def test_at_its_neutral_value_a_method_is_oaif(llama, monkeypatch, oaif, method, values, others):
    """And away from it, it learns from the same first answers, but not the same."""
    neutral, usual = Run(llama, monkeypatch, method, **values), Run(llama, monkeypatch, method, **others)
    for ours, theirs in zip(neutral.figures, oaif.figures, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert neutral.rows == oaif.rows
    assert usual.judgements[:3] == oaif.judgements[:3]
    assert [s.loss for s in usual.steps] != pytest.approx([s.loss for s in neutral.steps], abs=1e-4)


def test_mpo_without_hard_pairs_is_dpo_on_the_pairs(llama, monkeypatch):
    """Its steps are those of a learner with the base as its reference; nothing is sampled, and nothing measured of samples."""
    run = Run(llama, monkeypatch, "mpo", hard_below=0.0)
    assert run.judgements == [] and {(s.tokens, s.kl) for s in run.steps} == {(None, None)}
    dpo = Learner(llama, SETTINGS.learner(), "dpo", SETTINGS.steps)
    losses = [dpo.step(rows, dpo.reference(rows)).loss for rows in run.rows]
    assert [s.loss for s in run.steps] == pytest.approx(losses, abs=1e-5) and losses[0] == pytest.approx(
        math.log(2), abs=1e-4
    )
    encoded = encode(llama, PAIRS)
    assert all(row in encoded for rows in run.rows for row in rows)
    assert sorted(encoded.index(row) for rows in run.rows[:3] for row in rows) == list(range(9)), (
        "all once before any twice"
    )


def test_sapo_whose_average_never_moves_is_measured_against_the_base(llama, monkeypatch):
    still, moving = (Run(llama, monkeypatch, "sapo", ema_decay=decay) for decay in (1.0, 0.5))
    for run, same in ((still, True), (moving, False)):
        with torch.no_grad():
            base = [torch.stack(logps(llama, rows, None)) for rows in run.rows]
        assert torch.allclose(base[0], run.references[0], atol=1e-3)
        assert torch.allclose(base[-1], run.references[-1], atol=1e-3) == same


# --- what is their own


def test_osp_doubts_by_the_margin(llama, monkeypatch):
    """The judge's margins are whole numbers of letters; at a scale of 4 a choice by m letters has q = sg(m / 4)."""
    run = Run(llama, monkeypatch, "osp", strength_scale=4.0, steps=1, evaluate_every=1)
    margins = [abs(j.preference.margin) for j in run.judgements if j.preference.choice]
    assert margins and [row.doubt for row in run.rows[0]] == pytest.approx(
        [1 - 1 / (1 + math.exp(-m / 4)) for m in margins]
    )
    assert run.steps[0].loss == pytest.approx(math.log(2), abs=1e-4), "at the start both sides of a label cost the same"


def test_optune_answers_anew_where_the_reward_was_lowest_and_keeps_the_other_answers(llama):
    """Four prompts in a step, half of them anew; the judge's rewards are 7, 1, 5 and 3, and more once a prompt was answered again."""
    settings = SETTINGS.model_copy(update={"method": "optune", "prompts_per_step": 4, "regenerate": 0.5})
    rewards, asked = {0: 7.0, 1: 1.0, 2: 5.0, 3: 3.0}, []

    def sample(prompts, adapter, seeds):
        asked.append([prompt.context[0] for prompt in prompts[::2]])
        return [[seed] for seed in seeds]
        yield

    def prefer(questions):
        if len(asked) > 1:
            rewards.update({q.messages: 10.0 for q in questions})
        return [by_scores(rewards[q.messages] + 1, rewards[q.messages], Cost()) for q in questions]
        yield

    hand = Hand(sample, prefer, str, None, "loop", random.Random(0))
    source = source_of(settings, hand, [Prompt(i, [i]) for i in range(4)], [])
    drawn = [returned(source.draw(step)) for step in (1, 2, 3)]
    assert [sorted(set(prompts)) for prompts in asked] == [[0, 1, 2, 3], [1, 3], [0, 2]]
    assert [len(d.rows) for d in drawn] == [4, 4, 4] and [len(d.written) for d in drawn] == [4, 2, 2]
    kept = [{tuple(row.context): row.chosen for row in d.rows} for d in drawn]
    assert [kept[0][(i,)] == kept[1][(i,)] for i in range(4)] == [True, False, True, False]


def test_optune_weighs_by_the_gap(llama, monkeypatch):
    run = Run(llama, monkeypatch, "optune", steps=1, evaluate_every=1)
    gaps = [abs(j.preference.margin) for j in run.judgements if j.preference.choice]
    assert [row.weight for row in run.rows[0]] == pytest.approx([gap * len(gaps) / sum(gaps) for gap in gaps])


def test_bpo_is_measured_against_a_policy_that_was(llama, monkeypatch):
    """With a renewal after every step the policy is its own reference, and every loss is log 2."""
    run = Run(llama, monkeypatch, "bpo", renewals=3)
    assert [s.loss for s in run.steps if s.loss] == pytest.approx([math.log(2)] * len(run.learnt), abs=1e-4)
    assert run.steps[-1].kl != 0, "the base is another one by then"


def test_sail_labels_by_its_own_reward_and_learns_from_choices_beside(llama, monkeypatch):
    """At the start the implicit reward says nothing, so that the first step is on choices alone; the judge only measures."""
    run = Run(llama, monkeypatch, "sail")
    encoded = encode(llama, PAIRS)
    assert run.judgements == [] and run.steps[0].kept == 3 and run.steps[0].dropped == 3
    assert all(row in encoded for row in run.rows[0])
    own = [
        d
        for rows, ds in zip(run.rows, run.margins, strict=True)
        for r, d in zip(rows, ds, strict=True)
        if r not in encoded
    ]
    assert own and min(own) > 0, "what it chose is what its own reward prefers"
    assert all(s.kept == 3 + 3 - s.dropped for s in run.steps) and run.writers == {"loop"}
    assert run.steps[-1].win_rate is not None


def test_sapo_rejects_what_its_average_makes_of_a_cut_answer(llama, monkeypatch):
    run = Run(llama, monkeypatch, "sapo")
    encoded = {tuple(row.context): row for row in encode(llama, PAIRS)}
    for rows in run.rows:
        assert 1 <= len(rows) <= 3
        for row in rows:
            given = encoded[tuple(row.context)]
            assert row.chosen == given.chosen and row.rejected != given.chosen
            assert len(row.rejected) < len(given.chosen) + SETTINGS.max_new_tokens
    shared = [
        next((i for i, (a, b) in enumerate(zip(r.chosen, r.rejected, strict=False)) if a != b), 0)
        for rows in run.rows
        for r in rows
    ]
    assert max(shared) > 0, "every cut was at the very beginning"
    assert run.writers == {"loop_reference"}
    assert run.judgements == [] and all(s.tokens <= SETTINGS.max_new_tokens for s in run.steps)


def test_mpo_learns_clear_pairs_first_and_then_answers_the_prompts_of_the_others(llama, monkeypatch):
    """Three of nine pairs are clear: a third of six steps. From then on what was learnt is the reference."""
    pairs = [
        make_pair(p.messages, "tea", "a" * 40) if i < 3 else make_pair(p.messages, "tea", "water")
        for i, p in enumerate(PAIRS)
    ]
    run = Run(llama, monkeypatch, "mpo", pairs=pairs, hard_below=10.0, steps=6, evaluate_every=6)
    clear = encode(llama, pairs[:3])
    assert [s.tokens is None for s in run.steps] == [True, True, False, False, False, False]
    assert all(row in clear for rows in run.rows[:2] for row in rows)
    assert {j.step for j in run.judgements} <= {3, 4, 5, 6}
    assert {str(j.question.messages) for j in run.judgements} <= {str(p.messages) for p in pairs[3:]}
    assert run.steps[1].loss < math.log(2) - 1e-4
    first_online = next(s for s in run.steps[2:] if s.loss is not None)
    assert first_online.step > 3 or first_online.loss == pytest.approx(math.log(2), abs=1e-4)


# --- parts by themselves


@pytest.mark.parametrize(
    ("margin", "scale", "sure"), [(None, 0.1, 1.0), (0.3, 0.0, 1.0), (-0.2, 0.2, 0.731059), (0.0, 1.0, 0.5)]
)
def test_a_soft_label_is_how_sure_the_judge_is(margin, scale, sure):
    assert soft_label(margin, scale) == pytest.approx(sure, abs=1e-6)


def test_gaps_weigh_one_on_average():
    judged = [by_scores(*scores, Cost()) for scores in ((1.0, 0.0), (0.0, 3.0))]
    settings = SETTINGS.model_copy(update={"method": "optune"})
    assert weights_of(judged, settings) == [(0.0, 0.5), (0.0, 1.5)]
    squared = settings.model_copy(update={"gap_power": 2.0})
    assert weights_of(judged, squared) == [(0.0, pytest.approx(0.2)), (0.0, pytest.approx(1.8))]
    assert weights_of(judged, SETTINGS) == [(0.0, 1.0)] * 2


def test_what_a_judge_does_not_say_is_not_made_up(llama, monkeypatch):
    assert implied(0.0) is None and implied(-2.0).choice == "second" and implied(2.0).choice == "first"
    assert gap_of(None) == gap_of(Preference(None, 0.0, Cost())) == 0.0
    assert gap_of(Preference("first", None, Cost())) == math.inf and gap_of(Preference("second", -2.0, Cost())) == 2.0
    with pytest.raises(InputError, match="'optune' goes by; take the annotator implicit or embedding"):
        scores_of(Preference("first", None, Cost()))
    with pytest.raises(InputError, match="chooses and gives no scores"):
        Run(llama, monkeypatch, "optune", Silent())


def test_what_was_seldom_learnt_from_is_drawn_first():
    """Of two entries that were drawn 0 and 3 times the weights are 1 and 1/4, so that the first comes first in 4 of 5 draws."""
    entries, chance = deque([["a", 0], ["b", 3]]), random.Random(1)
    found = Counter(seldom_first(entries, 1, chance)[0][0] for _ in range(4000))
    assert found["a"] / 4000 == pytest.approx(0.8, abs=0.03)
    assert sorted(name for name, _ in seldom_first(entries, 5, chance)) == ["a", "b"]


def test_log_probabilities_that_are_known_are_found_again_either_way_round():
    written = [EncodedPair([1], [2], [3]), EncodedPair([4], [5], [6])]
    found = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]])
    assert _known([turned(written[1]), written[0]], written, found).tolist() == [[-4.0, -1.0], [-2.0, -3.0]]
    assert _known([EncodedPair([1], [2], [6])], written, found) is None


@pytest.mark.parametrize("method", [name for name, method in ONLINE.items() if method.pairs])
def test_a_method_that_needs_choices_says_so(llama, monkeypatch, method):
    with pytest.raises(InputError, match=f"the method '{method}' learns from choices .* give a file of pairs"):
        Run(llama, monkeypatch, method, pairs=[])


def test_the_table_is_what_the_settings_take_and_a_wrong_name_is_told_with_it():
    for name, method in ONLINE.items():
        learner = OnlineSettings(method=name).learner()
        assert learner.reference == method.reference and method.reference in REFERENCES
        assert (learner.renewals > 0) == (method.renewed == "evenly") and len(method.paper) == len("2402.04792")
    with pytest.raises(InputError, match=r"method is 'ppo': input should be 'oaif', 'sail', .*'sapo' or 'mpo'"):
        checked(OnlineSettings, method="ppo")

"""The proof's part on every way of learning: the same choices, prompts and judge for each, and what became of the model.

Somebody prefers the answer in one persona's manner. Every objective learns from the same few choices by its own loss alone, every
online loop makes as many steps with the same judge; what is measured are choices that none of them saw, and answers to other prompts.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from app.annotators.implicit import ImplicitJudge
from app.decoding.arms import DecodeSettings
from app.embedding import Embedder
from app.evaluation.scoring import follows, well_formed
from app.insights import share
from app.insights.means import clustered_mean
from app.model import LanguageModel
from app.prompts import Message
from app.refresh.feedback import OnlineSettings, OnlineStep
from app.refresh.methods import OBJECTIVES, ONLINE
from app.refresh.online import OnlineLoop
from app.refresh.pairs import Pair, Rated, make_pair, make_rated
from app.refresh.refresh_settings import RefreshSettings
from app.refresh.rows import reward_sentence, training_rows
from app.refresh.trainer import count_above_zero, encode, margins, train
from tests.benchmarks.proof_online import answered, greedy, principle_of, prompts, voices
from tests.benchmarks.proof_run import kept

STYLE = "pirate"
TRAINING, HELD_OUT, RATED, ANSWERED = 20, 40, 6, 24
ONLINE_SETTINGS = OnlineSettings(steps=12, prompts_per_step=4, evaluate_every=12, max_new_tokens=64, max_seconds=7200)
ADAPTER, ONLY_ASKED = "proof", "ca, not taught"


@dataclass(frozen=True)
class Task:
    """What all learn from, and what all are measured on.

    training, held_out: choices. rated: answers judged by themselves, for objectives that learn from such.
    asked: prompts that the online loops answer. others: own prompts, answered after learning.
    """

    training: list[Pair]
    held_out: list[Pair]
    rated: list[Rated]
    asked: list[list[Message]]
    others: list[list[Message]]


def measure(work: Path, limit: int, settings: OnlineSettings = ONLINE_SETTINGS) -> dict[str, Any]:
    """A row for the model as it was, every objective and every online loop.

    Args:
        work: where finished rows are kept.
        limit: how many choices are held out and own prompts answered, at most.
        settings: of the online loops; its longest answer is everybody's.
    """
    made: dict[str, Any] = {}

    def ready() -> tuple[LanguageModel, Task]:
        # Not loaded where every row is there already.
        if not made:
            made["model"] = LanguageModel.load("starter")
            made["task"] = task_of(made["model"], work, limit, settings)
        return made["model"], made["task"]

    rows = {}
    for name, learn in learners(settings).items():
        rows[name] = kept(work / f"{name}.json", lambda learn=learn: row(*ready(), learn, settings))
        print(f"{name}: {rows[name]['seconds']:.1f} s", file=sys.stderr)
    return {"style": STYLE, "settings": settings.model_dump(), "rows": rows}


Learn = Callable[[LanguageModel, Task], dict[str, Any]]


def learners(settings: OnlineSettings) -> dict[str, Learn]:
    """Every way of learning by name; each that learns adds the adapter and tells its steps, and `asked` where prompts change."""
    alone = RefreshSettings(sft_weight=0.0)
    refreshes = {name: alone.model_copy(update={"objective": name}) for name in OBJECTIVES} | {
        "dpo with sft_weight 1": RefreshSettings(),
        "dpo, reference previous": alone.model_copy(update={"reference": "previous", "renewals": 3}),
        "dpo, reference ema": alone.model_copy(update={"reference": "ema"}),
    }
    loops = {name: settings.model_copy(update={"method": name}) for name in ONLINE}
    return (
        {"before": lambda model, task: {}, ONLY_ASKED: lambda model, task: {"asked": reward_sentence(1.0)}}
        | {name: lambda model, task, of=of: refreshed(model, task, of) for name, of in refreshes.items()}
        | {name: lambda model, task, of=of: looped(model, task, of) for name, of in loops.items()}
    )


def row(model: LanguageModel, task: Task, learn: Learn, settings: OnlineSettings) -> dict[str, Any]:
    """Learns, measures and forgets. `seconds` are of learning alone."""
    started = time.perf_counter()
    try:
        told = learn(model, task)
        seconds = time.perf_counter() - started
        adapter, asked = ADAPTER if "steps" in told else None, told.get("asked", "")
        found = told | {"seconds": round(seconds, 2)} | effect(model, task, adapter, asked, settings)
        if asked:
            found["asked for the lowest"] = effect(model, task, adapter, reward_sentence(0.0), settings)
        return found
    finally:
        model.drop_adapter(ADAPTER)


def refreshed(model: LanguageModel, task: Task, settings: RefreshSettings) -> dict[str, Any]:
    """A refresh on the choices, and on the rated answers where the objective learns from such."""
    learnt = training_rows(model, task.training, task.rated, settings, Embedder().encode)
    losses = [step.loss for step in train(model, learnt.rows, settings, ADAPTER)]
    return {"steps": len(losses), "losses": [losses[0], losses[-1]], "asked": learnt.asked}


def looped(model: LanguageModel, task: Task, settings: OnlineSettings) -> dict[str, Any]:
    """An online loop with the model as its judge. Its two evaluations are among the seconds."""
    loop = OnlineLoop(model, ImplicitJudge(model), principle_of(STYLE), settings, ADAPTER)
    events = loop.run(task.asked, task.others[: settings.prompts_per_step * 2], task.training)
    steps = [event for event in events if isinstance(event, OnlineStep)]
    return {
        "steps": len(steps),
        "pairs": sum(step.kept for step in steps),
        "judge forwards": steps[-1].cost.forwards,
        "win_rate": steps[-1].win_rate.__dict__,
    }


def effect(
    model: LanguageModel, task: Task, adapter: str | None, asked: str, settings: OnlineSettings
) -> dict[str, Any]:
    """What an adapter does: choices that come out right against the base, by how many nats, and what answers are like.

    Args:
        model, task: what is measured, and on what.
        adapter: None is the base.
        asked: a sentence that every prompt's system text ends with; the base goes without.
        settings: how long an answer may be.
    """
    pairs, plain = encode(model, task.held_out, asked), encode(model, task.held_out)
    gaps = margins(model, pairs, adapter) - margins(model, plain, None)
    answers = greedy(model, task.others, adapter, settings, asked)
    voice, numbers = voices()[STYLE], torch.arange(len(gaps)).numpy()
    words = torch.tensor([float(len(text.split())) for text in answers]).numpy()
    return {
        "accuracy": share(count_above_zero(gaps), len(gaps)).__dict__,
        "margin": clustered_mean(gaps.numpy(), numbers).__dict__,
        "style": share(sum(follows(text, voice) for text in answers), len(answers)).__dict__,
        "well_formed": share(sum(well_formed(text, True) for text in answers), len(answers)).__dict__,
        "words": float(words.mean()),
    }


def task_of(model: LanguageModel, work: Path, limit: int, settings: OnlineSettings) -> Task:
    """Answers with the persona's principle, chosen, and without, rejected; some of both stand by themselves. Kept in `work`."""
    asked, others = prompts(min(limit, ANSWERED))
    held_out = min(limit, HELD_OUT)
    used = asked[: TRAINING + held_out + 2 * RATED]

    # As the page samples; the online loops sample at a higher temperature, and answers of those are hard to tell apart by manner.
    decode = DecodeSettings(max_new_tokens=settings.max_new_tokens, no_repeat_ngram=model.no_repeat_ngram)

    def both() -> list[list[str]]:
        plain, led = (
            [model.decode(ids) for ids in answered(model, used, None, decode, range(len(used)), told)]
            for told in ("", principle_of(STYLE))
        )
        return [plain, led]

    plain, led = kept(work / "answers.json", both)
    pairs = [make_pair(m, better, worse) for m, better, worse in zip(used, led, plain, strict=True) if better != worse]
    end = len(used) - RATED
    rated = [make_rated(used[i], plain[i], False) for i in range(end - RATED, end)]
    rated += [make_rated(used[i], led[i], True, demonstration=True) for i in range(end, len(used))]
    aside = [pair for pair in pairs if pair.messages in used[TRAINING : TRAINING + held_out]]
    return Task([pair for pair in pairs if pair.messages in used[:TRAINING]], aside, rated, asked[len(used) :], others)

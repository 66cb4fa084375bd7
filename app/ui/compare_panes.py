"""Comparisons and stored rounds as panes, and the sentences around them. Values in, values out: no Gradio, no HTML."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from app.compare import VOTED_ARMS, Comparison, Progress
from app.decoding.amulet import step_size
from app.decoding.arms import BEST_OF, OFFERED_ARMS, DecodeSettings
from app.decoding.streaming import pieces
from app.traces import described
from app.ui.pull_render import Pull
from app.ui.render import ARM_EXPLANATIONS, ARM_TITLES, Pane, arm_title
from storage.records import Answer, Round

ALIGNED, GUIDED = "linear_aligned", "adapter_guided"
HIDDEN = "One of the two ways of answering. Which one is shown after your choice."
CHOICES = {"first": "First is better", "second": "Second is better", "tie": "Equally good", "both_bad": "Both are bad"}


def steps_of(settings: Mapping[str, Any]) -> dict[str, float]:
    """Where each arm stands on the way from plain (0) over asked (1), see `Pane.steps`.

    Args:
        settings: of `DecodeSettings`, as rounds keep them; what an older round does not name is the usual.
    """
    used = {**DecodeSettings().model_dump(), **settings}
    game = step_size(used["amulet_alpha"], used["amulet_lambda"], used["amulet_eta"], used["amulet_steps"])
    aligned = 1.0 + used["ratio"]
    guided = used["guide_weight"]
    return {"baseline": 0.0, "principle_prompted": 1.0, ALIGNED: aligned, "amulet": 1.0 + game, GUIDED: guided, BEST_OF: 1.0}  # fmt: skip


def open_panes(
    answers: dict[str, Answer],
    arms: tuple[str, ...],
    settings: Mapping[str, Any],
    picked: str = "",
    pull: Pull | None = None,
) -> list[Pane]:
    """The panes of arms that are not hidden; `pull` is of the aligned one, `settings` see `steps_of`."""
    steps, kinds = steps_of(settings), {arm: arm.partition(" @ ")[0] for arm in arms}
    return [
        Pane(
            arm_title(arm),
            ARM_EXPLANATIONS.get(kinds[arm], ""),
            answers.get(arm),
            arm,
            arm == picked,
            steps.get(kinds[arm]),
            pull if arm == ALIGNED else None,
            towards="what was learnt" if kinds[arm] == GUIDED else "the principle",
        )
        for arm in arms
    ]


def running_panes(comparison: Comparison, progress: Progress) -> list[Pane]:
    """The panes of a comparison on its way; of a blind one nothing but the texts, in their hidden order."""
    if not comparison.request.blind:
        return open_panes(
            progress.answers,
            comparison.arms,
            comparison.request.settings.model_dump(),
            pull=pull_so_far(progress),
        )
    sides = (comparison.first_arm, comparison.second_arm)
    return [
        Pane(title, HIDDEN, progress.answers[arm])
        for title, arm in zip(("First answer", "Second answer"), sides, strict=True)
    ]


def pull_so_far(progress: Progress) -> Pull | None:
    """The pull of the aligned answer as far as it is written; None where it is not traced."""
    traces = progress.traces.get(ALIGNED)
    if not traces:
        return None
    parts = pieces(progress.answers[ALIGNED].text, progress.ends[ALIGNED])
    return Pull(parts, [trace.shift for trace in traces], [trace.kl for trace in traces])


def whole_pull(progress: Progress, decode: Callable[[list[int]], str]) -> Pull | None:
    """The pull of the finished aligned answer, with what every arm would have said at each token."""
    pull = pull_so_far(progress)
    if pull is None:
        return None
    traced, written = progress.traces[ALIGNED], progress.answers[ALIGNED].token_ids
    return replace(pull, told=described({ALIGNED: traced}, {ALIGNED: written}, decode)[ALIGNED])


def revealed_panes(round_: Round, choice: str, pull: Pull | None = None) -> list[Pane]:
    """The panes of a stored round whose arms may be told."""
    picked = {"first": round_.first_arm, "second": round_.second_arm}.get(choice, "")
    order = (
        (round_.first_arm, round_.second_arm)
        if round_.blind
        else tuple(dict.fromkeys((*OFFERED_ARMS, *round_.answers)))
    )
    arms = tuple(arm for arm in order if arm in round_.answers)
    return open_panes(round_.answers, arms, round_.settings, picked, pull)


def vote_label(choice: str, blind: bool, voted: tuple[str, ...] = VOTED_ARMS) -> str:
    """What a vote's button says; `voted` are the two arms of an open comparison."""
    if blind or choice in ("tie", "both_bad") or len(voted) != 2:
        return CHOICES[choice]
    return f"{ARM_TITLES[voted[0 if choice == 'first' else 1]]} is better"


def writing(others: int) -> str:
    """The line while answers are being written."""
    return "Writing …" if others == 0 else f"Writing … {others} other{'' if others == 1 else 's'} at the same time."


def in_line(place: int) -> str:
    """The line while others are being answered."""
    return f"Others are being answered just now. You are number {place} in line."


def invitation(comparison: Comparison) -> str:
    """The line that asks for a vote."""
    source = f"the learnt version {comparison.adapter}" if comparison.adapter else "the original model"
    first, second = arm_title(comparison.first_arm), arm_title(comparison.second_arm)
    question = "Which answer is better?" if comparison.request.blind else f"Which is better, {first} or {second}?"
    return f"Written by {source}. {question}"


def thanks(choice: str, round_: Round) -> str:
    """The line after a vote; it tells what stood where."""
    if choice in ("first", "second"):
        arm = round_.first_arm if choice == "first" else round_.second_arm
        return f"You preferred {arm_title(arm)} ({arm})."
    return "Noted: equally good." if choice == "tie" else "Noted: both are bad."

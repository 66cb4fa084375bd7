"""Best of n by an annotator: sample several answers, let it choose one; the honest, expensive baseline of every other method.

It calls the model on the thread of whoever advances it, and a judge that waits for a network holds that thread; it stores nothing.
"""

from collections.abc import Generator
from dataclasses import dataclass

from app.annotators.preference import Annotator, Cost
from app.decoding.arms import DecodeSettings
from app.errors import InputError
from app.model import LanguageModel
from app.prompts import Message, chat
from app.refresh.sampling import sample_answers

ANSWERS_AT_MOST = 32


@dataclass(frozen=True)
class BestOf:
    """What came of it.

    text: the answer that was chosen, one of `answers`.
    answers: all that were sampled, in the order of their seeds.
    undecided: how often the annotator could not tell, and the answer that came first stayed.
    tokens: of all answers together.
    cost: of the annotator's choices.
    token_ids: of the answer that was chosen, without the token that ends it.
    finish_reason: of that answer: "end", or "length" where it was cut there.
    """

    text: str
    answers: list[str]
    undecided: int
    tokens: int
    cost: Cost
    token_ids: list[int]
    finish_reason: str


def best_of(
    model: LanguageModel,
    annotator: Annotator,
    messages: list[Message],
    principle: str,
    count: int,
    settings: DecodeSettings,
    adapter: str | None = None,
) -> Generator[None, None, BestOf]:
    """Samples `count` prompted answers and keeps the one that wins a knockout; gives way after every token and every choice.

    The answers are those of the prompted arm with the seeds `settings.seed`, `settings.seed + 1` and so on, so that the best of one
    is that arm.

    Args:
        model: what answers.
        annotator: chooses, `count - 1` times at most: equal answers are never shown to it.
        messages: the conversation, ending with the user's turn, without a system message.
        principle: a framed principle.
        count: how many answers, 1 to `ANSWERS_AT_MOST`.
        settings: as for the arms; the temperature is above 0 where there is more than one answer.
        adapter: the loaded adapter to answer with; None is the original model.

    Raises:
        InputError: `count` is out of bounds, all answers would be the same, or the prompt is too long.
    """
    if not 1 <= count <= ANSWERS_AT_MOST:
        raise InputError(f"{count} answers were asked for; 1 to {ANSWERS_AT_MOST} can be sampled to choose from")
    if count > 1 and settings.temperature == 0:
        raise InputError(f"the temperature is 0, at which {count} answers are all the same; give one above 0")
    context = model.chat_ids(chat(messages, principle))
    seeds = [settings.seed + i for i in range(count)]
    token_ids = yield from sample_answers(model, [context] * count, adapter, settings, seeds)
    answers = [model.decode(ids) for ids in token_ids]
    best, undecided, cost = 0, 0, Cost()
    for number, answer in enumerate(answers):
        if answer == answers[best]:
            continue
        preference = annotator.prefer(messages, principle, answers[best], answer)
        cost += preference.cost
        undecided += preference.choice is None
        best = number if preference.choice == "second" else best
        yield None
    chosen = token_ids[best]
    ended = bool(chosen) and chosen[-1] in model.end_ids
    return BestOf(
        text=answers[best],
        answers=answers,
        undecided=undecided,
        tokens=sum(map(len, token_ids)),
        cost=cost,
        token_ids=chosen[:-1] if ended else chosen,
        finish_reason="end" if ended else "length",
    )

"""The arm *best of n* as part of a comparison: several prompted answers, of which the original model, as its own judge, keeps one.

It writes no text before the choice is made, so nothing of it can be streamed. It calls the model on the thread of whoever advances it.
"""

import time
from collections.abc import Callable, Iterator

from app.annotators.implicit import ImplicitJudge
from app.best_of import best_of
from app.decoding.arms import BEST_OF, DecodeSettings
from app.model import LanguageModel
from app.prompts import Message, chat
from storage.records import Answer


def best_of_steps(
    model: LanguageModel,
    load: Callable[[], str | None],
    messages: list[Message],
    principle: str,
    settings: DecodeSettings,
    cut: Callable[[], str],
) -> Iterator[Answer | None]:
    """Gives way after every token and every choice; the last item is the answer.

    Args:
        model: answers and judges.
        load: makes the adapter available and returns what the model calls it; called with the first step.
        messages: the conversation, ending with the user's turn, without a system message.
        principle: framed; what is asked for and judged by.
        settings: as for every arm; `best_of_count` says how many answers, the first with the seed of the others' arms.
        cut: asked before every step; the finish reason where it has to end, else "". Nothing was chosen then, so the text is empty.

    Raises:
        InputError: the prompt is too long.
    """
    started = time.monotonic()
    # The judge reads every answer with the token that ends it.
    room = model.context_length - len(model.chat_ids(chat(messages, principle))) - 1
    settings = settings.model_copy(update={"max_new_tokens": max(1, min(settings.max_new_tokens, room))})
    steps = best_of(model, ImplicitJudge(model), messages, principle, settings.best_of_count, settings, adapter=load())
    while not (reason := cut()):
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
            yield Answer(
                BEST_OF, found.text, found.token_ids, found.finish_reason, round(time.monotonic() - started, 4)
            )
            return
        yield None
    steps.close()
    yield Answer(BEST_OF, "", [], reason, round(time.monotonic() - started, 4))

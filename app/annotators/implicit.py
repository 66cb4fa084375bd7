"""The model as its own judge: an answer is good if the principle makes it likelier. No second model, no network.

It knows token ids through `app.model` only, and calls it on the thread of whoever asks: the one that owns the model.
"""

from app.annotators.preference import Cost, Preference, by_scores
from app.errors import InputError
from app.model import LanguageModel
from app.prompts import Message, with_system
from app.refresh.answers import fidelities


class ImplicitJudge:
    """Scores an answer y by `(log p(y | prompt, principle) - log p(y | prompt)) / tokens of y`, its end token included.

    The mean over tokens, not the sum: every token of an answer in the principle's manner adds to the sum, so that the
    longer of two such answers would win for its length alone. The price is that a long answer with one telling sentence
    scores little. The log-ratio of the same model with and without the principle is what linear alignment follows at
    decode time (arXiv 2401.11458); as a judge of whole answers it is ours, so the tests hold its arithmetic and no
    paper's number.

    Args:
        model: scores the answers; a forward of four rows a choice, right-padded to the longest.
        adapter: the loaded adapter to judge with; None is the original model, the same judge
            however a policy learns.
    """

    def __init__(self, model: LanguageModel, adapter: str | None = None):
        self._model, self._adapter = model, adapter

    def prefer(self, messages: list[Message], principle: str, first: str, second: str) -> Preference:
        """See `Annotator.prefer`; the margin is in nats per token.

        Raises:
            InputError: a prompt with an answer is longer than the model can read.
        """
        answers = [self._model.answer_ids(text) for text in (first, second)]
        if answers[0] == answers[1]:
            return Preference(None, 0.0, Cost())
        # The same system text on both sides, as in `app.prompts`: the ratio then holds the principle and nothing else.
        led = self._model.chat_ids(with_system(messages, principle))
        plain = self._model.chat_ids(with_system(messages))
        longest = max(map(len, (led, plain))) + max(map(len, answers))
        if longest > self._model.context_length:
            raise InputError(
                f"the prompt with an answer is {longest} tokens long; the judge {self._model.name!r} reads "
                f"{self._model.context_length}: shorten the prompt or the answers"
            )
        (first_score, _), (second_score, _) = fidelities(self._model, [(plain, led, a) for a in answers], self._adapter)
        return by_scores(first_score, second_score, Cost(forwards=1))

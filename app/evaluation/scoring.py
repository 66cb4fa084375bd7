"""Judges that give every answer a score of its own: rules, the corpus's classifier, the embedder, and the model by its likelihoods.

A judge of pairs is in `pairing`. None of them knows which contestant wrote what it reads. None is the score where a judge has no say.
"""

import re
from collections.abc import Callable
from functools import cache

import yaml

from app.embedding import Embedder
from app.errors import InputError
from app.evaluation.columns import JUDGES
from app.evaluation.plan import Written
from app.evaluation.questions import Case
from app.model import LanguageModel
from app.prompts import contexts
from app.refresh.answers import fidelities
from app.starter import CORPUS_FOLDER, STARTER_FOLDER
from app.starter.compose import repeats_itself
from app.starter.dataset import Corpus
from app.starter.measures import Fluency, PersonaClassifier, ends_properly
from app.starter.voices import Voice, load_voices

Scores = list[dict[str, float | None]]
Score = Callable[[list[Case], list[Written]], Scores]
ANSWERS_AT_ONCE = 8  # of the model as a judge; each is read twice


def follows(text: str, voice: Voice) -> bool:
    """Whether a text is in the manner of a voice, by the voice's own rule."""
    lines = [line for line in text.splitlines() if line.strip()]
    if voice.check == "dashes":
        return len(lines) > 1 and all(line.startswith("- ") for line in lines)
    if voice.check == "lines":
        return len(lines) > 1 and not any(line.startswith("- ") for line in lines)
    if voice.check:
        return 0 < len(text.split()) <= int(voice.check.rpartition(":")[2])
    return any(re.search(marker, text) for marker in voice.markers)


def by_markers() -> Score:
    """The rules of the starter's corpus; no say on a manner that it has no voice for."""
    voices = load_voices(CORPUS_FOLDER / "voices")
    del voices["plain"]

    def score(cases: list[Case], answers: list[Written]) -> Scores:
        of = [voices.get(case.principle.persona) for case in cases]
        return [{"markers": voice and float(follows(a.text, voice))} for voice, a in zip(of, answers, strict=True)]

    return score


def well_formed(text: str, ended: bool) -> bool:
    """Whether an answer ended by itself, with a full stop or a list's item, and does not repeat itself."""
    return ended and ends_properly(text) and not repeats_itself(text)


def by_form() -> Score:
    """Needs no model and no corpus."""
    return lambda cases, answers: [{"well_formed": float(well_formed(a.text, a.ended))} for a in answers]


def by_classifier(classifier: PersonaClassifier) -> Score:
    """The classifier's probability of the persona; no say on a manner that is not in the corpus."""

    def score(cases: list[Case], answers: list[Written]) -> Scores:
        personas = [case.principle.persona for case in cases]
        asked = [persona if persona in classifier.personas else "plain" for persona in personas]
        sure = classifier.probability([a.text for a in answers], asked)
        return [{"classifier": None if a == "plain" else s} for s, a in zip(sure, asked, strict=True)]

    return score


def by_fluency(fluent: Fluency) -> Score:
    """See `app.starter.measures.Fluency`: made for the starter's answers, and strange to those of other models."""
    return lambda cases, answers: [{"fluent": float(fluent(a.text, a.ended))} for a in answers]


@cache
def starter_corpus() -> Corpus:
    """What the starter learnt from; read once."""
    return Corpus(yaml.safe_load((STARTER_FOLDER / "config.yaml").read_text(encoding="utf-8")))


@cache
def starter_fluency() -> Fluency:
    """Counted over the starter's corpus, which takes a while; once."""
    return Fluency(starter_corpus())


def by_embedding(embedder: Embedder) -> Score:
    """The cosine of answer and principle, see `app.annotators.embedding`."""

    def score(cases: list[Case], answers: list[Written]) -> Scores:
        towards = embedder.encode([case.principle.text for case in cases])
        found = (embedder.encode([a.text for a in answers]) * towards).sum(axis=1).tolist()
        return [{"embedding": cosine if a.text.strip() else None} for cosine, a in zip(found, answers, strict=True)]

    return score


def by_likelihood(model: LanguageModel) -> Score:
    """Both columns of the original model's: as the implicit judge has it, and of the answer alone; see `app.sweep.Point`.

    Linear alignment follows the very ratio that `implicit` measures, so that this judge leans to it; `markers` and `classifier` do
    not know the model.
    """

    def score(cases: list[Case], answers: list[Written]) -> Scores:
        ids = [model.answer_ids(answer.text) if answer.text.strip() else [] for answer in answers]
        chats = [contexts([{"role": "user", "content": case.prompt}], [case.principle.text]) for case in cases]
        rows = [(*map(model.chat_ids, both), ids[i]) for i, both in enumerate(chats)]
        fits = [
            i
            for i, (plain, led, answer) in enumerate(rows)
            if answer and max(len(plain), len(led)) + len(answer) <= model.context_length
        ]
        found: Scores = [{"implicit": None, "natural": None} for _ in cases]
        for start in range(0, len(fits), ANSWERS_AT_ONCE):
            part = fits[start : start + ANSWERS_AT_ONCE]
            for i, (implicit, natural) in zip(part, fidelities(model, [rows[i] for i in part]), strict=True):
                found[i] = {"implicit": implicit, "natural": natural}
        return found

    return score


def scorers(names: list[str], model: LanguageModel, embedder: Embedder) -> dict[str, Score]:
    """The judges by name, without those of pairs; the form of an answer is always looked at.

    Raises:
        InputError: a name is none of `JUDGES`.
    """
    if unknown := [name for name in names if name not in JUDGES]:
        raise InputError(f"the judge is {unknown[0][:40]!r}; it must be one of {', '.join(JUDGES)}")
    found = {"form": by_form()}
    if "markers" in names:
        found["markers"] = by_markers()
    if "classifier" in names:
        found["classifier"] = by_classifier(PersonaClassifier(starter_corpus()))
    if "fluency" in names:
        found["fluency"] = by_fluency(starter_fluency())
    if "implicit" in names:
        found["implicit"] = by_likelihood(model)
    if "embedding" in names:
        found["embedding"] = by_embedding(embedder)
    return found

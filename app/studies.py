"""The use case *study*: make one, label it task by task, take a label back, see at the end which arm was which.

What a rater gets tells neither the arms apart nor a repeat from a first look. It knows neither SQL nor Gradio.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.arms_asked import check_needs, checked_vote
from app.catalogue import Catalogue
from app.compare import Compare
from app.decoding.arms import DecodeSettings
from app.embedding import Embedder
from app.errors import InputError, NotFoundError
from app.far_first import far_first
from app.prompts import MAX_PROMPT_CHARACTERS, Message, clean
from app.raters import Raters
from app.serving import Serving
from app.study_answers import StudyAnswers
from app.versions import Versions
from storage.assignments import Assignments
from storage.records import Choice, Overview, Study
from storage.store import Store
from storage.studies import StudyTable

LONGEST_NAME = 80
MOST_ITEMS = 10_000
MOST_OVERLAP = 50
MOST_REPEAT = 0.5


@dataclass(frozen=True)
class Task:
    """What a rater sees.

    round_id: what the choice is sent with; cannot be guessed.
    messages: the conversation, up to the prompt.
    persona, principle: what the answers should be like, its name and its sentence.
    first, second: the two texts.
    done, total: this rater's labels in the study, and how many there may be in all.
    """

    round_id: str
    messages: list[Message]
    persona: str
    principle: str
    first: str
    second: str
    done: int
    total: int


@dataclass(frozen=True)
class Waiting:
    """Nothing to label just now: `pending` answers are still being made."""

    pending: int
    done: int
    total: int


@dataclass(frozen=True)
class Revealed:
    """A round that the rater voted on, with both arms."""

    round_id: str
    messages: list[Message]
    persona: str
    first: str
    second: str
    first_arm: str
    second_arm: str
    choice: str


class Studies:
    """Makes studies and hands them out.

    Args:
        store, catalogue, versions, embedder: rounds, personas, adapter versions, and what tells meanings.
        compare, serving: what answers.
        raters: who may label.
        authorise: raises NotAllowedError where a token is not the owner's.
    """

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        versions: Versions,
        embedder: Embedder,
        compare: Compare,
        serving: Serving,
        raters: Raters,
        authorise: Callable[[str], None],
    ):
        self._store, self._catalogue, self._versions, self._embedder = store, catalogue, versions, embedder
        self._model, self._raters, self._authorise = compare.model, raters, authorise
        self._table, self._assignments = StudyTable(store.database), Assignments(store.database)
        self._answers = StudyAnswers(self._table, compare, serving)

    # --- the owner's

    def create(
        self,
        name: str,
        prompts: list[str],
        personas: list[str],
        arms: tuple[str, str],
        overlap: int = 1,
        repeat: float = 0.1,
        settings: DecodeSettings | None = None,
        adapter: str | None = None,
        token: str = "",
        far_first: bool = False,
    ) -> Study:
        """Stores a study of every prompt under every persona; its answers are made by `prepare` or `answer`.

        Args:
            name: for people; no two studies share one.
            prompts, personas: texts and ids, each once.
            arms: the two that are compared.
            overlap: how many raters every item gets.
            repeat: the share of a rater's items that come back with the sides exchanged.
            settings: of both arms; the seed is the first item's, and every later item's is one more.
            adapter: a version or a mixture, "none" for the original model, or None for what is published.
            token: the owner's, where one is set.
            far_first: order the prompts so that each is far in meaning from those before it and from what people labelled so far,
                instead of as given.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            InputError: something is empty, twice there, out of bounds, or taken.
            NotFoundError: no such persona or version.
        """
        self._authorise(token)
        name = clean(name, "the name of the study", LONGEST_NAME)
        prompts = _checked_prompts(prompts)
        personas = _checked_personas(personas)
        for persona in personas:
            self._catalogue.get(persona)
        checked_vote(arms)
        _check_numbers(len(prompts) * len(personas), overlap, repeat)
        settings = settings or DecodeSettings()
        adapter = self._adapter(adapter, personas)
        check_needs(arms, adapter, settings, [1.0])
        study = Study(
            id=secrets.token_urlsafe(9),
            name=name,
            arms=tuple(arms),
            overlap=overlap,
            repeat=float(repeat),
            settings=settings.model_dump(),
            adapter=adapter,
            model=self._model.name,
            model_revision=self._model.revision,
        )
        if far_first:
            prompts = self._far_first(prompts)
        self._table.add(
            study, [(persona, [{"role": "user", "content": prompt}]) for prompt in prompts for persona in personas]
        )
        self._answers.wake()
        return study

    def close(self, study_id: str, token: str = "") -> None:
        """From now on it hands nothing out.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            NotFoundError: no such study.
        """
        self._authorise(token)
        self._table.close(self._table.get(study_id).id)

    def named(self, name: str) -> Study:
        """A study by its name.

        Raises:
            NotFoundError: no such study.
        """
        return self._table.named(name)

    def all(self) -> list[Overview]:
        """How far every study is, the newest first."""
        return self._table.overviews()

    def prepare(self) -> None:
        """Starts or continues making answers in the background, behind visitors; may be called at any time."""
        self._answers.prepare()

    def rest(self) -> bool:
        """Makes no answers in the background any more, after the one that it is at; returns whether it did."""
        return self._answers.rest()

    def answer(self, study_id: str) -> Iterator[Overview]:
        """Makes a study's answers here and now; yields how far it is after every item, and at the end.

        Raises:
            BusyError, StorageError: as the parts say; what was answered stays.
        """
        while self._answers.answer_next(study_id):
            yield self._overview(study_id)
        yield self._overview(study_id)

    # --- a rater's

    def next(self, study_id: str, rater: str) -> Task | Waiting | None:
        """What a rater labels now; the same again after a reload or in a second tab. None: nothing is left for them.

        Raises:
            NotFoundError: no such study.
            ConsentError: the rater has not agreed to the consent text as it stands.
        """
        study = self._table.get(study_id)
        self._raters.checked(rater)
        handed = self._assignments.hand_out(study, rater)
        if handed.round:
            round_ = self._store.round(handed.round)
            return Task(
                round_id=round_.id,
                messages=round_.messages,
                persona=self._persona_name(round_.persona),
                principle=" ".join(p["text"] for p in round_.principles),
                first=round_.answers[round_.first_arm].text,
                second=round_.answers[round_.second_arm].text,
                done=handed.done,
                total=handed.total,
            )
        # Another model's study waits for nothing: its answers are not made here.
        if handed.pending and study.model_revision == self._model.revision:
            return Waiting(handed.pending, handed.done, handed.total)
        return None

    def skip(self, round_id: str, rater: str) -> None:
        """Gives a task back unlabelled.

        Raises:
            NotFoundError: the rater does not have this task.
            InputError: it was labelled already.
        """
        self._assignments.skip(round_id, rater)

    def undo(self, study_id: str, rater: str) -> Task | Waiting | None:
        """Takes the rater's last label of a study back and returns its task; where there was none, what `next` says.

        Raises:
            InputError: the arms were revealed, or the study is closed.
            NotFoundError, ConsentError: as for `next`.
        """
        self._assignments.undo(self._table.get(study_id), rater)
        return self.next(study_id, rater)

    def reveal(self, study_id: str, rater: str) -> list[Revealed]:
        """Every round that the rater voted on in a study, with both arms. The study is over for them with it.

        Raises:
            InputError: the study is open and something is left for this rater.
            NotFoundError, ConsentError: as for `next`.
        """
        study = self._table.get(study_id)
        if study.state == "open" and self.next(study_id, rater) is not None:
            raise InputError(
                f"the study {study.name!r} has more for you to label; which answer was which is shown at its end"
            )
        return [self._revealed(round_id, choice) for round_id, choice in self._assignments.reveal(study, rater)]

    # --- parts

    def _overview(self, study_id: str) -> Overview:
        return next(overview for overview in self.all() if overview.id == study_id)

    def _revealed(self, round_id: str, choice: Choice) -> Revealed:
        round_ = self._store.round(round_id)
        return Revealed(
            round_id=round_id,
            messages=round_.messages,
            persona=self._persona_name(round_.persona),
            first=round_.answers[round_.first_arm].text,
            second=round_.answers[round_.second_arm].text,
            first_arm=round_.first_arm,
            second_arm=round_.second_arm,
            choice=choice,
        )

    def _persona_name(self, persona_id: str) -> str:
        """Also of somebody's own one: who made the study has shown it to the raters."""
        try:
            return self._catalogue.get(persona_id).name
        except NotFoundError:
            return persona_id  # deleted meanwhile

    def _adapter(self, adapter: str | None, personas: list[str]) -> str:
        if adapter is not None:
            return "" if adapter in ("", "none") else self._versions.answering(adapter)
        in_use = {persona: self._versions.in_use(persona) for persona in personas}
        if len(set(in_use.values())) > 1:
            answered = ", ".join(
                f"{persona} by {version or 'the original model'}" for persona, version in in_use.items()
            )
            raise InputError(
                f"the personas are answered by different versions ({answered[:200]}); name one version for the study, or none"
            )
        return in_use[personas[0]]

    def _far_first(self, prompts: list[str]) -> list[str]:
        labelled = self._embedder.encode(self._table.prompts_labelled())
        return [prompts[i] for i in far_first(self._embedder.encode(prompts), labelled)]


def _checked_prompts(prompts: list[str]) -> list[str]:
    if not prompts:
        raise InputError("the study has no prompts; give one at least")
    places: dict[str, int] = {}
    for place, prompt in enumerate(prompts, start=1):
        text = clean(prompt, f"prompt {place}", MAX_PROMPT_CHARACTERS)
        if text in places:
            raise InputError(
                f"prompt {place} is the same as prompt {places[text]} ({text[:40]!r}); nobody is to label an item twice: leave one out"
            )
        places[text] = place
    return list(places)


def _checked_personas(personas: list[str]) -> list[str]:
    if not personas or len(set(personas)) < len(personas):
        raise InputError(
            f"the personas are {', '.join(map(str, personas))[:80] or 'none'}; give one at least, and each only once"
        )
    return list(personas)


def _check_numbers(items: int, overlap: int, repeat: float) -> None:
    if items > MOST_ITEMS:
        raise InputError(f"prompts times personas make {items} items; {MOST_ITEMS} are the most in one study")
    if not isinstance(overlap, int) or not 1 <= overlap <= MOST_OVERLAP:
        raise InputError(
            f"the overlap is {str(overlap)[:40]}; it must be a whole number of raters from 1 to {MOST_OVERLAP}"
        )
    if not isinstance(repeat, int | float) or not 0 <= repeat <= MOST_REPEAT:
        raise InputError(f"the share of repeats is {str(repeat)[:40]}; it must lie between 0 and {MOST_REPEAT}")

"""The use case *compare*: one prompt, one model, several arms, streamed and stored as a round.

Here model and storage meet; it knows neither SQL nor Gradio. What the sides of a blind round hide is decided here and stays here.
"""

import random
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import torch
from pydantic import BaseModel, ConfigDict, Field

from app.arms_asked import check_needs, checked_arms
from app.best_of_arm import best_of_steps
from app.catalogue import AnyPersona, Catalogue
from app.decoding.arms import ARM_NAMES, BEST_OF, Arm, DecodeSettings, build_arms
from app.decoding.run import Run, TokenEvent
from app.decoding.streaming import TextStream
from app.decoding.trace import TokenTrace
from app.errors import InputError, checked
from app.limits import at_once, spend
from app.model import LanguageModel
from app.prompts import MAX_PROMPT_CHARACTERS, Message, clean, contexts, frame
from app.serving import HasGone, Place, Serving
from app.version import VERSION
from app.versions import Versions
from personas import Persona
from storage.records import Answer, Round
from storage.store import Store

DEADLINE_SECONDS = 120.0
VOTED_ARMS = ("baseline", "linear_aligned")


class Principle(BaseModel):
    """A principle in a person's words, how it enters the prompt, and its weight where there are several (negative: avoid)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    framing: str = "principle"
    weight: float = Field(1.0, ge=-5, le=5, allow_inf_nan=False)


class Request(BaseModel):
    """What a person asks for. Either `persona` or `principles`; `messages` ends with the user's turn.

    adapter: a version, a mixture such as "v2*0.5+v4*0.5", "none" for the original model, or None for what is published for the
        persona.
    blind: only the two arms that are voted on are run, and their sides are drawn by lot.
    traces: whether to tell how every token came about; not where blind, since that would tell the arms apart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: tuple[tuple[str, str], ...]
    persona: str = ""
    principles: tuple[Principle, ...] = ()
    arms: tuple[str, ...] = ARM_NAMES
    voted_arms: tuple[str, str] = VOTED_ARMS
    settings: DecodeSettings = DecodeSettings()
    adapter: str | None = None
    blind: bool = False
    traces: bool = False


@dataclass
class Progress:
    """What every arm has said so far; an answer's `finish_reason` is empty while it goes on.

    place: where the comparison stands in line; 0 once it is being answered.
    traces: by arm, one for each token of its answer; empty unless they were asked for.
    ends: by arm, where each token ends in the text, see `TextStream`.
    """

    answers: dict[str, Answer]
    place: int = 0
    traces: dict[str, list[TokenTrace]] = field(default_factory=dict)
    ends: dict[str, list[int]] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether every arm has finished."""
        return all(answer.finish_reason for answer in self.answers.values())


@dataclass
class Comparison:
    """One comparison on its way: an id that cannot be guessed, the side order, and everything that decides its outcome."""

    round_id: str
    request: Request
    adapter: str
    principles: list[Principle]
    chats: list[list[Message]]
    contexts: list[list[int]]
    first_arm: str
    second_arm: str
    arms: tuple[str, ...]
    rater: str
    seconds: float = DEADLINE_SECONDS  # the longest that it may take, from its first step on
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def streamed(self) -> tuple[str, ...]:
        """The arms that are written word by word, together."""
        return tuple(arm for arm in self.arms if arm != BEST_OF)

    @property
    def is_kept(self) -> bool:
        """Whether the round is stored: only one that holds both arms of a vote is; any other is looked at and forgotten."""
        return {self.first_arm, self.second_arm} <= set(self.arms)


class Compare:
    """Runs comparisons.

    Args:
        model, serving: the model and the line in front of it.
        store, catalogue, versions: rounds, personas and adapter versions.
        running: by id, what may be cancelled; shared where another model has taken over and answers of the old one go on.
    """

    def __init__(
        self,
        model: LanguageModel,
        serving: Serving,
        store: Store,
        catalogue: Catalogue,
        versions: Versions,
        running: dict[str, Comparison] | None = None,
    ):
        self.model, self._serving, self._store = model, serving, store
        self._catalogue, self._versions = catalogue, versions
        self._running = {} if running is None else running

    def start(self, request: Request, rater: str) -> Comparison:
        """Checks a request and fixes everything that decides its outcome; nothing is computed yet.

        Raises:
            InputError: prompt, principle, arms or adapter are malformed, empty or too long.
            NotFoundError: no such persona or version.
            LimitError: the visitor asks for too much just now.
        """
        principles = self._principles(request)
        messages = _checked_messages(request.messages)
        arms = checked_arms(request.arms, request.voted_arms, request.blind)
        if request.blind and request.traces:
            raise InputError(
                "both blind and traces were asked for, and traces tell the arms apart; leave one of them out"
            )
        sides = list(request.voted_arms)
        if request.blind:
            random.SystemRandom().shuffle(sides)
        if not request.settings.no_repeat_ngram:
            settings = request.settings.model_copy(update={"no_repeat_ngram": self.model.no_repeat_ngram})
            request = request.model_copy(update={"settings": settings})
        adapter = self.resolve_adapter(request.adapter, request.persona, rater)
        check_needs(arms, adapter, request.settings, [p.weight for p in principles])
        chats = contexts(messages, [frame(p.text, p.framing) for p in principles])
        context_ids = [self.model.chat_ids(chat) for chat in chats]
        answers = len(arms) + (request.settings.best_of_count - 1 if BEST_OF in arms else 0)
        spend("tokens", rater, answers * request.settings.max_new_tokens)
        spend("comparisons", rater)
        return Comparison(
            round_id=secrets.token_urlsafe(12),
            request=request,
            adapter=adapter,
            principles=principles,
            chats=chats,
            contexts=context_ids,
            first_arm=sides[0],
            second_arm=sides[1],
            arms=arms,
            rater=rater,
        )

    def run(self, comparison: Comparison) -> Iterator[Progress]:
        """As `answer`, and stores the round before the last item.

        A consumer that goes away frees its place within one step; its round is not stored.

        Raises:
            BusyError: too much is waiting.
            StorageError: the round could not be stored.
        """
        with closing(self.answer(comparison)) as answering:
            for progress in answering:
                if progress.done and comparison.is_kept:
                    self._store.add_round(self.round_of(comparison, progress.answers))
                yield progress

    def answer(self, comparison: Comparison) -> Generator[Progress, None, None]:
        """Gets in line and yields after every step; stores nothing.

        The arm best_of_n comes after the others and all at once, which would tell it in a blind round: there no text is told before
        both are written.

        Raises:
            BusyError: too much is waiting.
        """
        streams = {arm: TextStream(self.model.decode) for arm in comparison.streamed}
        unwritten = {arm: Answer(arm, "", [], "", 0.0) for arm in comparison.arms}
        answers = dict(unwritten)
        traces: dict[str, list[TokenTrace]] = {arm: [] for arm in streams}
        all_at_once = comparison.request.blind and BEST_OF in comparison.arms

        def told() -> Progress:
            whole = all(answer.finish_reason for answer in answers.values())
            shown = dict(unwritten if all_at_once and not whole else answers)
            return Progress(shown, 0, traces, {arm: stream.ends for arm, stream in streams.items()})

        started = time.monotonic()
        self._running[comparison.round_id] = comparison
        place = 0
        try:
            for events in self.events(comparison, partial(_arms, comparison)) if streams else ():
                if isinstance(events, Place):
                    place = events.number
                elif events:
                    place = 0
                if place:
                    yield Progress(dict(unwritten), place)
                    continue
                for event in events:
                    if event.trace:
                        traces[event.arm].append(event.trace)
                    stream = streams[event.arm]
                    if event.token is not None:
                        stream.push(event.token)
                    if event.finish_reason:
                        stream.close()
                    seconds = round(time.monotonic() - started, 4)
                    answers[event.arm] = Answer(
                        event.arm, stream.text, list(stream.token_ids), event.finish_reason or "", seconds
                    )
                progress = told()
                yield progress
                if progress.done:
                    return
            for chosen in self._best_of(comparison) if BEST_OF in comparison.arms else ():
                answers[BEST_OF] = chosen or answers[BEST_OF]
                yield told()
        finally:
            del self._running[comparison.round_id]

    def round_of(self, comparison: Comparison, answers: dict[str, Answer]) -> Round:
        """What is stored of a comparison that has ended."""
        request = comparison.request
        return Round(
            id=comparison.round_id,
            rater=comparison.rater,
            persona=request.persona,
            principles=[{"text": frame(p.text, p.framing), "weight": p.weight} for p in comparison.principles],
            messages=comparison.chats[0][1:],
            settings=request.settings.model_dump(),
            model=self.model.name,
            model_revision=self.model.revision,
            adapter=comparison.adapter,
            blind=request.blind,
            first_arm=comparison.first_arm,
            second_arm=comparison.second_arm,
            app_version=VERSION,
            answers=answers,
        )

    def events(
        self, comparison: Comparison, arms: Callable[[torch.Tensor], list[Arm]]
    ) -> Iterator[list[TokenEvent] | Place]:
        """Gets in line with arms over the comparison's contexts; yields places, then the events of every step.

        Args:
            arms: made from the weights of the principles, shape (principles,).

        Raises:
            BusyError: too much is waiting.
            LimitError: too much of the visitor's is waiting.
        """
        with at_once(comparison.rater):
            yield from self._serving.stream(partial(self._decoding, comparison, arms))

    def cancel(self, round_id: str) -> None:
        """Stops a comparison within one step; what was written so far is kept. Does nothing where it has ended."""
        if comparison := self._running.get(round_id):
            comparison.cancelled.set()

    def resolve_adapter(self, wanted: str | None, persona: str, rater: str = "") -> str:
        """The version or mixture to answer with: the one named, or what is published for the persona; "" is the original model.

        Raises:
            InputError, NotFoundError: no such version, one of another model, or another rater's own.
        """
        if wanted is None:
            return self._versions.in_use(persona)
        return "" if wanted in ("", "none") else self._versions.answering(wanted, rater)

    def _best_of(self, comparison: Comparison) -> Iterator[Answer | None]:
        (principle,) = comparison.principles
        steps = partial(
            best_of_steps,
            self.model,
            partial(self._versions.load, comparison.adapter),
            comparison.chats[0][1:],
            frame(principle.text, principle.framing),
            comparison.request.settings,
            partial(_cut, comparison, time.monotonic() + comparison.seconds),
        )
        with at_once(comparison.rater):
            yield from self._serving.beside(steps)

    def _principles(self, request: Request) -> list[Principle]:
        if request.persona and request.principles:
            raise InputError(
                f"both the persona {request.persona[:40]!r} and a principle were given; leave one of them out"
            )
        if request.persona:
            return list(principles_of(self._catalogue.get(request.persona)))
        if not request.principles:
            raise InputError(
                "no persona and no principle was given; choose a persona or write one sentence that says what a good answer is"
            )
        if len(request.principles) > 8:
            raise InputError(f"{len(request.principles)} principles were given; 8 are the most at once")
        return list(request.principles)

    def _decoding(
        self, comparison: Comparison, arms: Callable[[torch.Tensor], list[Arm]], has_gone: HasGone
    ) -> tuple[Run, str | None]:
        settings, adapter = comparison.request.settings, self._versions.load(comparison.adapter)
        room = self.model.context_length - max(map(len, comparison.contexts))
        settings = settings.model_copy(update={"max_new_tokens": min(settings.max_new_tokens, room)})
        weights = torch.tensor([p.weight for p in comparison.principles], device=self.model.device)
        run = Run(
            comparison.contexts,
            arms(weights),
            settings,
            self.model.end_ids,
            stop=lambda: comparison.cancelled.is_set() or has_gone(),
            deadline=time.monotonic() + comparison.seconds,
            traces=comparison.request.traces,
            word_starts=self.model.word_starts,
        )
        return run, adapter


def principles_of(persona: AnyPersona) -> tuple[Principle, ...]:
    """What a persona asks for: one principle, or the mix that somebody saved."""
    if isinstance(persona, Persona):
        return (Principle(text=persona.principle, framing=persona.framing),)
    first = Principle(text=persona.principle, framing=persona.framing, weight=persona.weight)
    return (first, *(checked(Principle, **one) for one in persona.mix))


def _cut(comparison: Comparison, deadline: float) -> str:
    """Why a comparison has to end now; "" where it goes on."""
    return "cancelled" if comparison.cancelled.is_set() else "deadline" if time.monotonic() > deadline else ""


def _arms(comparison: Comparison, weights: torch.Tensor) -> list[Arm]:
    return build_arms(list(comparison.streamed), weights, comparison.request.settings)


def _checked_messages(messages: tuple[tuple[str, str], ...]) -> list[Message]:
    if not messages:
        raise InputError("the prompt is empty; please write at least one word")
    roles = [role for role, _ in messages]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise InputError(
            f"the conversation goes {', '.join(roles)[:80]}; it must alternate, beginning and ending with the user"
        )
    return [{"role": role, "content": clean(text, "the prompt", MAX_PROMPT_CHARACTERS)} for role, text in messages]

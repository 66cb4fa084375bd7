"""The answers of studies, made ahead, one item at a time and behind visitors. Knows how an item becomes two rounds, no raters."""

import logging
import secrets
import threading
from dataclasses import replace

from app.compare import Compare, Request
from app.decoding.arms import DecodeSettings
from app.errors import BusyError, ModelError, PlumblineError, StorageError, checked, first_line
from app.serving import Serving
from storage.records import Item, Round, Study
from storage.studies import StudyTable

logger = logging.getLogger(__name__)

LONGEST_SECONDS = 3600.0  # of one item: visitors in the same batch may make it slow, and a cut answer is no answer
# So long one item waits for visitors at the most: where they never end, a study still gets on.
VISITORS_FIRST_SECONDS = 20.0
LOOK_AGAIN_SECONDS = 30.0  # another process may have made a study
ASKER = "study"


class StudyAnswers:
    """Answers items, on demand or on a thread of its own.

    Args:
        table: where items and their rounds are kept.
        compare, serving: what answers, and the line that visitors stand in.
    """

    def __init__(self, table: StudyTable, compare: Compare, serving: Serving):
        self._table, self._compare, self._serving = table, compare, serving
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._resting = False

    def prepare(self) -> None:
        """Sees to it that all open studies are being answered in the background; may be called at any time."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="study-answers", daemon=True)
                self._thread.start()
        self.wake()

    def rest(self) -> bool:
        """Ends the thread after the item that it is at: another model answers from now on. Returns whether there was one."""
        self._resting = True
        self.wake()
        return self._thread is not None

    def wake(self) -> None:
        """There is something new to answer; does nothing where no thread runs."""
        self._wake.set()

    def answer_next(self, study_id: str | None = None) -> bool:
        """Answers one item of a study, or of any that is open; returns whether there was one.

        What cannot be answered is noted as the item's fault, and the next one has its turn.

        Raises:
            BusyError: the line is full; the item keeps its turn.
            StorageError: the answers could not be stored; the item keeps its turn.
        """
        item = self._table.unanswered(self._compare.model.revision, study_id)
        if item is None:
            return False
        try:
            rounds = self._rounds(item, self._table.get(item.study))
        except (BusyError, StorageError):
            raise
        except (PlumblineError, RuntimeError) as error:
            logger.warning("item %s of a study could not be answered", item.id, exc_info=error)
            self._table.fault(item, first_line(error))
        else:
            self._table.answer(item, rounds)
        return True

    def _rounds(self, item: Item, study: Study) -> tuple[Round, Round]:
        """The two rounds of an item: the same answers, the sides exchanged, ids that cannot be guessed."""
        settings = checked(DecodeSettings, **study.settings)
        settings = settings.model_copy(update={"seed": (settings.seed + item.position) % 2**63})
        request = checked(
            Request,
            messages=tuple((m["role"], m["content"]) for m in item.messages),
            persona=item.persona,
            arms=study.arms,
            voted_arms=study.arms,
            settings=settings,
            adapter=study.adapter,
            blind=True,
        )
        comparison = self._compare.start(request, ASKER)
        comparison.seconds = LONGEST_SECONDS
        *_, last = self._compare.answer(comparison)
        if cut := [a for a in last.answers.values() if a.finish_reason in ("deadline", "cancelled")]:
            raise ModelError(f"the answer was cut short: {cut[0].finish_reason}")
        one = replace(self._compare.round_of(comparison, last.answers), item=item.id)
        other = replace(one, id=secrets.token_urlsafe(12), first_arm=one.second_arm, second_arm=one.first_arm)
        return one, other

    def _work(self) -> None:
        while not self._resting:
            self._serving.rest(VISITORS_FIRST_SECONDS)
            try:
                found = self.answer_next()
            except (BusyError, StorageError) as error:
                logger.warning("a study's answers have to wait: %s", error)
                found = False
            if not found:
                self._wake.wait(LOOK_AGAIN_SECONDS)
                self._wake.clear()

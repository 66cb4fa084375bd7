"""The loop: many comparisons as rows of one batched, KV-cached forward a step; they come and go between two steps.

It knows runs, adapters by name and batches; it knows no texts, no personas, no threads and no page.
"""

from collections import deque
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import torch

from app.decoding.arms import Arm, DecodeSettings
from app.decoding.batch import Forward
from app.decoding.batches import Batches
from app.decoding.run import Run, TokenEvent
from app.errors import InputError, PlumblineError

AT_ONCE = 16
PREFILL_TOKENS = 4096

Outcome = list[TokenEvent] | Exception


@dataclass
class _Group:
    """Runs that go together: those of one adapter version. `rows` counts each run's rows as they are now."""

    adapter: str | None
    batch: Batches
    runs: list[Run]
    rows: list[int]


class Engine:
    """Continuous batching: a run joins between two steps, its rows leave when its arms have finished.

    What a run says does not depend on the others, but for rounding: in fp32 the tests find the same tokens, in bf16 a choice may tip.

    Args:
        forward: gives the model's forward for an adapter's name (None: the original), see `batch.Forward`.
        device: of the tensors.
        joins: whether rows of different length may share a cache; False (sliding windows) gives every run a batch of its own.
        room: the most cached tokens over all rows; a run waits until there is room for its longest answers.
        at_once: the most runs at once.
    """

    def __init__(
        self,
        forward: Callable[[str | None], Forward],
        device: torch.device | str = "cpu",
        joins: bool = True,
        room: float = float("inf"),
        at_once: int = AT_ONCE,
    ):
        self._forward, self._device, self._joins, self._room, self._at_once = forward, device, joins, room, at_once
        self._groups: list[_Group] = []
        self._waiting: deque[tuple[Run, str | None]] = deque()

    def add(self, run: Run, adapter: str | None = None) -> None:
        """Puts a run at the end of the line.

        Raises:
            InputError: it would not fit, even alone.
        """
        needed = run.most_rows * run.longest
        if needed > self._room:
            raise InputError(
                f"the answers could take {needed} cached tokens; there is room for {int(self._room)}: ask for shorter answers or "
                "fewer arms, or raise PLUMBLINE_CACHE_MB"
            )
        self._waiting.append((run, adapter))

    @property
    def busy(self) -> bool:
        """Whether anything is running or waiting."""
        return bool(self._groups or self._waiting)

    def waiting(self) -> list[Run]:
        """The runs that have not begun, the next one first."""
        return [run for run, _ in self._waiting]

    def reserved(self) -> int:
        """The cached tokens that are kept for what runs, at its longest."""
        return _reserved([run for group in self._groups for run in group.runs if not run.done])

    @torch.inference_mode()
    def step(self) -> list[tuple[Run, Outcome]]:
        """One token for every arm: of the runs that begin now where some do, else of all that run.

        Whoever comes gets the first token at once; the others wait for it no longer than they would if it were read beside them.

        Returns:
            For every run that did something its events, or the error that ended it: its own, or that of the forward it took part
            in. The others go on.
        """
        outcomes = self._cut()
        if admitted := self._admitted():
            begun: list[_Group] = []
            for adapter, runs in admitted:
                outcomes += _failing_together(runs, partial(self._begin, adapter, runs, begun))
            for group in begun:
                outcomes += self._choose(group)
            self._groups += begun
        else:
            self._put_together()
            for group in self._groups:
                outcomes += _failing_together(group.runs, partial(self._advance, group))
            self._forget_finished()
            for group in self._groups:
                outcomes += self._choose(group)
        self._forget_finished()
        return outcomes

    def _forget_finished(self) -> None:
        self._groups = [group for group in self._groups if not all(run.done for run in group.runs)]

    def _cut(self) -> list[tuple[Run, Outcome]]:
        runs = [run for group in self._groups for run in group.runs if not run.done] + self.waiting()
        cut = [(run, events) for run in runs if (events := run.cut())]
        self._waiting = deque((run, adapter) for run, adapter in self._waiting if not run.done)
        return cut

    def _advance(self, group: _Group) -> list[tuple[Run, Outcome]]:
        """Drops the rows of what has finished, and grows the others by the tokens that were chosen."""
        firsts = accumulate(group.rows, initial=0)
        parents = [first + parent for first, run in zip(firsts, group.runs, strict=False) for parent in run.parents]
        group.runs = [run for run in group.runs if not run.done]
        group.rows = [len(run.tokens) for run in group.runs]
        if group.runs:
            group.batch.select(parents)
            group.batch.advance([token for run in group.runs for token in run.tokens])
        return []

    def _admitted(self) -> list[tuple[str | None, list[Run]]]:
        """Takes from the line, in its order, what fits beside what runs; by adapter."""
        running = [run for group in self._groups for run in group.runs]
        admitted: dict[object, tuple[str | None, list[Run]]] = {}
        new_tokens = 0
        while self._waiting and len(running) < self._at_once:
            run, adapter = self._waiting[0]
            beside = [*running, run]
            new_tokens += len(run.contexts) * max(map(len, run.contexts))
            if _reserved(beside) > self._room:
                break
            if admitted and new_tokens > PREFILL_TOKENS:
                break
            self._waiting.popleft()
            running = beside
            admitted.setdefault(adapter if self._joins else run, (adapter, []))[1].append(run)
        return list(admitted.values())

    def _begin(self, adapter: str | None, runs: list[Run], begun: list[_Group]) -> list[tuple[Run, Outcome]]:
        """Reads the contexts of new runs, equal ones once; they are a group of their own until the next step."""
        rows = [
            (None if original else adapter, ids)
            for run in runs
            for ids, original in zip(run.contexts, run.original, strict=True)
        ]
        batch = Batches(self._forward, rows, 0, self._device)
        begun.append(_Group(adapter, batch, list(runs), [len(run.contexts) for run in runs]))
        return []

    def _put_together(self) -> None:
        """Makes one group of those that the same adapter answers. Where that fails, for want of memory, they stay apart."""
        together: dict[object, _Group] = {}
        for group in self._groups:
            first = together.setdefault(group.adapter if self._joins else group.batch, group)
            if first is not group:
                try:
                    first.batch.join(group.batch)
                except RuntimeError:
                    together[group.batch] = group
                    continue
                first.runs += group.runs
                first.rows += group.rows
        self._groups = list(together.values())

    @staticmethod
    def _choose(group: _Group) -> list[tuple[Run, Outcome]]:
        outcomes: list[tuple[Run, Outcome]] = []
        for run, logits in zip(group.runs, group.batch.logits.split(group.rows), strict=True):
            outcomes += _failing_together([run], lambda run=run, logits=logits: [(run, run.step(logits))])
        return outcomes


def _reserved(runs: list[Run]) -> int:
    return sum(run.most_rows for run in runs) * max((run.longest for run in runs), default=0)


def _failing_together(runs: list[Run], work: Callable[[], list[tuple[Run, Outcome]]]) -> list[tuple[Run, Outcome]]:
    try:
        return work()
    except (PlumblineError, RuntimeError) as error:  # of torch: no memory left, shapes that do not fit
        failed: list[tuple[Run, Outcome]] = [(run, error) for run in runs if not run.done]
        for run, _ in failed:
            run.end()
        return failed


def decode(
    forward: Forward,
    contexts: list[list[int]],
    arms: list[Arm],
    settings: DecodeSettings,
    end_ids: frozenset[int],
    device: torch.device | str = "cpu",
    stop: Callable[[], bool] = lambda: False,
    deadline: float = float("inf"),
    traces: bool = False,
    word_starts: Set[int] = frozenset(),
) -> Iterator[list[TokenEvent]]:
    """One comparison alone, without a line to wait in; yields the events of one step at a time. Arguments as for `Run`."""
    engine = Engine(lambda _: forward, device)
    engine.add(Run(contexts, arms, settings, end_ids, stop, deadline, traces, word_starts))
    while engine.busy:
        for _, outcome in engine.step():
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome

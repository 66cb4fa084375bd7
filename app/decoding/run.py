"""One comparison on its way: what each arm has written, which rows of a batch it reads, and what it says next.

It knows logits and token ids; it knows no model, no cache and nobody else's comparison.
"""

import time
from collections.abc import Callable, Set
from dataclasses import dataclass

import torch
from torch import Tensor

from app.decoding.arms import Arm, DecodeSettings
from app.decoding.repeats import completing
from app.decoding.sampling import choose
from app.decoding.trace import TokenTrace, trace

UNLIKELY = -1e4  # a logit, the same in every context, so that no rule moves it


@dataclass(frozen=True)
class TokenEvent:
    """One step of one arm. `finish_reason` is None while the arm goes on, then "end", "length", "cancelled" or "deadline";
    `token` is None where an arm finishes without a new token (the end token itself is not part of an answer)."""

    arm: str
    token: int | None
    finish_reason: str | None = None
    trace: TokenTrace | None = None


class Run:
    """Decodes the arms of one comparison from logits that somebody else computes.

    A row is a context with what was written after it. Arms that read the same context by the same model and have said the same so
    far share a row, and part where they choose different tokens.

    Args:
        contexts: token ids of each context; `Arm.contexts` points into this list.
        arms: what to decode.
        settings: temperature, seed, length and repeats; the rest is already in the arms.
        end_ids: tokens that end an answer.
        stop: asked before every step; True cancels what is left.
        deadline: `time.monotonic()` after which what is left is cut off.
        traces: whether events tell how the token came about.
        word_starts: tokens that begin a word, see `completing`.
    """

    def __init__(
        self,
        contexts: list[list[int]],
        arms: list[Arm],
        settings: DecodeSettings,
        end_ids: frozenset[int],
        stop: Callable[[], bool] = lambda: False,
        deadline: float = float("inf"),
        traces: bool = False,
        word_starts: Set[int] = frozenset(),
    ):
        self._settings, self._end_ids, self._stop, self._deadline = settings, end_ids, stop, deadline
        self._traces, self._word_starts = traces, word_starts
        self._written: dict[str, list[int]] = {arm.name: [] for arm in arms}
        self._generators = {arm.name: torch.Generator().manual_seed(settings.seed) for arm in arms}
        read = {arm.name: [*((i, True) for i in arm.original), *((i, False) for i in arm.contexts)] for arm in arms}
        used = sorted({row for rows in read.values() for row in rows})
        self.contexts = [contexts[i] for i, _ in used]
        # Of each context, whether the original model reads it, whatever adapter answers.
        self.original = [original for _, original in used]
        # Each running arm with the rows that it reads.
        self._running = [(arm, [used.index(row) for row in read[arm.name]]) for arm in arms]
        self._position = 0
        self.parents: list[int] = list(range(len(used)))
        self.tokens: list[int] = []

    @property
    def done(self) -> bool:
        """Whether every arm has finished."""
        return not self._running

    @property
    def most_rows(self) -> int:
        """The most rows that it will ever need, when every arm has gone a way of its own."""
        return sum(len(rows) for _, rows in self._running)

    @property
    def longest(self) -> int:
        """The most tokens that one of its rows will ever hold."""
        return max(map(len, self.contexts)) + self._settings.max_new_tokens

    def cut(self) -> list[TokenEvent]:
        """The last events of a run that was cancelled or has passed its deadline; empty where it goes on."""
        reason = "cancelled" if self._stop() else "deadline" if time.monotonic() > self._deadline else None
        if reason is None:
            return []
        events = [TokenEvent(arm.name, None, reason) for arm, _ in self._running]
        self.end()
        return events

    def end(self) -> None:
        """Gives up every arm that still runs."""
        self._running, self.parents, self.tokens = [], [], []

    def step(self, logits: Tensor) -> list[TokenEvent]:
        """One token for every arm that still runs.

        Afterwards `parents` and `tokens` say which rows come next: each is a row of `logits`, grown by one token.

        Args:
            logits: of this run's rows, shape (rows, vocabulary), fp32.
        """
        self._position += 1
        last = self._position == self._settings.max_new_tokens
        events, running, next_rows = [], [], {}
        for arm, rows in self._running:
            token, traced = self._choose(arm, logits[rows])
            if token in self._end_ids:
                events.append(TokenEvent(arm.name, None, "end"))
                continue
            events.append(TokenEvent(arm.name, token, "length" if last else None, traced))
            self._written[arm.name].append(token)
            if not last:
                running.append((arm, [next_rows.setdefault((row, token), len(next_rows)) for row in rows]))
        self._running = running
        self.parents, self.tokens = [row for row, _ in next_rows], [token for _, token in next_rows]
        return events

    def _choose(self, arm: Arm, logits: Tensor) -> tuple[int, TokenTrace | None]:
        if banned := completing(self._written[arm.name], self._settings.no_repeat_ngram, self._word_starts):
            logits[:, banned] = UNLIKELY  # indexing with a list made a copy
        log_probs = arm.next_log_probs(logits)
        token = choose(log_probs, self._settings.temperature, self._generators[arm.name])
        return token, trace(logits, log_probs, token) if self._traces and token not in self._end_ids else None

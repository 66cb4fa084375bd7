"""The use case *find rounds*: collected rounds by the meaning of their prompts, and prompts that were asked more than once.

Storage and embedder meet here; it knows no language model and no page. Prompts are people's words: whoever asks has to be the owner.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.embedding import Embedder
from app.errors import InputError
from app.prompts import MAX_PROMPT_CHARACTERS, clean
from storage.store import Store

SAME_MEANING = 0.9
AT_ONCE = 512


@dataclass(frozen=True)
class Found:
    """A round with the prompt that it ended with; `nearness` is the cosine of the meanings, in -1..1."""

    round_id: str
    prompt: str
    nearness: float


class Rounds:
    """Searches the collected rounds.

    Vectors are kept in memory: a round's prompt never changes, so that each is embedded once.

    Args:
        store, embedder: the rounds, and what tells meanings.
        authorise: raises NotAllowedError where a token is not the owner's.
    """

    def __init__(self, store: Store, embedder: Embedder, authorise: Callable[[str], None]):
        self._store, self._embedder, self._authorise = store, embedder, authorise
        self._vectors: dict[str, np.ndarray] = {}
        self._one_at_a_time = threading.Lock()

    def like(self, text: str, count: int = 10, token: str = "") -> list[Found]:
        """The rounds whose prompts are nearest in meaning to a text, the nearest first.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            InputError: the text is empty or too long, or the count is none from 1 to 1000.
            ModelError: the embedder of the settings cannot be loaded.
        """
        self._authorise(token)
        text = clean(text, "the text to search for", MAX_PROMPT_CHARACTERS)
        if not isinstance(count, int) or not 1 <= count <= 1000:
            raise InputError(f"{count} rounds were asked for; it must be from 1 to 1000")
        prompts, vectors = self._embedded()
        if not prompts:
            return []
        cosines = vectors @ self._embedder.encode([text])[0]
        order = np.argsort(-cosines, kind="stable")[:count]
        return [Found(*prompts[i], round(float(cosines[i]), 4)) for i in order]

    def duplicates(self, nearness: float = SAME_MEANING, token: str = "") -> list[list[Found]]:
        """Groups of two or more rounds that ask the same, the oldest round of each first; its own nearness is 1.

        A round joins the first group whose oldest prompt is near enough.

        Args:
            nearness: cosine from which two prompts count as the same, in 0..1.
            token: the owner's, where one is set.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            InputError: the nearness is not in 0..1.
            ModelError: the embedder of the settings cannot be loaded.
        """
        self._authorise(token)
        if not isinstance(nearness, int | float) or not 0 <= nearness <= 1:
            raise InputError(f"the nearness is {nearness}; it must lie between 0 and 1")
        prompts, vectors = self._embedded()
        group_of = np.full(len(prompts), -1)
        groups: list[list[Found]] = []
        for oldest, (round_id, prompt) in enumerate(prompts):
            if group_of[oldest] >= 0:
                continue
            group_of[oldest] = len(groups)
            cosines = vectors[oldest + 1 :] @ vectors[oldest]
            same = [oldest + 1 + int(i) for i in np.flatnonzero(cosines >= nearness) if group_of[oldest + 1 + i] < 0]
            group_of[same] = len(groups)
            near = [Found(*prompts[i], round(float(cosines[i - oldest - 1]), 4)) for i in same]
            groups.append([Found(round_id, prompt, 1.0), *near])
        return [group for group in groups if len(group) > 1]

    def _embedded(self) -> tuple[list[tuple[str, str]], np.ndarray]:
        """Id and prompt of every round, oldest first, and unit vectors, shape (rounds, dimensions)."""
        prompts = self._store.prompts()
        with self._one_at_a_time:
            new = [(id_, prompt) for id_, prompt in prompts if id_ not in self._vectors]
            for start in range(0, len(new), AT_ONCE):
                part = new[start : start + AT_ONCE]
                vectors = self._embedder.encode([prompt for _, prompt in part])
                self._vectors.update(zip((id_ for id_, _ in part), vectors, strict=True))
            kept = {id_ for id_, _ in prompts}
            self._vectors = {id_: vector for id_, vector in self._vectors.items() if id_ in kept}
            found = [self._vectors[id_] for id_, _ in prompts]
        return prompts, np.stack(found) if found else np.zeros((0, 1), dtype=np.float32)

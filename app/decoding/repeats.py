"""Which tokens would make an answer repeat itself. Knows token ids of one answer, nothing of where they come from."""

from collections.abc import Set
from itertools import pairwise


def completing(tokens: list[int], length: int, word_starts: Set[int] = frozenset()) -> list[int]:
    """The tokens that would begin the last word of a run of `length` words which the answer already holds.

    It is `no_repeat_ngram_size` of transformers, over the answer alone, since a prompt may rightly be quoted; and over words, since
    a name of many tokens may rightly stand twice.

    Args:
        tokens: the answer so far.
        length: of the run, in words; 0 allows everything.
        word_starts: tokens that begin a word; where there are none, every token is a word of its own.
    """
    if length < 1 or len(tokens) < length:
        return []
    starts = [i for i, token in enumerate(tokens) if i == 0 or not word_starts or token in word_starts]
    words = [tuple(tokens[start:end]) for start, end in pairwise([*starts, len(tokens)])]
    tail = words[len(words) - length + 1 :]
    return [words[end][0] for end in range(length - 1, len(words)) if words[end - length + 1 : end] == tail]

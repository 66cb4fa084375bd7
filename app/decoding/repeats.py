"""Which tokens would make an answer repeat itself. Knows token ids of one answer, nothing of where they come from."""


def completing(tokens: list[int], length: int) -> list[int]:
    """The tokens that would complete a run of `length` tokens which the answer already holds (`no_repeat_ngram_size` of
    transformers, over the answer alone, since a prompt may rightly be quoted).

    Args:
        tokens: the answer so far.
        length: of the run; 0 allows everything.
    """
    if length < 1 or len(tokens) < length:
        return []
    tail = tokens[len(tokens) - length + 1 :]
    return [tokens[end] for end in range(length - 1, len(tokens)) if tokens[end - length + 1 : end] == tail]

"""In which order to label prompts so that each is far in meaning from what was labelled before it. Knows vectors, not texts."""

from collections.abc import Iterator

import numpy as np


def far_first(vectors: np.ndarray, labelled: np.ndarray) -> Iterator[int]:
    """Farthest-first traversal: the next to label, given what is labelled, then the next after that, and so on.

    Next is the one whose cosine to its nearest labelled neighbour is lowest; with none labelled, the one nearest to the middle of all.
    Of equals the earlier one comes first. (Gonzalez 1985, "Clustering to minimize the maximum intercluster distance".)

    Args:
        vectors: unit vectors of what is to be ordered, shape (prompts, dimensions).
        labelled: unit vectors of what was labelled already, shape (labelled, dimensions); may be empty.

    Yields:
        Indices into `vectors`, each once.
    """
    nearest = (vectors @ labelled.T).max(axis=1) if len(labelled) else -(vectors @ vectors.mean(axis=0))
    left = np.ones(len(vectors), dtype=bool)
    for number in range(len(vectors)):
        index = int(np.argmin(np.where(left, nearest, np.inf)))
        left[index] = False
        cosines = vectors @ vectors[index]
        nearest = cosines if number == 0 and not len(labelled) else np.maximum(nearest, cosines)
        yield index

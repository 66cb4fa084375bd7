"""What the judges' columns of scores say, and the judges by name. Words only: nothing here judges."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """What one column of scores says, in words. `fidelity`: whether the principle is followed; else whether the answer reads well.

    binary: whether every score is 0 or 1.
    """

    fidelity: bool
    binary: bool
    says: str


COLUMNS = {
    "markers": Column(True, True, "the answer holds a marker of the persona's manner, by fixed rules"),
    "classifier": Column(True, False, "how sure a classifier, taught on the starter's corpus, is of the persona"),
    "implicit": Column(True, False, "how much likelier the principle makes the answer, by the original model; nats a token"),
    "embedding": Column(True, False, "cosine of answer and principle, by the embedder"),
    "well_formed": Column(False, True, "it ended by itself like a sentence, and no four words stand in it twice"),
    "fluent": Column(False, True, "the same, and its words stand in an order that the starter's corpus knows"),
    "natural": Column(False, False, "how likely the original model finds the answer without the principle; nats a token"),
}  # fmt: skip
JUDGES = ("markers", "classifier", "fluency", "implicit", "embedding", "endpoint")

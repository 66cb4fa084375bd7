"""The bundled model: its corpus, the program that composes it, the trainer and the weights. Knows no storage and no page."""

from pathlib import Path

STARTER_FOLDER = Path(__file__).parent
WEIGHTS_FOLDER = STARTER_FOLDER / "weights"
CORPUS_FOLDER = STARTER_FOLDER / "corpus"
EMBEDDER_FOLDER = STARTER_FOLDER / "embedder"

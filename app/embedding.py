"""The only module that knows sentence-transformers: texts to vectors, and which text is nearest in meaning. Knows no personas, no page.

The library is loaded when the first text is embedded, not before: most visits never need it.
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError

from app.errors import ModelError, first_line
from app.starter import EMBEDDER_FOLDER

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class Embedder:
    """Turns texts into unit vectors.

    Args:
        name: "starter" for the bundled embedder, a folder, or a hub id such as "sentence-transformers/all-MiniLM-L6-v2".
    """

    def __init__(self, name: str = "starter"):
        self.name = name
        self._loading, self._loaded = threading.Lock(), None

    def encode(self, texts: list[str]) -> np.ndarray:
        """Unit vectors of the texts, shape (texts, dimensions), float32; the bundled embedder gives an empty text zeros.

        Raises:
            ModelError: no such model, or it is none for sentence-transformers.
        """
        if not texts:
            return np.zeros((0, self._model.get_embedding_dimension() or 0), dtype=np.float32)
        vectors = self._model.encode(texts, convert_to_numpy=True, show_progress_bar=False).astype(np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths > 0, lengths, 1.0)

    def nearest(self, query: str, texts: list[str], count: int) -> list[tuple[int, float]]:
        """The `count` texts nearest to the query: (index, cosine in -1..1), best first."""
        if not texts:
            return []
        cosines = self.encode(texts) @ self.encode([query])[0]
        return [(int(i), float(cosines[i])) for i in np.argsort(-cosines, kind="stable")[:count]]

    @property
    def _model(self) -> "SentenceTransformer":
        with self._loading:
            if self._loaded is None:
                self._loaded = self._load()
        return self._loaded

    def _load(self) -> "SentenceTransformer":
        from sentence_transformers import SentenceTransformer

        folder = EMBEDDER_FOLDER if self.name == "starter" else Path(self.name).expanduser()
        source = str(folder) if folder.is_dir() else self.name
        if folder.is_dir() and not any(folder.rglob("*.safetensors")):
            raise ModelError(
                f"the embedder {self.name!r} holds no safetensors file, and no other format is read; save it with safetensors, or set PLUMBLINE_EMBEDDER=starter"
            )
        try:
            return SentenceTransformer(
                source, device="cpu", trust_remote_code=False, model_kwargs={"use_safetensors": True}
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            raise ModelError(
                f"the embedder {self.name!r} could not be loaded: {first_line(error)} Check the folder or the hub id and the connection; PLUMBLINE_EMBEDDER=starter needs none."
            ) from error

"""Which annotators there are to choose in place of a person, by name. Knows the annotators and the settings; no page, no database."""

from dataclasses import dataclass

from app.annotators.embedding import EmbeddingJudge
from app.annotators.endpoint import EndpointJudge
from app.annotators.implicit import ImplicitJudge
from app.annotators.preference import Annotator
from app.embedding import Embedder
from app.errors import InputError
from app.model import LanguageModel
from app.settings import Settings


@dataclass(frozen=True)
class Judge:
    """An annotator, and the names that its votes are stored under. `waits`: for a network, so that it is asked on other threads."""

    name: str
    model: str
    annotator: Annotator
    waits: bool = False


class Judges:
    """The annotators of this installation.

    Args:
        model: the implicit judge's.
        embedder: the embedding judge's.
        settings: where the endpoint is.
    """

    def __init__(self, model: LanguageModel, embedder: Embedder, settings: Settings):
        self._model, self._embedder, self._settings = model, embedder, settings

    def names(self) -> list[str]:
        """Those that can be asked here; "endpoint" only where one is set."""
        return ["implicit", "embedding", *(["endpoint"] if self._has_endpoint() else [])]

    def named(self, name: str) -> Judge:
        """The judge of a name: "implicit" (the model itself), "embedding" or "endpoint".

        Raises:
            InputError: no such judge, or no endpoint is set, or its address or key cannot be used.
        """
        if name == "implicit":
            return Judge(name, self._model.name, ImplicitJudge(self._model))
        if name == "embedding":
            return Judge(name, self._embedder.name, EmbeddingJudge(self._embedder))
        if name != "endpoint":
            raise InputError(f"the annotator is {str(name)[:40]!r}; it must be implicit, embedding or endpoint")
        if not self._has_endpoint():
            raise InputError(
                "the annotator 'endpoint' needs a chat endpoint, and none is set; set PLUMBLINE_JUDGE_URL, PLUMBLINE_JUDGE_MODEL "
                "and, where it asks for one, PLUMBLINE_JUDGE_KEY, then start again"
            )
        at = self._settings
        key = at.judge_key.get_secret_value() if at.judge_key else None
        return Judge(name, at.judge_model, EndpointJudge(at.judge_url, at.judge_model, key), waits=True)

    def _has_endpoint(self) -> bool:
        return bool(self._settings.judge_url and self._settings.judge_model)

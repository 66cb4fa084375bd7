"""Which adapter version answers: the rule that compare and learn share. Knows versions and their folders, no tensors."""

import logging

from app import blends
from app.errors import InputError, NotFoundError
from app.model import LanguageModel
from app.refresh.adapters import AdapterFolder
from storage.records import Version
from storage.store import Store

logger = logging.getLogger(__name__)


class Versions:
    """The versions that the loaded model can answer with.

    Args:
        model: what is loaded.
        store, adapters: what is listed, and what lies on the disk.
    """

    def __init__(self, model: LanguageModel, store: Store, adapters: AdapterFolder):
        self._model, self._store, self.adapters = model, store, adapters

    def listed(self, rater: str = "") -> list[Version]:
        """All versions of this model that anybody may use and, where given, a rater's own, newest first."""
        return [version for version in self._store.versions(rater) if version.model_revision == self._model.revision]

    def in_use(self, scope: str) -> str:
        """What is published for a persona (or for all); "" is the original model.

        Each model has its own. Where a published version's files are gone or damaged, the original answers, and the log says so.
        """
        version = self._store.published(scope, self._model.revision)
        try:
            fault = self.adapters.fault(self.checked(version)) if version else ""
        except (InputError, NotFoundError) as error:
            fault = str(error)
        if fault:
            logger.warning("the original model answers in place of %s: %s", version, fault)
        return "" if fault else version

    def known(self, version: str) -> Version:
        """A version by name, whosever it is, once it is certain that this model can use it.

        Raises:
            InputError: no version's name, or made for another model.
            NotFoundError: no such version.
        """
        self.adapters.path(version)
        found = self._store.version(version)
        if found.model_revision != self._model.revision:
            raise InputError(
                f"the adapter version {version!r} was made for another model ({found.model_revision}); "
                f"this one is {self._model.name} ({self._model.revision})"
            )
        return found

    def checked(self, version: str, rater: str = "") -> str:
        """A version by name, once it is certain that this model and this rater can use it.

        Raises:
            InputError, NotFoundError: as `known`; another rater's own is told of in the words for one that does not exist.
        """
        self.adapters.path(version)
        if self._store.version(version).rater not in ("", rater):
            raise self.adapters.absent(version)
        return self.known(version).id

    def answering(self, wanted: str, rater: str = "") -> str:
        """A version or a mixture such as `v2*0.5+v4*0.5` by name, checked as above and written in one way; "" is the original model.

        Raises:
            InputError: also where a mixture is malformed, see `blends.parse`.
            NotFoundError: no such version, or another rater's own.
        """
        if not blends.is_blend(wanted):
            return self.checked(wanted, rater)
        weights = blends.parse(wanted)
        for version in weights:
            self.checked(version, rater)
        return blends.name(weights)

    def load(self, adapter: str) -> str | None:
        """Makes what `answering` returned available in the model, on the thread that owns it.

        Returns:
            What the model calls it; None for the original.

        Raises:
            NotFoundError, ModelError: a version is gone, or its files do not fit.
        """
        if not adapter:
            return None
        if not blends.is_blend(adapter):
            self._model.load_adapter(adapter, self.adapters.path(adapter))
            return adapter
        weights = blends.parse(adapter)
        name = adapter.replace(".", ",")  # a dot would part it in two among the names of tensors
        self._model.blend_adapter(name, weights, {version: self.adapters.path(version) for version in weights})
        return name

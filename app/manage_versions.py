"""The use case *take a version away*: delete it, or pack it as a standard PEFT adapter. Here storage and folders meet; it needs no model."""

import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.adapter_card import card, described
from app.errors import NotFoundError, StorageError
from app.refresh.adapter_files import CARD, CONFIG, WEIGHTS
from app.refresh.adapters import AdapterFolder
from storage.files import whole_file
from storage.store import Store

logger = logging.getLogger(__name__)


class ManageVersions:
    """Lists, packs and deletes versions, of any model. Deletions that a killed process began are finished when it is made.

    Args:
        store, adapters: what is listed, and what lies on the disk.
        authorise: raises NotAllowedError where a token is not the owner's.

    Attributes:
        finished: the versions whose deletion was finished.
    """

    def __init__(self, store: Store, adapters: AdapterFolder, authorise: Callable[[str], None]):
        self._store, self._adapters, self._authorise = store, adapters, authorise
        self.finished: list[str] = []
        try:
            self.finished = remove_deleted(store, adapters)
        except StorageError as error:  # what is left in the way of nothing is no reason not to start
            logger.warning("a deletion was not finished: %s", error)

    def described(self) -> list[dict[str, Any]]:
        """All versions with their lineage, newest first; see `adapter_card.described`."""
        uses = self._store.uses()
        return [described(version, uses.get(version.id, [])) for version in self._store.versions()]

    def delete(self, version: str, token: str = "") -> None:
        """Deletes a version for good; its number is not used again. Who is answering with it just now may finish.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            InputError: it is in use somewhere.
            NotFoundError: no such version.
            StorageError: its files could not be removed; it is no longer listed all the same.
        """
        self._authorise(token)
        # Marked first: of a process that is killed in between, files are left that the next start removes, never a row without files.
        self._store.delete_version(version)
        self._adapters.remove(version)

    def download(self, version: str, out: Path, token: str = "") -> Path:
        """Packs a version as a zip that holds what stock peft loads, and a model card.

        Args:
            version: such as v3.
            out: the file to write.
            token: the owner's, where one is set.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            InputError: no version's name.
            NotFoundError: no such version, or its files are gone.
            StorageError: the zip cannot be written.
        """
        self._authorise(token)
        folder, record = self._adapters.path(version), self._store.version(version)
        try:
            files = {name: (folder / name).read_bytes() for name in (CONFIG, WEIGHTS)}
        except FileNotFoundError as error:
            raise NotFoundError(
                f"the files of the adapter version {version!r} are not there any more; choose another version"
            ) from error
        except OSError as error:
            raise StorageError(f"the files of {version!r} could not be read ({error}); check the disk") from error
        with whole_file(out) as opened, zipfile.ZipFile(opened, "w", zipfile.ZIP_STORED) as archive:
            for name, content in {**files, CARD: card(record).encode()}.items():
                # Without the time: one version is always the same file.
                archive.writestr(zipfile.ZipInfo(name), content)
        return out


def remove_deleted(store: Store, adapters: AdapterFolder) -> list[str]:
    """Removes the files of every version that is marked as deleted; returns those that still had any.

    Raises:
        StorageError: the disk is read-only; the next start tries again.
    """
    left = sorted(adapters.names() & set(store.deleted_versions()))
    for version in left:
        adapters.remove(version)
    return left

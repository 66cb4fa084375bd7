"""What a start found amiss in the data folder, and what became of it, as sentences. Knows rows and folders, no model and no page."""

import logging
from collections.abc import Iterator

from app.manage_versions import ManageVersions
from app.refresh.adapters import AdapterFolder
from storage.store import Store

logger = logging.getLogger(__name__)


def repairs(store: Store, adapters: AdapterFolder, manage: ManageVersions) -> tuple[str, ...]:
    """What was mended while these opened the data folder, then what only a person can decide on; the log is told, too."""
    found = tuple(_found(store, adapters, manage))
    for sentence in found:
        logger.warning("found at this start: %s", sentence)
    return found


def _found(store: Store, adapters: AdapterFolder, manage: ManageVersions) -> Iterator[str]:
    for told in adapters.swept:
        yield f"{told} was cut off when its process ended; what it left half done was removed, nothing else was touched"
    for version in manage.finished:
        yield f"the deletion of {version} had been cut off and was finished"
    listed = {version.id for version in store.versions()}
    for version in sorted(adapters.names() - listed - set(store.deleted_versions())):
        yield (
            f"the folder of {version} has no entry in the database: a process ended between the two. It is not used, and may be "
            f"removed from {str(adapters.root)!r}"
        )
    for version, scopes in store.uses().items():
        if fault := adapters.fault(version):
            used = ", ".join(scope or "all personas" for scope in scopes)
            yield (
                f"{version}, in use for {used[:200]}, cannot be read ({fault}): the original model answers in its place. "
                "Put its files back, or choose another version"
            )

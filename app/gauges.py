"""How the server is doing at this moment: the line, memory, disk and database. It measures; it does not know who may see it."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from app.errors import StorageError
from app.hub import Sync
from app.model import LanguageModel
from app.serving import Serving
from app.version import VERSION
from storage.log_outbox import SyncState
from storage.store import Store


@dataclass(frozen=True)
class Gauges:
    """One look.

    running, waiting: comparisons that are being answered, and that wait in line.
    cache_bytes, cache_room: what the running comparisons may take of the key-value cache, and all there is.
    memory_bytes: of this process (resident set); memory_free: what the machine still has.
    database_bytes: the database with its log; adapter_bytes: all versions' files.
    rounds, votes, personas, versions: how many are stored.
    loses_all: whether nothing outlives a restart, see `Sync.loses_all`.
    """

    app_version: str
    model: str
    up_seconds: float
    running: int
    waiting: int
    cache_bytes: int
    cache_room: int
    memory_bytes: int
    memory_free: int
    disk_free: int
    database_bytes: int
    adapter_bytes: int
    rounds: int
    votes: int
    personas: int
    versions: int
    sync: SyncState
    loses_all: bool


class Meter:
    """Reads the gauges.

    Args:
        model, serving, store, sync: what is measured.
        folder: the data folder.
        cache_mb: how much the cache may take, see `Settings`.
    """

    def __init__(self, model: LanguageModel, serving: Serving, store: Store, sync: Sync, folder: Path, cache_mb: int):
        self._model, self._serving, self._store, self._sync = model, serving, store, sync
        self._folder, self._cache_mb = folder, cache_mb

    def read(self) -> Gauges:
        """All gauges as they are now.

        Raises:
            StorageError: the data folder cannot be read.
        """
        load = self._serving.load()
        try:
            disk_free = shutil.disk_usage(self._folder).free
            database = sum(_size(self._store.path.with_name(self._store.path.name + end)) for end in ("", "-wal"))
            adapters = sum(_size(path) for path in (self._folder / "adapters").rglob("*"))
        except OSError as error:
            raise StorageError(
                f"the data folder {str(self._folder)!r} cannot be read ({error.strerror}); check its disk"
            ) from error
        return Gauges(
            app_version=VERSION,
            model=self._model.name,
            up_seconds=round(time.time() - psutil.Process().create_time(), 1),
            running=load.running,
            waiting=load.waiting,
            cache_bytes=load.reserved_tokens * self._model.cache_bytes_per_token,
            cache_room=self._cache_mb * 2**20,
            memory_bytes=psutil.Process().memory_info().rss,
            memory_free=psutil.virtual_memory().available,
            disk_free=disk_free,
            database_bytes=database,
            adapter_bytes=adapters,
            **self._store.counts(),
            sync=self._sync.status(),
            loses_all=self._sync.loses_all,
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:  # gone since it was listed
        return 0

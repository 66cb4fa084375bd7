"""The Hub sync: what people did goes to a private dataset, and comes back from there to a disk that was wiped.

Knows huggingface_hub and the log of changes; no model and no page. Nothing is asked of the Hub where no dataset is set.
"""

import atexit
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, CommitScheduler, HfApi, get_session
from huggingface_hub.errors import HfHubHTTPError
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from app.errors import HubError, InputError, PlumblineError, first_line
from app.settings import Settings
from app.space_disk import is_wiped
from storage.database import DatabaseFile
from storage.log import Log
from storage.log_folder import LogFolder
from storage.log_outbox import Outbox, SyncState

logger = logging.getLogger(__name__)

FOLDER = "log"  # in the dataset
TIMEOUT_SECONDS = 60  # until the Hub sends something; the library itself would wait for ever
RECONNECT_SECONDS = 60.0
# What a network, a server, a proxy that answers in its place and a disk do.
FAULTS = (OSError, ValueError, LookupError, httpx2.HTTPError, PlumblineError)


class Sync:
    """Sends changes to a dataset every few minutes, after it has brought in what the dataset knows and the database does not.

    Args:
        database: with the newest schema.
        dataset: "owner/name"; empty: the sync is off.
        token: one that may write there; None is the one that this machine is logged in with.
        minutes: between two commits.
        endpoint: of the Hub, where it is not the public one.
    """

    def __init__(
        self, database: DatabaseFile, dataset: str, token: str | None, minutes: float = 5, endpoint: str | None = None
    ):
        self._outbox, self._dataset, self._minutes = Outbox(database), dataset, minutes
        self._root = database.path.parent / "sync"
        self._api = HfApi(endpoint=endpoint, token=token)
        self._folder: LogFolder | None = None
        self._scheduler: _Scheduler | None = None
        self._connecting: threading.Thread | None = None
        self._closing = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._replayed = False
        self._written, self._deletes = 0, False  # up to where the outbox stands in this process's files

    @classmethod
    def of(cls, settings: Settings, database: DatabaseFile) -> "Sync":
        """As the environment decides."""
        token = settings.sync_token.get_secret_value() if settings.sync_token else None
        return cls(database, settings.sync_dataset, token, settings.sync_minutes)

    def status(self) -> SyncState:
        """How far the sync has come: dataset (empty: off), last_synced, waiting, fault, unreadable; asks nothing of the Hub."""
        return self._outbox.state()

    @property
    def loses_all(self) -> bool:
        """Whether what people do is lost when this machine restarts: a Space without a volume for its data, and the sync is off."""
        return not self._dataset and is_wiped(self._root.parent)

    def start(self) -> None:
        """Begins in the background, or notes that the sync is off. To be called by what serves the page, in its main thread."""
        if not self._dataset:
            self._outbox.turn_off()
            if self.loses_all:
                logger.warning(
                    "this Space's disk is wiped at every restart, and with it every vote; "
                    "set PLUMBLINE_SYNC_DATASET and PLUMBLINE_SYNC_TOKEN, or mount a volume and set PLUMBLINE_DATA to a folder on it"
                )
            return
        self._outbox.turn_on(self._dataset)
        # A Space is ended by SIGTERM, which by itself would not let Python say good-bye.
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        atexit.register(self.close)
        self._connecting = threading.Thread(target=self._keep_connecting, name="sync", daemon=True)
        self._connecting.start()

    def connect(self) -> None:
        """Finds or makes the dataset and begins to send at once.

        Raises:
            InputError: no dataset is set. HubError: the Hub does not let it.
        """
        self._must_be_on()
        with self._told():
            get_session().timeout = TIMEOUT_SECONDS
            self._folder = self._folder or LogFolder(self._root)
            self._scheduler = _Scheduler(
                self._push,
                repo_id=self._dataset,
                repo_type="dataset",
                private=True,
                folder_path=self._folder.files,
                path_in_repo=FOLDER,
                allow_patterns="*.jsonl",
                every=self._minutes,
                hf_api=self._api,
            )

    def now(self) -> None:
        """Sends what waits and returns when the dataset has it. To be called after `connect`.

        Raises:
            HubError: it has it not; what waits is kept.
        """
        with self._told():
            self._scheduler.trigger().result()

    def compact(self) -> int:
        """Rewrites all files of the dataset without what was deleted or overtaken, and forgets their history.

        To be called after `connect`.

        Returns:
            How many lines were taken out.

        Raises:
            HubError: the Hub does not let it; deleted words may still stand in the dataset.
        """
        self.now()
        with self._told(), self._one_at_a_time:
            return self._compact()

    def replay(self) -> int:
        """Brings in what the dataset knows; sends nothing.

        Returns:
            How many lines were left out, since they cannot be read or refer to what is not there.

        Raises:
            InputError: no dataset is set. HubError: it cannot be read.
        """
        self._must_be_on()
        with self._told(), self._one_at_a_time:
            self._folder = self._folder or LogFolder(self._root)
            return self._replay()

    def close(self) -> None:
        """Sends what waits a last time and ends; what cannot be sent stays in the database for the next start."""
        atexit.unregister(self.close)
        self._closing.set()
        if self._connecting is not None:
            self._connecting.join()
        if self._scheduler is not None:
            with suppress(*FAULTS):  # it is noted
                self._scheduler.push_to_hub()
            self._scheduler.stop()
        if self._folder is not None:
            self._folder.close()

    def _must_be_on(self) -> None:
        if not self._dataset:
            raise InputError("the sync is off; set PLUMBLINE_SYNC_DATASET to owner/name of a private dataset")
        self._outbox.turn_on(self._dataset)

    # --- the one thread at a time that talks to the Hub

    def _keep_connecting(self) -> None:
        while not self._closing.is_set():
            try:
                self.connect()
            except HubError:  # it is noted
                self._closing.wait(RECONNECT_SECONDS)
            else:
                return

    def _push(self, upload: Callable[[], CommitInfo | None]) -> CommitInfo | None:
        with self._one_at_a_time:
            try:
                return self._replay_and_send(upload)
            except Exception as error:
                self._outbox.failed(self._explained(error))  # the scheduler itself would tell nobody
                raise

    def _replay_and_send(self, upload: Callable[[], CommitInfo | None]) -> CommitInfo | None:
        get_session().timeout = TIMEOUT_SECONDS  # again: after an error there is another session
        at_the_end = self._closing.is_set()  # then Python starts no threads any more, which a download takes
        reached = not self._replayed and not at_the_end
        if reached:
            self._replay()
        elif not self._replayed:
            self._revision()
        for batch in self._outbox.batches(self._written):
            self._folder.append(b"".join(event.line() for event in batch.events))
            self._written, self._deletes = batch.last, self._deletes or batch.deletes
        commit = upload()
        self._outbox.sent(self._written, self._deletes)
        self._deletes = False
        if self._outbox.state().compact and not at_the_end:
            self._compact()
            reached = True
        if commit is not None or reached:
            self._outbox.succeeded()
        return commit

    def _replay(self) -> int:
        with self._downloaded() as (_, files):
            left_out = self._outbox.replay(Log(files))
        self._replayed = True
        return left_out

    # Another process may commit between the reading and the writing; then it is read again.
    @retry(
        retry=retry_if_exception(lambda error: _status(error) == 412),
        stop=stop_after_attempt(5),
        wait=wait_random_exponential(max=10),
        reraise=True,
    )
    def _compact(self) -> int:
        taken_out, operations = 0, []
        with self._downloaded() as (revision, files):
            log = Log(files)
            rewritten = {}
            for number, path in enumerate(files):
                before, kept = path.read_bytes(), b"".join(log.kept(number))
                if kept != before:
                    rewritten[path.name] = kept
                    taken_out += before.count(b"\n") - kept.count(b"\n")
        for name, kept in rewritten.items():
            place = f"{FOLDER}/{name}"
            operations.append(CommitOperationAdd(place, kept) if kept else CommitOperationDelete(place))
        repo = {"repo_id": self._dataset, "repo_type": "dataset"}
        if operations:
            self._api.create_commit(
                operations=operations, commit_message="Deleted labels taken out", parent_commit=revision, **repo
            )
        for name, kept in rewritten.items():
            self._folder.rewrite(name, kept)
        self._api.super_squash_history(**repo)
        self._outbox.compacted()
        return taken_out

    @contextmanager
    def _downloaded(self) -> Iterator[tuple[str, list[Path]]]:
        """The dataset's newest revision and the log's files of it, for the time of the block."""
        revision = self._revision()
        with TemporaryDirectory(dir=self._folder.path) as folder:
            self._api.snapshot_download(
                self._dataset,
                repo_type="dataset",
                revision=revision,
                local_dir=folder,
                allow_patterns=f"{FOLDER}/*.jsonl",
            )
            yield revision, sorted(Path(folder, FOLDER).glob("*.jsonl"))

    def _revision(self) -> str:
        info = self._api.repo_info(self._dataset, repo_type="dataset")
        if not info.private:
            raise HubError(
                f"the dataset {self._dataset!r} is public, and labels are people's words; make it private in its settings on the Hub"
            )
        return info.sha

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except FAULTS as error:
            fault = self._explained(error)
            self._outbox.failed(fault)
            raise HubError(fault) from error

    def _explained(self, error: Exception) -> str:
        if isinstance(error, PlumblineError):
            return str(error)
        status = _status(error)
        if status in (401, 403, 404):
            return (
                f"the Hub refuses the token for the dataset {self._dataset!r} (status {status}); set PLUMBLINE_SYNC_TOKEN to one "
                "that may write there, from https://huggingface.co/settings/tokens, and start again"
            )
        return (
            f"the dataset {self._dataset!r} could not be synced: {first_line(error)[:300]}. "
            "What waits is kept here and sent again; see that the Hub can be reached"
        )


class _Scheduler(CommitScheduler):
    """Calls `push` with the upload of the scheduler itself, so that its errors are seen."""

    def __init__(self, push: Callable[[Callable[[], CommitInfo | None]], CommitInfo | None], **options: object):
        self._push = push  # first: the scheduler begins at once
        super().__init__(**options)

    def push_to_hub(self) -> CommitInfo | None:
        """As the scheduler's thread calls it."""
        return self._push(super().push_to_hub)


def _status(error: BaseException) -> int | None:
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None

"""The use case *own the page*: learn and publish, roll back, see how the server is doing. Every action asks for the owner itself.

What is the owner's elsewhere (studies, exports, versions, bans) asks there. It knows no page.
"""

import logging
from collections.abc import Iterator

from app.authority import Authority
from app.errors import NotAllowedError
from app.gauges import Gauges, Meter
from app.learn import Learn, Outcome
from app.log_tail import LogTail
from app.refresh.trainer import RefreshSettings, Step
from storage.private_versions import own_versions
from storage.records import Version
from storage.store import Store

logger = logging.getLogger(__name__)


class Owner:
    """What only the owner does.

    Args:
        authority: tells who is the owner.
        store, learn: versions, and what trains and publishes them.
        meter, tail: what the server tells of itself.
    """

    def __init__(self, authority: Authority, store: Store, learn: Learn, meter: Meter, tail: LogTail):
        self.authority = authority
        self._store, self._learn, self._meter, self._tail = store, learn, meter, tail

    def refresh(
        self, scope: str, settings: RefreshSettings, token: str = "", with_imported: bool = False
    ) -> Iterator[Step | Outcome]:
        """Learns from everybody's choices and publishes what passes the gate; see `Learn.refresh`.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            InputError, BusyError, StorageError: as `Learn.refresh`.
        """
        try:
            self.authority.authorise(token)
        except NotAllowedError as error:
            raise NotAllowedError(
                f"{error}. To learn from your own choices alone, make a version of your own (/my_refresh)"
            ) from error
        pairs = self._learn.pairs(scope or None)
        if with_imported:
            pairs += self._learn.imported_pairs(scope or None)
        rated = self._learn.rated(scope or None)
        for item in self._learn.refresh(pairs, scope, settings, rated=rated):
            if isinstance(item, Outcome):
                logger.info("the owner had %s learnt for %s: %s", item.version, scope or "all", item.reason)
            yield item

    def use(self, scope: str, version: str, token: str = "") -> None:
        """As `Learn.use`, and says so in the log."""
        self._learn.use(scope, version, token)
        logger.info("the owner chose %s to answer for %s", version or "none", scope or "all")

    def roll_back(self, scope: str, token: str = "") -> str:
        """As `Learn.roll_back`, and says so in the log."""
        before = self._learn.roll_back(scope, token)
        logger.info("the owner went back to %s for %s", before or "the original model", scope or "all")
        return before

    def private_versions(self, token: str = "") -> list[Version]:
        """Every rater's own versions, newest first: the owner may publish one, and it is everybody's then.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
        """
        self.authority.authorise(token)
        return own_versions(self._store.database)

    def gauges(self, token: str = "") -> Gauges:
        """How the server is doing.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            StorageError: the data folder cannot be read.
        """
        self.authority.authorise(token)
        return self._meter.read()

    def log(self, token: str = "") -> list[str]:
        """The last lines of the server's log, oldest first.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
        """
        self.authority.authorise(token)
        return self._tail.lines()

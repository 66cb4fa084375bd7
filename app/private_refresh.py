"""The use case *learn for oneself*: a rater's own choices to an adapter version that nobody else can use.

Here learning and storage meet; it knows neither SQL nor Gradio. Only the owner publishes, by `Learn.use`.
"""

from collections.abc import Iterator
from itertools import islice

from app.errors import InputError
from app.learn import Learn, Outcome, pair_of
from app.refresh.pairs import Pair
from app.refresh.trainer import RefreshSettings, Step
from app.versions import Versions
from storage.bans import BanTable
from storage.export import decisive
from storage.private_versions import own_versions, retire
from storage.records import Version
from storage.store import Store
from storage.voted import voted

OF_ONE_RATER = 2
OF_ALL_RATERS = 100
MOST_PAIRS = 200


class PrivateRefresh:
    """Learns from one rater's choices for them alone.

    A rater keeps `OF_ONE_RATER` versions and all of them together `OF_ALL_RATERS`; a new one takes the place of the oldest.

    Args:
        store, versions, learn: choices, adapter versions, and what trains.
    """

    def __init__(self, store: Store, versions: Versions, learn: Learn):
        self._store, self._versions, self._learn = store, versions, learn
        self._bans = BanTable(store.database)

    def pairs(self, rater: str, persona: str | None = None) -> list[Pair]:
        """The pairs of a rater's clear choices, of one persona where given: the newest `MOST_PAIRS`, oldest first."""
        if not rater:
            return []
        choices = decisive(voted(self._store.database, persona, rater=rater))
        return list(map(pair_of, choices))[-MOST_PAIRS:]

    def refresh(self, rater: str, persona: str = "") -> Iterator[Step | Outcome]:
        """As `Learn.refresh` with the usual settings, of the rater's own choices; the version is theirs.

        Args:
            rater: the digest of a secret, see `label.rater_of`.
            persona: id, or "" for the choices of all personas.

        Raises:
            InputError: there is no rater, or they made too few clear choices.
            NotAllowedError: the owner banned them.
            BusyError, StorageError: as `Learn.refresh`.
        """
        if not rater:
            raise InputError(
                "nobody is learning: the rater's secret is empty; reload the page, or send the one that you voted with"
            )
        self._bans.refuse(rater)
        pairs = self.pairs(rater, persona or None)
        for item in self._learn.refresh(pairs, persona, RefreshSettings(), publish=False, rater=rater):
            if isinstance(item, Outcome):
                self.make_room(rater)
            yield item

    def versions(self, rater: str) -> list[Version]:
        """A rater's own versions of the loaded model, newest first."""
        return [version for version in self._versions.listed(rater) if rater and version.rater == rater]

    def delete(self, version: str, rater: str) -> None:
        """Deletes one of a rater's own versions for good.

        Raises:
            InputError: no version's name.
            NotFoundError: they have no such version.
            StorageError: its files could not be removed; it is no longer theirs to use all the same.
        """
        mine = [own for own in own_versions(self._store.database, rater) if rater and own.id == version]
        if not mine:
            self._versions.adapters.path(version)
            raise self._versions.adapters.absent(version)
        self._retire(mine)

    def make_room(self, rater: str) -> None:
        """Takes away what is too many, the oldest first: a rater's own versions, and those of all raters."""
        own = own_versions(self._store.database, rater)
        everybodys = own_versions(self._store.database)
        too_many = {version.id: version for version in (*own[OF_ONE_RATER:], *islice(everybodys, OF_ALL_RATERS, None))}
        self._retire(list(too_many.values()))

    def _retire(self, versions: list[Version]) -> None:
        for version in retire(self._store.database, versions):
            self._versions.adapters.remove(version)

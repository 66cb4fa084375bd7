"""The use case *offer a persona to everybody*, as the owner of the page sees it: what waits, what is agreed to. No model, no page."""

from collections.abc import Callable

from app.errors import NotFoundError
from storage.records import SavedPersona
from storage.saved_personas import PersonaTable
from storage.store import Store


class PersonaOffers:
    """Moderates what people offer; offering and taking back is theirs, see `Catalogue.offer`.

    Args:
        store: where saved personas are kept.
        authorise: raises NotAllowedError where a token is not the owner's.
    """

    def __init__(self, store: Store, authorise: Callable[[str], None]):
        self._table, self._authorise = PersonaTable(store.database), authorise

    def waiting(self, token: str = "") -> list[SavedPersona]:
        """What is offered to everybody and not yet agreed to, oldest first.

        Raises:
            NotAllowedError: an owner's token is set and was not given: other people's words stand in it.
        """
        self._authorise(token)
        return [p for p in self._table.all() if p.public_wanted and not p.public_approved]

    def approved(self, token: str = "") -> list[SavedPersona]:
        """What everybody sees besides the library, oldest first.

        Raises:
            NotAllowedError: as `waiting`.
        """
        self._authorise(token)
        return [p for p in self._table.all() if p.public_wanted and p.public_approved]

    def approve(self, persona_id: str, token: str = "") -> None:
        """From now on everybody is offered the persona.

        Raises:
            NotAllowedError: as `waiting`.
            NotFoundError: it is not offered, or there is none of this id.
        """
        self._authorise(token)
        if persona_id not in {p.id for p in self._table.all() if p.public_wanted}:
            raise NotFoundError(
                f"the persona {persona_id[:40]!r} is not offered to everybody; see which ones are waiting"
            )
        self._table.mark(persona_id, wanted=True, approved=True)

    def hide(self, persona_id: str, token: str = "") -> None:
        """Makes a persona private again, whether it was waiting or everybody's; its rater keeps it and may offer it anew.

        Raises:
            NotAllowedError: as `waiting`.
            NotFoundError: there is no saved persona of this id.
        """
        self._authorise(token)
        if not self._table.mark(persona_id, wanted=False, approved=False):
            raise NotFoundError(
                f"the persona {persona_id[:40]!r} does not exist among the saved ones; nothing was hidden"
            )

    def delete(self, persona_id: str, token: str = "") -> None:
        """Deletes anybody's saved persona, its link with it.

        Raises:
            NotAllowedError, NotFoundError: as `hide`.
        """
        self._authorise(token)
        if not self._table.delete(persona_id):
            raise NotFoundError(
                f"the persona {persona_id[:40]!r} does not exist among the saved ones; nothing was deleted"
            )

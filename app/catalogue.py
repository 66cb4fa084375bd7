"""Every persona that can be chosen: the library's and the saved ones. Knows the two sources, no language model and no page."""

import re
import unicodedata

from app.embedding import Embedder
from app.errors import InputError, NotFoundError
from app.limits import spend
from app.prompts import MAX_PRINCIPLE_CHARACTERS, clean, frame
from personas import Persona
from storage.records import SavedPersona
from storage.store import Store


class Catalogue:
    """The personas by id.

    Args:
        library: the personas that come with the product.
        store: where people's own are kept.
        embedder: for the search by meaning; it loads when that is first used.
    """

    def __init__(self, library: dict[str, Persona], store: Store, embedder: Embedder):
        self.library, self._store, self._embedder = library, store, embedder

    def all(self) -> dict[str, Persona | SavedPersona]:
        """The library first, then the saved ones."""
        return {**self.library, **{p.id: p for p in self._store.personas() if p.id not in self.library}}

    def get(self, persona_id: str) -> Persona | SavedPersona:
        """One persona.

        Raises:
            NotFoundError: unknown id; the message names some that are known.
        """
        known = self.all()
        if persona_id not in known:
            raise NotFoundError(
                f"the persona {persona_id[:40]!r} does not exist; known are {', '.join(list(known)[:20])}"
            )
        return known[persona_id]

    def like(self, description: str) -> list[tuple[Persona | SavedPersona, float]]:
        """Every persona with its cosine to the description, the nearest in meaning first.

        Raises:
            InputError: the description is empty or too long.
            ModelError: the embedder of the settings cannot be loaded.
        """
        description = clean(description, "the description", MAX_PRINCIPLE_CHARACTERS)
        known = list(self.all().values())
        texts = [f"{persona.name}: {persona.principle}" for persona in known]
        return [(known[i], cosine) for i, cosine in self._embedder.nearest(description, texts, len(texts))]

    def save(self, name: str, principle: str, framing: str, ratio: float, rater: str) -> SavedPersona:
        """Stores a person's own persona under an id made from its name.

        Raises:
            InputError: the name or principle is empty or too long, the name is the library's or somebody else's.
            LimitError: too many personas were saved just now.
        """
        name = clean(name, "the name of the persona", 60)
        frame(principle, framing)
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
        persona_id = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:40]
        if not persona_id or not persona_id[0].isalpha():
            raise InputError(f"the name {name!r} has to begin with a letter from a to z; please choose another")
        if persona_id in self.library or name.casefold() in {known.name.casefold() for known in self.library.values()}:
            raise InputError(f"the name {name!r} belongs to a persona of the library; please choose another")
        own = next((p.name for p in self._store.personas() if p.id == persona_id and p.rater == rater), name)
        if own != name:
            raise InputError(f"the name {name!r} is too close to your persona {own!r}; please choose another")
        if not 0 <= ratio <= 10:
            raise InputError(f"the strength is {ratio}; it must lie between 0 and 10")
        principle = clean(principle, "the principle", MAX_PRINCIPLE_CHARACTERS)
        persona = SavedPersona(persona_id, rater, name, principle, framing, float(ratio))
        spend("personas", rater)
        self._store.save_persona(persona)
        return persona

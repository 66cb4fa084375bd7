"""Every persona that can be chosen: the library's, one's own, and those that everybody is offered. Knows no language model and no page."""

import re
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from app.embedding import Embedder
from app.errors import InputError, NotFoundError
from app.limits import spend
from app.prompts import MAX_PRINCIPLE_CHARACTERS, clean, frame
from personas import Persona
from storage.records import SavedPersona
from storage.saved_personas import PersonaTable
from storage.store import Store

AnyPersona = Persona | SavedPersona
MOST_MIXED = 3  # besides its own principle: more than four at once pull an answer apart
LARGEST_WEIGHT = 5.0


class Catalogue:
    """The personas by id.

    Args:
        library: the personas that come with the product.
        store: where people's own are kept.
        embedder: for the search by meaning; it loads when that is first used.
    """

    def __init__(self, library: dict[str, Persona], store: Store, embedder: Embedder):
        self.library, self._table, self._embedder = library, PersonaTable(store.database), embedder

    def all(self, rater: str = "") -> dict[str, AnyPersona]:
        """What a rater may choose from: the library first, then what everybody is offered, with one's own among it."""
        saved = self._table.all()
        return {**self.library, **{p.id: p for p in saved if p.id not in self.library and _may_see(p, rater)}}

    def get(self, persona_id: str) -> AnyPersona:
        """One persona, whosever it is; for what a person sees, see `seen`.

        Raises:
            NotFoundError: unknown id; the message names some that everybody knows.
        """
        if persona_id in self.library:
            return self.library[persona_id]
        for saved in self._table.all():
            if saved.id == persona_id:
                return saved
        raise self._unknown(persona_id)

    def seen(self, persona_id: str, rater: str) -> AnyPersona:
        """One persona that a rater may choose.

        Raises:
            NotFoundError: unknown id, or somebody else's own persona.
        """
        known = self.all(rater)
        if persona_id not in known:
            raise self._unknown(persona_id)
        return known[persona_id]

    def linked(self, address: str, rater: str = "") -> AnyPersona:
        """The persona that an address names: by the link of a saved one, which cannot be guessed, or by an id that the rater may see.

        Raises:
            NotFoundError: there is none.
        """
        for saved in self._table.all():
            if saved.link and secrets.compare_digest(saved.link.encode(), address.encode(errors="replace")):
                return saved
        return self.seen(address, rater)

    def names(self, rater: str = "") -> dict[str, str]:
        """What every persona is called where many people's stand together: somebody else's own one is not told by name."""
        private = {saved.id: "somebody's own persona" for saved in self._table.all()}
        return {**private, **{id_: persona.name for id_, persona in self.all(rater).items()}}

    def like(self, description: str, rater: str = "") -> list[tuple[AnyPersona, float]]:
        """Every persona of a rater's with its cosine to the description, the nearest in meaning first.

        Raises:
            InputError: the description is empty or too long.
            ModelError: the embedder of the settings cannot be loaded.
        """
        description = clean(description, "the description", MAX_PRINCIPLE_CHARACTERS)
        known = list(self.all(rater).values())
        told = [_told(persona) for persona in known]
        vectors = self._embedder.encode([description, *(text for texts in told for text in texts)])
        wanted, cosines, start = vectors[0], [], 1
        for texts in told:
            whole = vectors[start : start + len(texts)].sum(axis=0)
            cosines.append(float(whole @ wanted) / (float(np.linalg.norm(whole)) or 1.0))
            start += len(texts)
        return sorted(zip(known, cosines, strict=True), key=lambda pair: -pair[1])

    def save(
        self,
        name: str,
        principle: str,
        framing: str,
        ratio: float,
        rater: str,
        *,
        weight: float = 1.0,
        mix: Sequence[Mapping[str, Any]] = (),
        offered: bool = False,
    ) -> SavedPersona:
        """Stores a person's own persona under an id made from its name; one's own of the same name is replaced.

        What was changed has to be approved anew before everybody sees it.

        Args:
            name: as people see it, 60 characters at most.
            principle, framing: see `prompts.frame`.
            ratio: the strength that suits it, 0 to 10.
            rater: whose it is.
            weight, mix: several principles at once: the weight of this one, and the others as {text, framing, weight}.
            offered: whether it may be everybody's, once the owner of the page has agreed.

        Raises:
            InputError: nobody saves; the name, a principle or a number is malformed or out of bounds; or the name is the library's.
            LimitError: too many personas were saved just now.
        """
        if not rater:
            raise InputError(
                "the persona came without a rater, and would be nobody's; reload the page, or send a rater of your own"
            )
        name = clean(name, "the name of the persona", 60)
        frame(principle, framing)
        if not 0 <= ratio <= 10:
            raise InputError(f"the strength is {ratio}; it must lie between 0 and 10")
        persona = SavedPersona(
            self._id_for(name, rater),
            rater,
            name,
            clean(principle, "the principle", MAX_PRINCIPLE_CHARACTERS),
            framing,
            float(ratio),
            weight=_checked_weight(weight),
            mix=_checked_mix(mix),
            link=secrets.token_urlsafe(12),
            public_wanted=bool(offered),
        )
        spend("personas", rater)
        self._table.save(persona)
        return next(saved for saved in self._table.all() if saved.id == persona.id)

    def delete(self, persona_id: str, rater: str) -> None:
        """Deletes one's own persona; rounds that were asked with it keep the principle.

        Raises:
            InputError: it is the library's, or somebody else's that everybody sees.
            NotFoundError: unknown id, or somebody else's own.
        """
        self._own(persona_id, rater)
        self._table.delete(persona_id)

    def offer(self, persona_id: str, rater: str, wanted: bool) -> SavedPersona:
        """Offers one's own persona to everybody, or takes it back; the owner of the page has to agree anew.

        Raises:
            InputError, NotFoundError: as `delete`.
        """
        known = self._own(persona_id, rater)
        self._table.mark(persona_id, wanted, wanted and known.public_approved)
        return self._own(persona_id, rater)

    def _own(self, persona_id: str, rater: str) -> SavedPersona:
        persona = self.seen(persona_id, rater)
        if not isinstance(persona, SavedPersona) or not rater or persona.rater != rater:
            raise InputError(
                f"the persona {persona.name!r} is not yours to change; save it under a name of your own and change that"
            )
        return persona

    def _id_for(self, name: str, rater: str) -> str:
        """An id made from a name: the one that the rater's persona of this name has, else one that nobody has."""
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
        stem = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:40]
        if not stem or not stem[0].isalpha():
            raise InputError(f"the name {name!r} has to begin with a letter from a to z; please choose another")
        if stem in self.library or name.casefold() in {known.name.casefold() for known in self.library.values()}:
            raise InputError(f"the name {name!r} belongs to a persona of the library; please choose another")
        saved = self._table.all()
        if own := next((p.id for p in saved if p.rater == rater and p.name == name), ""):
            return own
        taken = {*self.library, *(p.id for p in saved)}
        numbered = (f"{stem[:36]}_{number}" for number in range(2, len(taken) + 3))
        return next(id_ for id_ in (stem, *numbered) if id_ not in taken)

    def _unknown(self, persona_id: str) -> NotFoundError:
        known = ", ".join(list(self.all())[:20])
        return NotFoundError(f"the persona {persona_id[:40]!r} does not exist; known are {known}")


def _told(persona: AnyPersona) -> list[str]:
    """What a persona says of itself, in several ways: the mean of their meanings is surer than any one of them."""
    said = [f"{persona.name}: {persona.principle}", persona.principle, frame(persona.principle, persona.framing)]
    return [*said, persona.description] if isinstance(persona, Persona) else said


def _may_see(persona: SavedPersona, rater: str) -> bool:
    return (persona.public_wanted and persona.public_approved) or (bool(rater) and persona.rater == rater)


def _checked_weight(weight: float) -> float:
    if not isfinite(weight) or abs(weight) > LARGEST_WEIGHT:
        raise InputError(
            f"a weight is {weight}; it must lie between -{LARGEST_WEIGHT:g} and {LARGEST_WEIGHT:g} (negative: away from it)"
        )
    return float(weight)


def _checked_mix(mix: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    if len(mix) > MOST_MIXED:
        raise InputError(f"{len(mix) + 1} principles were given; {MOST_MIXED + 1} are the most at once")
    kept = []
    for one in mix:
        frame(one["text"], one["framing"])
        text = clean(one["text"], "a principle that is mixed in", MAX_PRINCIPLE_CHARACTERS)
        kept.append({"text": text, "framing": one["framing"], "weight": _checked_weight(one["weight"])})
    return tuple(kept)

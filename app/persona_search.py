"""Finding personas by name, tag or meaning. Knows the catalogue; no page and no model."""

from collections import Counter
from dataclasses import dataclass

from app.catalogue import AnyPersona, Catalogue
from personas import Persona

OWN, SHARED = "yours", "from people"
NEAR = 0.25  # cosine: below it the bundled embedder's neighbours have little to do with each other
MOST_NEAR = 6


@dataclass(frozen=True)
class Found:
    """A persona that was found. `by_meaning`: none of the words stands in it."""

    persona: AnyPersona
    tags: tuple[str, ...]
    by_meaning: bool = False


def tags_of(persona: AnyPersona, rater: str) -> tuple[str, ...]:
    """What a persona is listed under; a saved one has no tags of its own, only whose it is."""
    if isinstance(persona, Persona):
        return persona.tags
    return (OWN,) if rater and persona.rater == rater else (SHARED,)


def common_tags(catalogue: Catalogue, rater: str = "") -> list[str]:
    """The tags of two personas or more, the commonest first, and always those that say whose a persona is."""
    counts = Counter(tag for persona in catalogue.all(rater).values() for tag in tags_of(persona, rater))
    return [tag for tag, count in counts.most_common() if count > 1 or tag in (OWN, SHARED)]


def find(catalogue: Catalogue, words: str = "", tag: str = "", rater: str = "") -> list[Found]:
    """The personas that a rater may choose: those in which every word stands, then some that are near in meaning.

    Args:
        catalogue: all personas.
        words: anything typed; empty finds all.
        tag: only personas listed under it; empty for all.
        rater: who looks, since some may be theirs alone.

    Raises:
        InputError: the words are too long.
        ModelError: the embedder of the settings cannot be loaded.
    """
    known = [Found(persona, tags_of(persona, rater)) for persona in catalogue.all(rater).values()]
    listed = {found.persona.id: found for found in known if not tag or tag in found.tags}
    wanted = words.casefold().split()
    if not wanted:
        return list(listed.values())
    hits = [found for found in listed.values() if all(word in _told(found) for word in wanted)]
    taken = {found.persona.id for found in hits}
    near = [
        Found(persona, listed[persona.id].tags, by_meaning=True)
        for persona, cosine in catalogue.like(words, rater)
        if cosine >= NEAR and persona.id in listed and persona.id not in taken
    ]
    return [*hits, *near[:MOST_NEAR]]


def similar(catalogue: Catalogue, principle: str, rater: str = "", most: int = 3) -> list[AnyPersona]:
    """Personas near a principle in meaning, the nearest first; none that says just the same.

    Raises:
        InputError, ModelError: as `Catalogue.like`.
    """
    text = principle.strip().casefold().rstrip(".")
    near = [persona for persona, cosine in catalogue.like(principle, rater) if cosine >= NEAR]
    return [persona for persona in near if persona.principle.casefold().rstrip(".") != text][:most]


def _told(found: Found) -> str:
    persona = found.persona
    mixed = [] if isinstance(persona, Persona) else [one["text"] for one in persona.mix]
    description = persona.description if isinstance(persona, Persona) else ""
    return " ".join([persona.name, persona.principle, description, *found.tags, *mixed]).casefold()

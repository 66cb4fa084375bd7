"""The named endpoints that keep one's own personas. Thin: checks and work are the catalogue's."""

from typing import Any

import gradio as gr

from app.errors import InputError
from app.label import rater_of
from app.services import Services
from app.ui.api import errors_for_the_client


def add_persona_endpoints(services: Services) -> None:
    """Adds `/save_persona`, `/offer_persona` and `/delete_persona` to the page that is being built."""

    def save_persona(
        name: str,
        principle: str,
        rater: str,
        framing: str = "principle",
        ratio: float = 2.0,
        weight: float = 1.0,
        mix: list[dict[str, Any]] | None = None,
        offered: bool = False,
    ) -> dict[str, Any]:
        """Saves a persona of your own; one of yours of the same name is replaced. Nobody else is told of it.

        Args:
            name: as people see it.
            principle: who answers, who reads, or what a good answer is.
            rater: a secret of your own; whoever holds it may change and delete the persona.
            framing: answer_as, the_reader_is or principle: how the principle enters the prompt.
            ratio: the strength that suits it, 0 to 10.
            weight: of this principle, where several are mixed; -5 to 5, negative: away from it.
            mix: what is mixed in, three at most, each with text, framing and weight.
            offered: offer it to everybody; the owner of the page has to agree.

        Returns:
            id, to compare with; link, for the address `?persona=...`, which shows it to whoever has it; offered, approved.
        """
        with errors_for_the_client():
            saved = services.catalogue.save(
                str(name or ""),
                str(principle or ""),
                framing,
                ratio,
                rater_of(str(rater or "")),
                weight=weight,
                mix=[_mixed(one) for one in mix or ()],
                offered=offered,
            )
        return {"id": saved.id, "link": saved.link, "offered": saved.public_wanted, "approved": saved.public_approved}

    def offer_persona(persona: str, rater: str, wanted: bool = True) -> dict[str, Any]:
        """Offers a persona of yours to everybody, or takes that back; the owner of the page has to agree.

        Args:
            persona: its id.
            rater: the secret that it was saved with.
            wanted: false takes it back at once.

        Returns:
            id, offered, approved.
        """
        with errors_for_the_client():
            saved = services.catalogue.offer(str(persona or ""), rater_of(str(rater or "")), bool(wanted))
        return {"id": saved.id, "offered": saved.public_wanted, "approved": saved.public_approved}

    def delete_persona(persona: str, rater: str) -> dict[str, Any]:
        """Deletes a persona of yours; rounds that were asked with it keep their principle.

        Args:
            persona: its id.
            rater: the secret that it was saved with.
        """
        with errors_for_the_client():
            services.catalogue.delete(str(persona or ""), rater_of(str(rater or "")))
        return {"deleted": persona}

    for function in (save_persona, offer_persona, delete_persona):
        gr.api(function, api_name=function.__name__, concurrency_limit=16)


def _mixed(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict) or not isinstance(given.get("text"), str):
        raise InputError(
            f"what is mixed in is {str(given)[:60]!r}; each is an object with text, and if need be framing and weight"
        )
    weight = given.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise InputError(f"a weight is {str(weight)[:40]!r}; it must be a number between -5 and 5")
    return {"text": given["text"], "framing": str(given.get("framing", "principle")), "weight": weight}

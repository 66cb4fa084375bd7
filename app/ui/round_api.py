"""The endpoints around a comparison: `/undo`, `/round`, `/history` and `/sweep`. Thin: checks and work are the use cases'."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import gradio as gr

from app.compare import Principle, Request
from app.decoding.arms import DecodeSettings, seed_by_lot
from app.errors import checked
from app.label import rater_of
from app.services import Services
from app.serving import Place
from app.share import document
from app.sweep import Point
from app.ui.api import errors_for_the_client


def add_round_endpoints(services: Services) -> None:
    """Adds them to the page that is being built."""

    def undo(round_id: str, rater: str) -> dict[str, Any]:
        """Takes your vote on an open round back; a blind choice stays, and a study has /study_undo.

        Args:
            round_id: from /compare.
            rater: the secret that the vote came with.

        Returns:
            undone: whether there was a vote of yours.
        """
        with errors_for_the_client():
            return {"undone": services.label.undo(str(round_id), rater_of(str(rater or "")))}

    def round(round_id: str) -> dict[str, Any]:
        """A round as its link shows it; a blind one only after a vote, a study's never.

        Args:
            round_id: what follows ?r= in its link.

        Returns:
            Everything that decided its outcome, and the answers by arm; nothing of who asked.
        """
        with errors_for_the_client():
            return document(services.share.shared(str(round_id)))

    def history(rater: str) -> list[dict[str, Any]]:
        """The newest rounds that you asked for.

        Args:
            rater: your secret.

        Returns:
            id, created, prompt, persona, blind and choice ("" for none), the newest first.
        """
        with errors_for_the_client():
            return [asdict(past) for past in services.share.history(rater_of(str(rater or "")))]

    def sweep(
        prompt: str,
        persona: str = "",
        principle: str = "",
        framing: str = "principle",
        over: str = "ratio",
        ratio: float = 2.0,
        temperature: float = 0.5,
        seed: int = -1,
        max_new_tokens: int = 160,
        adapter: str = "published",
        rater: str = "",
    ) -> Iterator[dict[str, Any]]:
        """Answers one prompt at seven strengths in one run; nothing is stored. Who goes away ends it.

        Args:
            prompt: what to answer.
            persona: id of a persona; or leave it empty and give a principle.
            principle: what a good answer is, in your own words.
            framing: answer_as, the_reader_is or principle: how the principle enters the prompt.
            over: ratio, or kl_budget at the ratio given.
            ratio: step size of linear alignment, where the budget is swept over.
            temperature: 0 is greedy.
            seed: the same for every strength; -1 draws one.
            max_new_tokens: the longest answer, in tokens.
            adapter: "published", "none", a version such as v3, or a mixture.
            rater: your secret, where persona or version are your own.

        Returns:
            over, seed, and points: value, text, fidelity and fluency, both in nats a token and null until all is written.
        """
        with errors_for_the_client():
            settings = checked(
                DecodeSettings,
                ratio=ratio,
                temperature=temperature,
                seed=seed_by_lot() if seed == -1 else seed,
                max_new_tokens=max_new_tokens,
            )
            own = rater_of(str(rater or ""))
            if persona:
                services.catalogue.seen(persona, own)
            request = checked(
                Request,
                messages=(("user", prompt),),
                persona=persona,
                principles=(checked(Principle, text=principle, framing=framing),) if principle else (),
                settings=settings,
                adapter=None if adapter == "published" else adapter,
            )
            points: list[Point] = []
            for item in services.sweep.run(request, str(over), own):
                points = points if isinstance(item, Place) else item
                yield {"over": over, "seed": settings.seed, "points": [asdict(point) for point in points]}

    for function in (undo, round, history, sweep):
        gr.api(function, api_name=function.__name__, concurrency_limit=16)

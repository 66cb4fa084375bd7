"""The endpoints of the learning room beside `/refresh`: what choices teach, and two versions side by side. Thin."""

from dataclasses import asdict
from typing import Any

import gradio as gr

from app.compare import Principle, Request
from app.decoding.arms import DecodeSettings, seed_by_lot
from app.errors import checked
from app.label import rater_of
from app.services import Services
from app.ui.api import errors_for_the_client


def add_learn_endpoints(services: Services) -> None:
    """Adds `/lessons`, `/compare_versions` and `/roll_back` to the page that is being built."""

    def lessons(persona: str = "", rater: str = "") -> dict[str, Any]:
        """What the clear choices teach: how the chosen answers differ from the rejected ones.

        Args:
            persona: whose choices; empty for all.
            rater: your secret, for a persona that is yours alone.

        Returns:
            pairs, prompts, words (in so many pairs on one side only), and lessons: measure (length in words, markdown in marks,
            exclamations, fidelity in nats a token), mean difference chosen less rejected with its 95 % interval, n, and `more`, the
            share of pairs in which the chosen answer has more, with n and interval.
        """
        with errors_for_the_client():
            if persona:
                services.catalogue.seen(persona, rater_of(rater))
            found = asdict(services.learned.texts(persona or None))
            fidelity = services.learned.fidelity(persona or None)
        return {**found, "lessons": [*found["lessons"], *([asdict(fidelity)] if fidelity else [])]}

    def compare_versions(
        prompt: str,
        one: str,
        other: str,
        persona: str = "",
        principle: str = "",
        framing: str = "principle",
        arm: str = "baseline",
        temperature: float = 0.0,
        seed: int = -1,
        max_new_tokens: int = 160,
        blind: bool = True,
        rater: str = "",
    ) -> dict[str, Any]:
        """One prompt answered by two adapter versions on one arm; vote with /vote.

        Args:
            prompt: what to answer.
            one: a version such as v3, a mixture such as v3*1.5, or none for the original model.
            other: another one.
            persona: id of the persona that is judged by; or leave it empty and give a principle.
            principle: what a good answer is, in your own words.
            framing: answer_as, the_reader_is or principle: how the principle enters the prompt.
            arm: how both answer; baseline is not told the principle, and shows what was learnt.
            temperature: 0 is greedy.
            seed: the same for both; -1 draws one.
            max_new_tokens: the longest answer, in tokens.
            blind: the sides are drawn by lot, and which is which is told by /vote.
            rater: a secret of your own that the vote comes with.

        Returns:
            round_id, and `answers`: texts by side where blind, else by arm and version.
        """
        with errors_for_the_client():
            settings = checked(
                DecodeSettings,
                temperature=temperature,
                seed=seed_by_lot() if seed == -1 else seed,
                max_new_tokens=max_new_tokens,
            )
            request = checked(
                Request,
                messages=(("user", prompt),),
                persona=persona,
                principles=(checked(Principle, text=principle, framing=framing),) if principle else (),
                arms=(str(arm),),
                settings=settings,
                blind=blind,
            )
            if persona:
                services.catalogue.seen(persona, rater_of(rater))
            versus = services.versus
            duel = versus.start(request, str(one), str(other), rater_of(rater))
            *_, last = versus.run(duel)
        names = ("first", "second") if duel.blind else duel.names
        texts = (last.answers[name].text for name in duel.names)
        return {"round_id": duel.round_id, "answers": dict(zip(names, texts, strict=True))}

    def roll_back(persona: str = "", token: str = "") -> dict[str, Any]:
        """From now on a persona, or all where it is empty, is answered by what its version in use came after.

        Args:
            persona: id, or empty for all.
            token: the owner's, where one is set.

        Returns:
            persona, and version: what answers now; "none" is the original model.
        """
        with errors_for_the_client():
            if persona:
                services.catalogue.get(persona)
            return {"persona": persona, "version": services.owner.roll_back(persona, token) or "none"}

    for function in (lessons, compare_versions, roll_back):
        gr.api(function, api_name=function.__name__, concurrency_limit=16)

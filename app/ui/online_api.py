"""The endpoint of the online loop. Thin: checks and work are the use case's."""

from dataclasses import asdict
from typing import Any

import gradio as gr

from app.errors import InputError, checked
from app.judges import Judge
from app.label import rater_of
from app.online import prompts_of
from app.prompts import frame
from app.refresh.feedback import OnlineSettings
from app.services import Services
from app.ui.api import errors_for_the_client, may_publish


def add_online_endpoint(services: Services) -> None:
    """Adds `/online` to the page that is being built."""
    usual = OnlineSettings()

    def online(
        persona: str = "",
        principle: str = "",
        framing: str = "principle",
        annotator: str = "implicit",
        prompts: str = "",
        steps: int = usual.steps,
        objective: str = usual.objective,
        beta: float = usual.beta,
        learning_rate: float = usual.learning_rate,
        max_new_tokens: int = usual.max_new_tokens,
        seed: int = usual.seed,
        publish: bool = False,
        token: str = "",
        method: str = usual.method,
        rater: str = "",
    ) -> dict[str, Any]:
        """Lets a judge choose between the model's own answers, and learns from it step by step (online AI feedback, OAIF).

        Args:
            persona: whose principle the judge goes by, and whom the version belongs to.
            principle: what the judge goes by, in your own words; in place of the persona's, or of no persona at all.
            framing: answer_as, the_reader_is or principle: how your own principle enters the judge's prompt.
            annotator: implicit (the model itself), embedding, or endpoint (the owner's chat endpoint).
            prompts: what to answer, a prompt a line; empty takes the stored ones and the personas' examples.
            steps: gradient steps at most.
            objective: dpo, ipo (of per-token means), ipo_sum or slic.
            beta: how dear it is to leave the base model.
            learning_rate: a first choice for the starter; larger models want less.
            max_new_tokens: the longest answer, in tokens.
            seed: of everything that is drawn by lot.
            publish: whether the version goes into use if the prompts kept aside speak for it.
            token: the owner's, where one is set: for publishing, and for the endpoint, which costs the owner's money.
            method: oaif, osp, optune or bpo; or sail, sapo or mpo, which learn from stored choices, too.
            rater: your secret; without the owner's token the version is yours alone, as those of /my_refresh.

        Returns:
            version, run, stopped, win_rate (value, n, interval), pairs, dropped, prompts, prompts_heldout, cost, seconds, published,
            reason, samples, and `curve`: step, steps, loss, margin, kept, dropped, tokens, kl, win_rate, cost, seconds, stopped.
        """
        with errors_for_the_client():
            settings = checked(
                OnlineSettings,
                method=method,
                steps=steps,
                objective=objective,
                beta=beta,
                learning_rate=learning_rate,
                max_new_tokens=max_new_tokens,
                seed=seed,
            )
            owner = may_publish(services, token)
            whose = "" if owner else visitor(rater)
            *_, outcome = services.online.run(
                asked_judge(services, annotator, token),
                judged_by(services, persona, principle, framing),
                persona,
                prompts_of(prompts) if str(prompts or "").strip() else None,
                settings,
                publish=bool(publish) and owner,
                samples=owner,
                pairs=services.learn.pairs(persona or None)
                if owner
                else services.private.pairs(whose, persona or None),
                rater=whose,
            )
            services.private.make_room(whose)
        return asdict(outcome)

    gr.api(online, api_name="online", concurrency_limit=4)


def asked_judge(services: Services, annotator: str, token: str) -> Judge:
    """The judge by name. Where there is an owner's token, the endpoint asks for it: whoever asks there spends the owner's money."""
    if annotator == "endpoint":
        services.learn.authorise(token)
    return services.judges.named(annotator)


def visitor(secret: str) -> str:
    """Whose own version a judge teaches who is not asked by the owner.

    Raises:
        InputError: there is no secret: the version would be nobody's.
    """
    if whose := rater_of(str(secret or "")):
        return whose
    raise InputError(
        "what a judge teaches without the owner's token is yours alone: send a rater's secret of your own with it"
    )


def judged_by(services: Services, persona: str, principle: str, framing: str) -> str:
    """What a judge goes by, framed: the principle where one is given, else the persona's.

    Raises:
        InputError: neither is given.
        NotFoundError: no such persona.
    """
    known = services.catalogue.get(persona) if persona else None
    if str(principle or "").strip():
        return frame(principle, framing)
    if known is None:
        raise InputError(
            "no persona and no principle was given; choose a persona or write one sentence that says what the judge goes by"
        )
    return frame(known.principle, known.framing)

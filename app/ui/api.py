"""The named endpoints with plain typed parameters, for `gradio_client` and plain HTTP. Thin: checks and work are the use cases'."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import gradio as gr

from app.compare import VOTED_ARMS, Comparison, Principle, Progress, Request
from app.decoding.arms import ARM_NAMES, DecodeSettings, seed_by_lot
from app.errors import InputError, PlumblineError, checked
from app.label import rater_of
from app.refresh.trainer import RefreshSettings
from app.rounds import SAME_MEANING
from app.services import Services
from app.traces import described
from personas import Persona
from storage.records import SavedPersona

SECONDS_BETWEEN_UPDATES = 0.2


def add_endpoints(services: Services) -> None:
    """Adds `/compare`, `/vote`, `/personas`, `/rounds`, `/refresh` and `/publish` to the page that is being built."""

    def compare(
        prompt: str,
        persona: str = "",
        principle: str = "",
        framing: str = "principle",
        ratio: float = 2.0,
        top_p: float = 0.8,
        temperature: float = 0.5,
        seed: int = -1,
        max_new_tokens: int = 160,
        kl_budget: float = 0.0,
        adapter: str = "published",
        arms: str = ",".join(ARM_NAMES),
        blind: bool = False,
        rater: str = "",
        traces: bool = False,
        principles: list[dict[str, Any]] | None = None,
        voted_arms: str = ",".join(VOTED_ARMS),
        after: str = "",
    ) -> Iterator[dict[str, Any]]:
        """Answers one prompt by several arms of one model, telling on the way how far it is; who goes away ends it.

        Args:
            prompt: what to answer.
            persona: id of a persona; or leave it empty and give a principle.
            principle: what a good answer is, in your own words.
            framing: answer_as, the_reader_is or principle: how the principle enters the prompt.
            ratio: step size of linear alignment; 0 is the prompted arm.
            top_p: nucleus.
            temperature: 0 is greedy.
            seed: the same for every arm; -1 draws one.
            max_new_tokens: the longest answer, in tokens.
            kl_budget: at most so many nats a token; 0 means no limit.
            adapter: "published", "none", a version such as v3, or a mixture such as v3*1.5 or v2*0.5+v4*0.5.
            arms: names separated by commas: baseline, principle_prompted, linear_aligned, amulet, adapter_guided, best_of_n.
            blind: only the two arms to vote on, as first and second; which is which is told by /vote.
            rater: a secret of your own that later votes come with.
            traces: tell of every token what each context would have said (top 5), the KL to the prompted arm and the shift
                against the baseline, in nats.
            principles: several at once, each with text, and if need be framing and weight (-5 to 5, negative: away from it);
                in place of persona and principle.
            voted_arms: the two that a vote is about, first and second, separated by a comma.
            after: a round whose better answer you have picked; the conversation goes on from there.

        Returns:
            round_id (null where an arm of the vote is missing), model, adapter, settings, and `answers`: by arm, or by side where blind.
            On the way the same as far as it goes: no round_id, no traces, an empty finish_reason.
        """
        with errors_for_the_client():
            values = {
                "ratio": ratio,
                "top_p": top_p,
                "temperature": temperature,
                "max_new_tokens": max_new_tokens,
                "kl_budget": kl_budget or None,
            }
            settings = checked(DecodeSettings, **values, seed=seed_by_lot() if seed == -1 else seed)
            if persona:
                services.catalogue.seen(persona, rater_of(rater))
            asked = [*([{"text": principle, "framing": framing}] if principle else ()), *(principles or ())]
            request = checked(
                Request,
                messages=(*(services.share.continued(after, rater_of(rater)) if after else ()), ("user", prompt)),
                persona=persona,
                principles=tuple(map(_principle, asked)),
                arms=tuple(str(arms or "").split(",")),
                voted_arms=tuple(str(voted_arms or "").split(",")),
                settings=settings,
                adapter=None if adapter == "published" else adapter,
                blind=blind,
                traces=traces,
            )
            used = services.compare  # another model may take over meanwhile
            comparison = used.start(request, rater_of(rater))
            told_at = time.monotonic()
            for progress in used.run(comparison):
                # Gradio can let go of who has gone only where something is told.
                if not progress.done and time.monotonic() - told_at > SECONDS_BETWEEN_UPDATES:
                    told_at = time.monotonic()
                    yield _told(used.model.name, comparison, progress)
        traced = {}
        if traces:
            token_ids = {arm: answer.token_ids for arm, answer in progress.answers.items()}
            traced = {"traces": described(progress.traces, token_ids, used.model.decode)}
        round_id = comparison.round_id if comparison.is_kept else None
        yield {**_told(used.model.name, comparison, progress), "round_id": round_id, **traced}

    def vote(
        round_id: str,
        choice: str,
        rater: str,
        reason: str = "",
        chips: list[str] | None = None,
        edited_side: str = "",
        edited: str = "",
        session: str = "",
        dwell_seconds: float = -1.0,
    ) -> dict[str, Any]:
        """Records a choice; the first one of a rater on a round stands, a repeat returns it.

        Args:
            round_id: from /compare or /study_next.
            choice: first, second, tie or both_bad. In an open round first is the plain answer, second the aligned one.
            rater: a secret of your own; whoever holds it is that rater.
            reason: in your own words, optional.
            chips: short reasons that were picked.
            edited_side: which answer you rewrote, first or second; empty for none.
            edited: how you rewrote it.
            session: one visit of yours, letters and digits.
            dwell_seconds: from reading to choosing; -1 is not known.

        Returns:
            choice: the one that stands; first_arm and second_arm: what stood where, null in a study until /study_reveal.
        """
        with errors_for_the_client():
            stands, round_ = services.label.vote(
                str(round_id),
                choice,
                rater_of(str(rater or "")),
                str(reason or ""),
                None if dwell_seconds < 0 else dwell_seconds,
                chips=chips or (),
                edited_side=str(edited_side or ""),
                edited=str(edited or ""),
                session=str(session or ""),
            )
        hidden = round_.item is not None
        return {
            "choice": stands.choice,
            "created": stands.created,
            "first_arm": None if hidden else round_.first_arm,
            "second_arm": None if hidden else round_.second_arm,
        }

    def personas(like: str = "", rater: str = "") -> list[dict[str, Any]]:
        """Every persona that can be chosen: the library's, what everybody is offered, and your own.

        Args:
            like: a way of answering in your own words; the personas nearest to it in meaning come first.
            rater: your secret; the personas that you saved are told to nobody else.

        Returns:
            id, name, principle, framing, ratio; with `like` also nearness, the cosine of the meanings.
        """
        own = rater_of(str(rater or ""))
        with errors_for_the_client():
            if not str(like or "").strip():
                return [_described(persona) for persona in services.catalogue.all(own).values()]
            found = services.catalogue.like(str(like), own)
        return [{**_described(persona), "nearness": round(cosine, 3)} for persona, cosine in found]

    def rounds(like: str = "", count: int = 10, nearness: float = SAME_MEANING, token: str = "") -> dict[str, Any]:
        """Collected rounds by meaning, or prompts that were asked more than once.

        Args:
            like: a prompt in your own words; the rounds nearest to it in meaning come first. Empty: the duplicates.
            count: how many rounds, with `like`.
            nearness: without `like`, the cosine from which two prompts count as the same.
            token: the owner's, where one is set: prompts are other people's words.

        Returns:
            rounds: round_id, prompt and nearness; or duplicates: groups of these, the oldest round of each first.
        """
        with errors_for_the_client():
            if str(like or "").strip():
                return {"rounds": [asdict(found) for found in services.rounds.like(str(like), count, token)]}
            groups = services.rounds.duplicates(nearness, token)
        return {"duplicates": [[asdict(found) for found in group] for group in groups]}

    usual = RefreshSettings()

    def refresh(
        persona: str = "",
        beta: float = usual.beta,
        sft_weight: float = usual.sft_weight,
        epochs: int = -1,
        learning_rate: float = usual.learning_rate,
        seed: int = usual.seed,
        token: str = "",
        objective: str = usual.objective,
        with_imported: bool = False,
    ) -> dict[str, Any]:
        """Learns an adapter from the stored choices of one persona, or of all where `persona` is empty.

        Args:
            persona: whose choices, and whom the version belongs to.
            beta: how dear it is to leave the base model.
            sft_weight: how much the likelihood of the chosen answer counts; 0 is the objective alone.
            epochs: how often every pair is seen; -1 sees few pairs more often than many.
            learning_rate: the default suits the starter; larger models want less.
            seed: of adapter, order and split.
            token: the owner's, where one is set; without it there is /my_refresh.
            objective: dpo, ipo (of per-token means), ipo_sum, slic, ulma, aihf, hpo, fa, rwr or ca.
            with_imported: pairs that were imported, too.

        Returns:
            version, pairs_train, pairs_heldout, before, after, losses, seconds, published, reason, samples, rated, asked.
        """
        with errors_for_the_client():
            settings = checked(
                RefreshSettings,
                objective=objective,
                beta=beta,
                sft_weight=sft_weight,
                epochs=None if epochs == -1 else epochs,
                learning_rate=learning_rate,
                seed=seed,
            )
            if persona:
                services.catalogue.get(persona)
            *_, outcome = services.owner.refresh(persona, settings, token, with_imported)
        return asdict(outcome)

    def publish(version: str, persona: str = "", token: str = "") -> dict[str, Any]:
        """From now on a persona, or all where it is empty, is answered by a version; "none" is the original model.

        Args:
            version: such as v3, or none.
            persona: id, or empty for all.
            token: the owner's, where one is set.
        """
        with errors_for_the_client():
            if persona:
                services.catalogue.get(persona)
            services.learn.use(persona, version, token)
        return {"persona": persona, "version": version}

    for function in (compare, vote, personas, rounds, publish):
        gr.api(function, api_name=function.__name__, concurrency_limit=16)
    gr.api(refresh, api_name="refresh", concurrency_limit=4)


def _principle(given: Any) -> Principle:
    if not isinstance(given, dict):
        raise InputError(
            f"a principle is {str(given)[:60]!r}; each of them is an object with text, and if need be framing and weight"
        )
    return checked(Principle, **{str(key): value for key, value in given.items()})


def _told(model: str, comparison: Comparison, progress: Progress) -> dict[str, Any]:
    """A comparison as far as it is, of a blind one nothing that tells the arms apart."""
    sides = {"first": comparison.first_arm, "second": comparison.second_arm}
    names = sides if comparison.request.blind else {arm: arm for arm in comparison.arms}
    # Seconds and token counts would tell the arms of a blind round apart.
    kept = ("text",) if comparison.request.blind else ("text", "token_ids", "finish_reason", "seconds")
    return {
        "round_id": None,
        "model": model,
        "adapter": comparison.adapter or None,
        "settings": comparison.request.settings.model_dump(),
        "answers": {name: {key: getattr(progress.answers[arm], key) for key in kept} for name, arm in names.items()},
    }


def _described(persona: Persona | SavedPersona) -> dict[str, Any]:
    return {
        "id": persona.id,
        "name": persona.name,
        "principle": persona.principle,
        "framing": persona.framing,
        "ratio": persona.ratio,
    }


def may_publish(services: Services, token: str) -> bool:
    """A visitor may learn, and only the owner publishes; a wrong token is an error rather than a quiet refusal."""
    if not token:
        return services.authority.is_open
    services.learn.authorise(token)
    return True


@contextmanager
def errors_for_the_client() -> Iterator[None]:
    """Turns the product's errors into ones that Gradio passes on with their message."""
    try:
        yield
    except PlumblineError as error:
        raise gr.Error(str(error), print_exception=False) from error

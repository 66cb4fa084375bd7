"""The endpoints of the labelling room. Thin: checks and work are the use cases'. Before `/study_reveal` no answer tells the arms apart."""

from dataclasses import asdict
from typing import Any

import gradio as gr

from app.decoding.arms import DecodeSettings
from app.errors import checked
from app.label import rater_of
from app.services import Services
from app.studies import Task, Waiting
from app.ui.api import errors_for_the_client

usual = DecodeSettings()


def add_study_endpoints(services: Services) -> None:
    """Adds `/study_create`, `/study_close`, `/studies`, `/consent`, `/enter`, `/study_next`, `/study_skip`, `/study_undo`,
    `/study_reveal`, `/my_labels` and `/delete_my_labels` to the page that is being built; a choice is sent to `/vote`.
    """

    def study_create(
        name: str,
        prompts: list[str],
        personas: list[str],
        arms: list[str],
        overlap: int = 1,
        repeat: float = 0.1,
        adapter: str = "published",
        far_first: bool = False,
        ratio: float = usual.ratio,
        top_p: float = usual.top_p,
        temperature: float = usual.temperature,
        seed: int = usual.seed,
        max_new_tokens: int = usual.max_new_tokens,
        token: str = "",
    ) -> dict[str, Any]:
        """Makes a study of every prompt under every persona; its answers are made in the background.

        Args:
            name: for people; no two studies share one.
            prompts: what is to be answered, each once.
            personas: ids.
            arms: the two that are compared.
            overlap: how many raters every item gets.
            repeat: the share of a rater's items that come back with the sides exchanged.
            adapter: "published", "none" or a version such as v3.
            far_first: each prompt far in meaning from those before it, instead of the order given.
            ratio: step size of linear alignment; 0 is the prompted arm.
            top_p: nucleus.
            temperature: 0 is greedy.
            seed: the first item's; every later item's is one more.
            max_new_tokens: the longest answer, in tokens.
            token: the owner's, where one is set.

        Returns:
            study: its id, and items.
        """
        with errors_for_the_client():
            settings = checked(
                DecodeSettings,
                ratio=ratio,
                top_p=top_p,
                temperature=temperature,
                seed=seed,
                max_new_tokens=max_new_tokens,
            )
            for persona in personas:
                services.catalogue.seen(str(persona), "")  # a call has no rater: nobody's own persona is shown by it
            study = services.studies.create(
                str(name),
                [str(prompt) for prompt in prompts],
                [str(persona) for persona in personas],
                tuple(map(str, arms)),
                overlap,
                repeat,
                settings,
                None if adapter == "published" else adapter,
                token,
                far_first,
            )
        return {"study": study.id, "items": len(prompts) * len(personas)}

    def study_close(study: str, token: str = "") -> dict[str, Any]:
        """Ends a study: it hands nothing out any more.

        Args:
            study: id, from /studies.
            token: the owner's, where one is set.
        """
        with errors_for_the_client():
            services.studies.close(str(study), token)
        return {"closed": study}

    def studies() -> list[dict[str, Any]]:
        """Every study, the newest first.

        Returns:
            id, name, items, answered, faults, votes (repeats not counted), raters, wanted (votes that make it complete), state.
        """
        with errors_for_the_client():
            return [asdict(overview) for overview in services.studies.all()]

    def consent() -> dict[str, str]:
        """What has to be agreed to before labelling, by /enter.

        Returns:
            text and version.
        """
        return {"text": services.raters.consent.text, "version": services.raters.consent.version}

    def enter(rater: str, consent_version: str, name: str = "") -> dict[str, str]:
        """Agrees to the consent text.

        Args:
            rater: a secret of your own; whoever holds it is that rater.
            consent_version: of the text that was read.
            name: what the study's owner sees; may be empty.
        """
        with errors_for_the_client():
            entered = services.raters.enter(rater_of(str(rater or "")), str(name or ""), str(consent_version or ""))
        return {"name": entered.name, "consent_version": entered.consent_version}

    def study_next(study: str, rater: str) -> dict[str, Any]:
        """What a rater labels now; the same again until it is labelled or skipped.

        Args:
            study: id, from /studies.
            rater: your secret, as for /enter.

        Returns:
            state: task, waiting (answers are still being made) or finished; with a task: round_id, messages, persona, principle,
            first, second; with task and waiting: done and total.
        """
        with errors_for_the_client():
            return _described(services.studies.next(str(study), rater_of(str(rater or ""))))

    def study_skip(round_id: str, rater: str) -> dict[str, Any]:
        """Gives a task back unlabelled.

        Args:
            round_id: of the task.
            rater: your secret.
        """
        with errors_for_the_client():
            services.studies.skip(str(round_id), rater_of(str(rater or "")))
        return {"skipped": round_id}

    def study_undo(study: str, rater: str) -> dict[str, Any]:
        """Takes your last choice of a study back; its task comes again, as from /study_next.

        Args:
            study: id.
            rater: your secret.
        """
        with errors_for_the_client():
            return _described(services.studies.undo(str(study), rater_of(str(rater or ""))))

    def study_reveal(study: str, rater: str) -> list[dict[str, Any]]:
        """At the end of a study: every round that you voted on, with both arms. After it nothing can be taken back.

        Args:
            study: id.
            rater: your secret.
        """
        with errors_for_the_client():
            return [asdict(shown) for shown in services.studies.reveal(str(study), rater_of(str(rater or "")))]

    def my_labels(rater: str) -> list[dict[str, Any]]:
        """Everything that you labelled, the newest first.

        Args:
            rater: your secret.
        """
        with errors_for_the_client():
            return [asdict(shown) for shown in services.raters.labels(rater_of(str(rater or "")))]

    def delete_my_labels(rater: str) -> dict[str, Any]:
        """Deletes your labels, your consent and the comparisons that only you asked for, for good.

        Args:
            rater: your secret.

        Returns:
            votes and rounds: how many were deleted.
        """
        with errors_for_the_client():
            return asdict(services.raters.delete_labels(rater_of(str(rater or ""))))

    for function in (study_create, study_close, studies, consent, enter, study_next, study_skip, study_undo, study_reveal, my_labels, delete_my_labels):  # fmt: skip
        gr.api(function, api_name=function.__name__, concurrency_limit=16)


def _described(told: Task | Waiting | None) -> dict[str, Any]:
    if told is None:
        return {"state": "finished"}
    return {"state": "task" if isinstance(told, Task) else "waiting", **asdict(told)}

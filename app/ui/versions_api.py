"""The endpoints of adapter versions: list, download, upload and delete. Thin: checks and work are the use cases'."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

from app.errors import InputError
from app.services import Services
from app.ui.api import errors_for_the_client


def add_version_endpoints(services: Services) -> None:
    """Adds `/versions`, `/delete_version`, `/download_version` and `/upload_version` to the page that is being built."""

    def versions() -> list[dict[str, Any]]:
        """Every adapter version, newest first.

        Returns:
            version, scope, origin, model, model_revision, parent (the version that was in use before it; empty: the original model;
            null: not known), reference, objective, seed, settings, pairs_train, pairs_heldout, before and after (held-out accuracy
            as value, n and interval; null: not measured), seconds, published (whether it passed the gate), in_use_for, reason, created.
        """
        with errors_for_the_client():
            return services.manage.described()

    def delete_version(version: str, token: str = "") -> dict[str, Any]:
        """Deletes a version for good; not one that is in use.

        Args:
            version: such as v3.
            token: the owner's, where one is set.
        """
        with errors_for_the_client():
            services.manage.delete(str(version), token)
        return {"deleted": version}

    def download_version(version: str, token: str = "") -> str:
        """A version as a zip with what stock peft loads and a model card.

        Args:
            version: such as v3.
            token: the owner's, where one is set.

        Returns:
            A file to download.
        """
        with errors_for_the_client():
            return packed(services, str(version), token)

    def upload_version(file: str | None, persona: str = "", token: str = "") -> dict[str, Any]:
        """Makes a version of a PEFT LoRA adapter; it stays unpublished until /publish.

        Args:
            file: a zip of adapter_config.json and adapter_model.safetensors.
            persona: id of a persona that it belongs to, or empty for all.
            token: the owner's, where one is set.

        Returns:
            version: its name here.
        """
        with errors_for_the_client():
            return {"version": added(services, file, persona, token)}

    for function in (versions, delete_version):
        gr.api(function, api_name=function.__name__, concurrency_limit=16)
    # Files need components; they are on no page.
    version, persona, token = (gr.Textbox("", visible=False, label=label) for label in ("version", "persona", "token"))
    given, told = gr.File(visible=False, label="file"), gr.JSON(visible=False, label="version")
    taken = gr.File(visible=False, label="version.zip")
    gr.on([], download_version, [version, token], taken, api_name="download_version")
    gr.on([], upload_version, [given, persona, token], told, api_name="upload_version")


def packed(services: Services, version: str, token: str) -> str:
    """The path of a version's zip, which Gradio may serve; asks for the owner first."""
    return str(services.manage.download(version, _folder() / f"plumbline-{version}.zip", token))


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="plumbline-versions-"))


def added(services: Services, file: str | None, persona: str, token: str) -> str:
    """The name of the version that an uploaded file became."""
    if not file:
        raise InputError("no file was given; choose a zip of adapter_config.json and adapter_model.safetensors")
    if persona:
        services.catalogue.get(persona)
    return services.upload.add(Path(file), persona, token).id

"""The use case *deploy*: this checkout becomes a Space on the Hub, or the Space is brought up to it. Knows huggingface_hub, no model, no page.

Everything is decided before the first request, as a list of steps; a dry run tells them, a real one takes them.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, SpaceHardware, get_session, get_token
from huggingface_hub.errors import HfHubHTTPError
from pydantic import SecretStr

from app.consent import read_consent
from app.errors import HubError, InputError, first_line
from app.settings import Settings
from app.space_files import ROOT, space_files

TIMEOUT_SECONDS = 300  # until the Hub sends something
# Of the settings: what belongs to this machine, and what goes as a file.
NOT_SENT = ("data", "device", "consent")
CONSENT_FILE = "consent.txt"
WAYS_OUT = {
    401: "the Hub does not know the token; log in again with `hf auth login`, or set HF_TOKEN to one from https://huggingface.co/settings/tokens",
    402: "the Hub asks for a paid plan or credits for this; choose other hardware, or see https://huggingface.co/pricing",
    403: "the token may not write there; make one that may at https://huggingface.co/settings/tokens, and see that the owner's name is yours or your organisation's",
    404: "there is no such owner, or the token may not see it; check the name",
    413: "a file or the whole is larger than the Hub takes; see what the dry run lists",
    429: "the Hub has had too many requests from you; wait some minutes",
    507: "the storage of this account is full; make room at https://huggingface.co/settings/storage",
}


@dataclass(frozen=True)
class Step:
    """One call: what a person reads of it, and what it does."""

    told: str
    take: Callable[[HfApi], object]


@dataclass(frozen=True)
class Plan:
    """A deployment that is decided. `files`: by their path in the Space, a file here or a content. `warnings`: for the owner."""

    space: str
    files: dict[str, Path | bytes]
    steps: list[Step]
    warnings: list[str]

    def sizes(self) -> dict[str, int]:
        """Bytes of every file."""
        return {
            path: len(what) if isinstance(what, bytes) else what.stat().st_size for path, what in self.files.items()
        }


def plan(space: str, settings: Settings, hardware: str = "cpu-basic", private: bool = False, root: Path = ROOT) -> Plan:
    """Decides everything and asks nothing of the network.

    Args:
        space: "owner/name".
        settings: those that the environment sets go along; tokens and keys as secrets.
        hardware: as the Hub calls it.
        private: of a new Space; one that exists stays as it is.
        root: of the repository.

    Raises:
        InputError: the name, the hardware or a setting is none that a Space could use.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", space):
        raise InputError(
            f"the Space is {space[:80]!r}; it must be OWNER/NAME, of letters, digits, dots, hyphens and underscores"
        )
    if hardware not in {kind.value for kind in SpaceHardware}:
        kinds = ", ".join(kind.value for kind in SpaceHardware)
        raise InputError(f"the hardware is {hardware[:40]!r}; it must be one of {kinds}")
    variables, secrets = _environment(settings)
    files = space_files(root, settings.data, settings.model, hardware)
    if settings.consent:
        files[CONSENT_FILE] = read_consent(settings.consent).text.encode()
        variables["PLUMBLINE_CONSENT"] = CONSENT_FILE
    create = {"repo_type": "space", "space_sdk": "gradio", "private": private, "exist_ok": True}
    seen = "private" if private else "public"
    # Variables before files: the first start then has them.
    steps = [
        Step(f"create the Space {space}, {seen}, unless it exists", lambda api: api.create_repo(space, **create)),
        *(
            Step(f"set the variable {key}={value}", partial(_set_variable, space, key, value))
            for key, value in variables.items()
        ),
        *(
            Step(f"set the secret {key} (its value is not shown)", partial(_set_secret, space, key, value))
            for key, value in secrets.items()
        ),
        Step(f"request the hardware {hardware}", lambda api: api.request_space_hardware(space, hardware)),
        Step(
            f"commit {len(files)} files, and delete what an earlier deployment left beside them",
            partial(_commit, space, files),
        ),
    ]
    return Plan(space, files, steps, _warnings(settings))


def deploy(decided: Plan, tell: Callable[[str], None], token: str | None = None, endpoint: str | None = None) -> str:
    """Takes the steps of a plan; may be repeated at any time.

    Args:
        decided: by `plan`.
        tell: is told every step before it is taken.
        token: of the Hub; None is the one that this machine is logged in with.
        endpoint: of the Hub, where it is not the public one.

    Returns:
        The address of the Space.

    Raises:
        HubError: the Hub cannot be reached or refuses a step; the steps before it are done.
    """
    if not (token or get_token()):
        raise HubError(
            "this machine is not logged in at the Hub; run `hf auth login`, or set HF_TOKEN to a token that may write, "
            "from https://huggingface.co/settings/tokens"
        )
    api = HfApi(endpoint=endpoint, token=token)
    get_session().timeout = TIMEOUT_SECONDS
    for step in decided.steps:
        tell(step.told)
        with _told(decided.space, step.told):
            step.take(api)
    return f"{api.endpoint}/spaces/{decided.space}"


def _environment(settings: Settings) -> tuple[dict[str, str], dict[str, str]]:
    """Variables and secrets, by name, of the settings that were set."""
    variables, secrets = {}, {}
    for name in sorted(settings.model_fields_set - set(NOT_SENT)):
        value, key = getattr(settings, name), f"PLUMBLINE_{name.upper()}"
        if isinstance(value, SecretStr):
            secrets[key] = value.get_secret_value()
        elif value is not None:
            plain = settings.model_dump(mode="json", include={name})[name]
            variables[key] = plain if isinstance(plain, str) else json.dumps(plain)
    for name in ("model", "embedder"):
        given = getattr(settings, name)
        if given != "starter" and (Path(given).expanduser().is_dir() or given.count("/") != 1 or given[0] in "./~"):
            raise InputError(
                f"PLUMBLINE_{name.upper()} is {given[:80]!r}, a folder of this machine, which a Space does not have; set it to a hub id or 'starter'"
            )
    if settings.sync_dataset and not settings.sync_token:
        raise InputError(
            f"PLUMBLINE_SYNC_DATASET is {settings.sync_dataset!r}, and PLUMBLINE_SYNC_TOKEN is not set: a Space is not logged in by itself; "
            "set it to a token that may write to that dataset"
        )
    return variables, secrets


def _warnings(settings: Settings) -> list[str]:
    warnings = []
    if not settings.sync_dataset:
        warnings.append(
            "a Space loses its disk when it restarts, and with it all votes; set PLUMBLINE_SYNC_DATASET and PLUMBLINE_SYNC_TOKEN"
        )
    if settings.admin_token is None:
        warnings.append("everybody who opens the Space may publish and export; set PLUMBLINE_ADMIN_TOKEN")
    return warnings


def _set_variable(space: str, key: str, value: str, api: HfApi) -> None:
    api.add_space_variable(space, key, value)


def _set_secret(space: str, key: str, value: str, api: HfApi) -> None:
    api.add_space_secret(space, key, value)


def _commit(space: str, files: dict[str, Path | bytes], api: HfApi) -> None:
    # One commit: the Space is rebuilt once, and never from half of the files. `.gitattributes` is the Hub's own.
    there = api.list_repo_files(space, repo_type="space")
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationDelete(path) for path in there if path not in files and path != ".gitattributes"
    ]
    operations += [CommitOperationAdd(path, what) for path, what in files.items()]
    api.create_commit(space, operations, commit_message="Deployed by `python -m app deploy`", repo_type="space")


@contextmanager
def _told(space: str, step: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError, httpx2.HTTPError) as error:
        why = f"{first_line(error)[:300]} (could not {step})"
        way_out = WAYS_OUT.get(
            _status(error), "see that the Hub can be reached, and run the command again: it goes on from there"
        )
        raise HubError(f"the Space {space!r} could not be deployed: {why}. What to do: {way_out}") from error


def _status(error: BaseException | None) -> int | None:
    """What the Hub answered; of an upload's error it is told by the cause."""
    while error is not None and not isinstance(error, HfHubHTTPError):
        error = error.__cause__
    return error.response.status_code if error else None

"""The use case *bring a version*: adapter files from elsewhere become a version of the loaded model, unpublished and not measured.

Here model and storage meet. Nothing of what was sent is loaded before `app.refresh.adapter_files` has checked it.
"""

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from app.errors import InputError, ModelError, StorageError
from app.model import LanguageModel
from app.refresh.adapter_files import CONFIG, WEIGHTS, AdapterConfig, check, unpack
from app.refresh.adapters import AdapterFolder
from app.worker import Worker
from storage.records import Version
from storage.store import Store

ON_TRIAL = "on_trial"


class UploadVersion:
    """Takes adapters from elsewhere.

    Args:
        model, worker: the model and the thread that owns it.
        store, adapters: where versions are kept.
        authorise: raises NotAllowedError where a token is not the owner's.
    """

    def __init__(
        self,
        model: LanguageModel,
        worker: Worker,
        store: Store,
        adapters: AdapterFolder,
        authorise: Callable[[str], None],
    ):
        self._model, self._worker, self._store, self._adapters = model, worker, store, adapters
        self._authorise = authorise

    def add(self, source: Path, scope: str = "", token: str = "") -> Version:
        """Makes a version of a PEFT LoRA adapter; it is in use once somebody publishes it.

        Args:
            source: a zip or a folder with adapter_config.json and adapter_model.safetensors.
            scope: what the version belongs to: a persona id, or "" for all.
            token: the owner's, where one is set.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            InputError: the files are not what is taken, or do not fit the model.
            BusyError: too much is waiting for the model.
            StorageError: the disk is full or cannot be written; nothing is left behind.
        """
        self._authorise(token)
        try:
            with tempfile.TemporaryDirectory(prefix="plumbline-upload-") as name:
                folder = Path(name)
                unpack(source, folder)
                config = check(folder, self._model.linear_layers, self._model.name)
                return self._worker.call(partial(self._keep, folder, config, scope))
        except OSError as error:
            raise StorageError(
                f"the adapter could not be read or kept ({error}); check room and rights of the disk"
            ) from error

    def _keep(self, folder: Path, config: AdapterConfig, scope: str) -> Version:
        # One turn on the model's thread: a refresh names its versions there, too, so no two take the same number.
        self._try(folder)
        version = Version(
            id=self._adapters.add(self._store.next_version_id(), lambda final: _copy(folder, final)),
            scope=scope,
            model=self._model.name,
            model_revision=self._model.revision,
            settings={"rank": config.r, "lora_alpha": config.lora_alpha},
            pairs_train=0,
            pairs_heldout=0,
            metrics={},
            seconds=0.0,
            published=False,
            reason="not published: it was brought from elsewhere and not measured here; whoever trusts it can publish it",
            reference="",
            origin="upload",
        )
        self._store.add_version(version, publish=False)
        return self._store.version(version.id)

    @torch.no_grad()
    def _try(self, folder: Path) -> None:
        # Under a name of its own: what does not work never bears a version's.
        try:
            self._model.load_adapter(ON_TRIAL, folder)
            ids = torch.tensor(
                [self._model.chat_ids([{"role": "user", "content": "Hello"}])], device=self._model.device
            )
            if not self._model.logits(ids, torch.ones_like(ids), ON_TRIAL).isfinite().all():
                raise InputError(
                    "with this adapter the model answers with numbers that are none; its weights are damaged, save it again"
                )
        except ModelError as error:
            raise InputError(f"{error}; bring an adapter that was made for this model") from error
        finally:
            self._model.drop_adapter(ON_TRIAL)


def _copy(folder: Path, final: Path) -> None:
    for name in (CONFIG, WEIGHTS):
        shutil.copyfile(folder / name, final / name)
